"""What happens to the engines of all pools when the interpreter ends, and in a fork."""

import atexit
import os
import time
import weakref
from typing import Protocol

from .._errors import CancelledError, PoolClosedError
from .._jobs.reports import Report
from .._scheduling.scheduler import Scheduler
from .leadership import Leadership, begin_exit
from .state import EngineState

# Seconds for what was registered for the ends of all workers, when the interpreter ends.
_LAST_WAIT = 2.0
# Seconds to wait for another thread that is within a stream, which may never return.
_STREAM_WAIT = 1.0
# Seconds that each of several pools is heard in turn.
_TURN = 0.005


class ProcessEnd:
    """What one engine does when the interpreter ends, and in a fork.

    Attributes:
        has_come: the interpreter is ending, or this process is a fork.
    """

    def __init__(self, state: EngineState, leadership: Leadership) -> None:
        """Begin in the process that has made the engine."""
        self._state = state
        self._leadership = leadership
        self._backend = state.backend
        self.has_come: bool = False

    # --- the interpreter ends ------------------------------------------------------------------

    def lock(self) -> bool:
        """Let no other thread have the state's lock, if none has it; return whether that is so."""
        return self._state.lock.acquire(blocking=False)

    def unlock(self) -> None:
        """Undo `lock`."""
        self._state.lock.release()

    def let_idle_workers_go(self) -> None:
        """Tell workers that have nothing to do to end."""
        self._backend.let_go()

    def has_workers_left(self) -> bool:
        """Return whether any of these workers has not ended."""
        return self._backend.is_left()

    def hear_reports(self, seconds: float) -> None:
        """Wait so long for what workers print and log last: no thread leads any more."""
        if self._backend.is_open and not self._backend.runs_in_poll:
            for event in self._backend.collect(self._backend.poll(seconds)):
                if isinstance(event, Report):
                    self._state.reports.add(event)

    def pass_on_reports(self, *, for_good: bool = False) -> None:
        """Pass on what was heard, if no other thread is stuck in a stream."""
        self._state.reports.pass_on_within(_STREAM_WAIT, for_good=for_good)

    def end_at_exit(self) -> None:
        """End all workers, whatever is under way: the interpreter is about to end."""
        self._state.closed = "the interpreter is ending"
        self.has_come = True
        # A daemon thread may hold the lock. It releases it soon; if it does not, we go on anyway.
        held = self._state.lock.acquire(timeout=1.0)
        if held and not self._state.leader:
            try:
                self.hear_reports(0)
            except Exception:  # whatever has been closed by now
                pass
        self._backend.end()
        self._state.ended.set()
        if held:
            self._state.lock.release()
        self.pass_on_reports(for_good=True)
        for job in list(self._state.jobs.values()):
            job.error = CancelledError("it has no result: the interpreter is ending")
            job.settle()

    # --- a fork --------------------------------------------------------------------------------

    def after_fork_in_child(self) -> None:
        """Forget everything: this process is a fork of the one that the pool belongs to."""
        state = self._state
        self._backend.after_fork_in_child()
        state.closed = f"it belongs to the process {os.getppid()} that this one was forked from"
        self.has_come = True
        jobs = list(state.jobs.values()) + list(state.over)
        state.jobs.clear()
        state.over.clear()
        # Those of the parent may be held by threads that do not exist here.
        state.renew_locks()
        self._leadership.renew_locks()
        state.scheduler = Scheduler(1)
        state.ended.set()
        for job in jobs:
            job.after_fork_in_child(
                PoolClosedError(f"no result comes from this pool: {state.closed}")
            )


class Engine(Protocol):
    """What has a `ProcessEnd`: a driver."""

    process_end: ProcessEnd


# Weak: an engine that is not used any more goes. Its background thread holds it for as long as it
# has workers, so it is found here until they are gone.
engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()


def _end_all() -> None:
    begin_exit()
    ends = [engine.process_end for engine in list(engines)]
    _let_go_in_order(ends)
    for end in ends:
        end.end_at_exit()


def _let_go_in_order(ends: list[ProcessEnd]) -> None:
    """Let workers that have nothing to do end: what was registered for their ends runs."""
    # Where a daemon thread has the lock, and starts or ends workers, the workers are killed. While
    # we wait, no other thread may get the lock.
    ours = [end for end in ends if end.lock()]
    try:
        for end in ours:
            end.let_idle_workers_go()
        until = time.monotonic() + _LAST_WAIT
        while left := [end for end in ours if end.has_workers_left()]:
            seconds = until - time.monotonic()
            if seconds <= 0:
                break
            for end in left:  # in turn: a worker that has much to say waits until it is heard
                end.hear_reports(seconds if len(left) == 1 else min(seconds, _TURN))
    except Exception:  # whatever has been closed by now
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
