"""What pmap does with all pools when the interpreter ends, and in a forked process."""

import atexit
import os
import time
import weakref
from typing import Protocol

from .._backends.protocol import acts_at_exit
from .._errors import CancelledError, PoolClosedError
from .._jobs.reports import Report
from .._scheduling.scheduler import Scheduler
from .leadership import Leadership, begin_exit
from .state import EngineState

# Seconds that the idle workers of all pools together get at the end of the interpreter, to run
# functions that they have registered with `atexit` and the like.
_LAST_WAIT = 2.0
# Another thread may be writing output of workers to a stream of the caller, and may be stuck there.
# The thread that ends the interpreter waits at most this many seconds for it.
_STREAM_WAIT = 1.0
# Seconds for which pmap reads the output of one pool's workers, before it reads that of the next
# pool.
_TURN = 0.005


class ProcessEnd:
    """Ends the engine of one pool when the interpreter ends, and disables it in a forked process.

    Attributes:
        has_come: whether the interpreter is ending, or this process is a fork of the process that
            made the engine.
    """

    def __init__(self, state: EngineState, leadership: Leadership) -> None:
        self._state = state
        self._leadership = leadership
        self._backend = state.backend
        self.has_come: bool = False

    # --- the end of the interpreter ------------------------------------------------------------

    def lock(self) -> bool:
        """Acquire the engine's lock if no thread holds it; return whether it was acquired."""
        return self._state.lock.acquire(blocking=False)

    def unlock(self) -> None:
        """Release the engine's lock, which `lock` has acquired."""
        self._state.lock.release()

    def let_idle_workers_go(self) -> None:
        """Tell workers that hold no chunks to end."""
        self._backend.let_go()

    def has_workers_left(self) -> bool:
        """Return whether any of the workers that `let_idle_workers_go` told to end still runs."""
        return self._backend.is_left()

    def hear_reports(self, seconds: float) -> None:
        """Pass on what workers print and log at their end, for `seconds`: no loop does so now."""
        if self._backend.is_open and not self._backend.runs_in_poll:
            for event in self._backend.collect(self._backend.poll(seconds)):
                if isinstance(event, Report):
                    self._state.reports.add(event)

    def pass_on_reports(self, *, for_good: bool = False) -> None:
        """Pass on what workers printed and logged, unless a thread that does so is stuck."""
        self._state.reports.pass_on_within(_STREAM_WAIT, for_good=for_good)

    def end_at_exit(self) -> None:
        """End all workers, whatever they run: the interpreter is about to end."""
        self._state.closed = "the interpreter is ending"
        self.has_come = True
        # A daemon thread may hold the engine's lock. Usually it releases the lock soon; if it does
        # not, this thread goes on without the lock.
        held = self._state.lock.acquire(timeout=1.0)
        if held and not self._state.leader:
            try:
                self.hear_reports(0)
            except Exception:
                # Errors are ignored: the program may have closed the streams or descriptors of the
                # pool by now.
                pass
        self._backend.end()
        # An interpreter that ends may leave the process running, and does not free all objects. So
        # the memory that a function shares with the workers is released here.
        self._state.singles.specs.forget()
        self._state.ended.set()
        if held:
            self._state.lock.release()
        self.pass_on_reports(for_good=True)
        state = self._state
        for job in [*state.jobs.values(), *state.writing.values(), *state.singles.asked.copy()]:
            job.error = CancelledError("it has no result: the interpreter is ending")
            job.settle()

    # --- in a forked process -------------------------------------------------------------------

    def after_fork_in_child(self) -> None:
        """Forget all jobs and workers: this process was forked from the process of the pool."""
        state = self._state
        self._backend.after_fork_in_child()
        state.closed = f"it belongs to the process {os.getppid()} that this one was forked from"
        self.has_come = True
        jobs = [*state.jobs.values(), *state.writing.values(), *state.over, *state.singles.asked]
        state.singles.asked.clear()
        state.singles.full = False
        state.jobs.clear()
        state.traced.clear()
        state.writing.clear()
        state.over.clear()
        # Threads that do not exist in this process may have held the old locks at the fork.
        state.renew_locks()
        self._leadership.renew_locks()
        state.scheduler = Scheduler(1)
        state.ended.set()
        for job in jobs:
            job.after_fork_in_child(
                PoolClosedError(f"no result comes from this pool: {state.closed}")
            )


class Engine(Protocol):
    """An object with a `ProcessEnd`, which is the driver of a pool."""

    process_end: ProcessEnd


# The drivers of all pools of this process. The set is weak, so Python frees a driver that nobody
# uses any more. As long as a pool has workers, its background thread keeps its driver alive.
engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()


def _end_all() -> None:
    begin_exit()
    ends = [engine.process_end for engine in list(engines)]
    _let_go_in_order(ends)
    for end in ends:
        end.end_at_exit()
    for act in acts_at_exit:
        act()


def _let_go_in_order(ends: list[ProcessEnd]) -> None:
    """Let idle workers end by themselves, so that they run what they registered with `atexit`."""
    # This thread holds the locks of the pools while it waits, so no other thread starts or ends
    # workers. If another thread holds a pool's lock, that pool is left out, and `end_at_exit` kills
    # its workers later.
    ours = [end for end in ends if end.lock()]
    try:
        for end in ours:
            end.let_idle_workers_go()
        until = time.monotonic() + _LAST_WAIT
        while left := [end for end in ours if end.has_workers_left()]:
            seconds = until - time.monotonic()
            if seconds <= 0:
                break
            # Each pool is read for a short time, in turn: a worker with much output ends only after
            # it was read.
            for end in left:
                end.hear_reports(seconds if len(left) == 1 else min(seconds, _TURN))
    except Exception:
        # Errors are ignored: the program may have closed the streams or descriptors of a pool by
        # now.
        pass
    finally:
        for end in ours:
            end.unlock()
    for end in ours:
        end.pass_on_reports()


def _after_fork_in_child() -> None:
    for engine in list(engines):
        engine.process_end.after_fork_in_child()


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
