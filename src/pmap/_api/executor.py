"""Executor: the methods of ``concurrent.futures.ProcessPoolExecutor`` on the engine of the verbs.

No ``from __future__ import annotations`` here: ``help`` would show quoted strings.
"""

import atexit
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from itertools import islice
from types import TracebackType
from typing import (
    Any,
    Final,
    Literal,
    ParamSpec,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Unpack,
    overload,
)

from .._calls import call as _call
from .._calls.arguments import Context, seconds_to_wait, start_method_of
from .._calls.call import Call, Kind, rules_for
from .._calls.cpus import cpu_count
from .._calls.function_check import checked_function
from .._calls.options import Settings, WorkerOptions, merge, whole
from .._engine.driver import Driver
from .._errors import OptionError, PoolClosedError, WorkerStartError
from .._jobs.job import Job
from .._scheduling.run_rules import RunRules
from .._transport.process_role import inside_item
from .._types import Backend, StartMethod
from .executor_results import (
    Chunk,
    Future,
    call_each,
    note_end_of_program,
    program_ends,
    results,
    shown,
)
from .shared_pools import make_driver

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

# A future is cancelled only before its call begins; what runs then is let be.
_RULES: Final = RunRules(kill=False)
# As the standard executors say it.
_AFTER_SHUTDOWN: Final = "cannot schedule new futures after shutdown"
_AFTER_EXIT: Final = "cannot schedule new futures after interpreter shutdown"


class ExecutorOptions(TypedDict, total=False):
    """What an `Executor` takes besides the parameters of ``ProcessPoolExecutor``: see `Options`."""

    backend: Backend
    start_method: StartMethod | None
    max_memory_per_child: int | None
    kill_over_memory: bool
    isolate: bool
    threads_per_worker: int | None
    main: Literal["value", "import"]


class Executor(futures.Executor):
    """A drop-in for ``concurrent.futures.ProcessPoolExecutor``, on the engine of the verbs.

    The same methods and parameters, and the standard class's own futures. What differs: a worker's
    death costs one future and not the executor (`WorkerLost`, which here is a
    ``BrokenProcessPool``, too); lambdas and what a script or REPL defined can be sent; no
    ``if __name__ == "__main__"`` guard is needed; any call that has not begun can be cancelled;
    an executor made before a fork can be used on both sides, with workers of its own on each. Where
    an item submits to the very executor that runs it (threads, or an item that was forked with it),
    the call runs at once, in that item.

    >>> from pmap import Executor
    >>> with Executor(2) as executor:
    ...     executor.submit(pow, 2, 8).result()
    ...     list(executor.map(abs, [-1, 2, -3]))
    256
    [1, 2, 3]

    Workers start when there is work for them. At the end of the program, and of a ``with`` block,
    what was submitted is finished first, as with the standard executors; but a program, or block,
    that Ctrl-C ends does not wait for it. An executor that is dropped finishes its work and goes.

    Args:
        max_workers: how many workers; None: one for each CPU that this process may use.
        mp_context: from ``multiprocessing.get_context``; names the start method. None: the fastest
            that is safe with threads.
        initializer: called once in each worker before its first call; None: nothing. If it fails,
            so do all futures and every `submit` from then on.
        initargs: the arguments of `initializer`.
        max_tasks_per_child: how many calls (or chunks of `map`) a worker runs before it is
            replaced; None: no limit.
        **options: `backend`, `start_method` (instead of `mp_context`), `max_memory_per_child`,
            `kill_over_memory`, `isolate`, `threads_per_worker` and `main`, as in `Options`.

    Raises:
        OptionError: an argument is not possible. It is a ValueError and a TypeError, too.
    """

    __module__ = "pmap"  # where it lives for those who read a repr or a pickle

    @overload
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Context | None = None,
        initializer: Callable[[], object] | None = None,
        initargs: tuple[()] = (),
        *,
        max_tasks_per_child: int | None = None,
        **options: Unpack[ExecutorOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Context | None = None,
        *,
        initializer: Callable[[*Ts], object],
        initargs: tuple[*Ts],
        max_tasks_per_child: int | None = None,
        **options: Unpack[ExecutorOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        max_workers: int | None,
        mp_context: Context | None,
        initializer: Callable[[*Ts], object],
        initargs: tuple[*Ts],
        *,
        max_tasks_per_child: int | None = None,
        **options: Unpack[ExecutorOptions],
    ) -> None: ...
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Context | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        **options: Unpack[ExecutorOptions],
    ) -> None:
        asked = _checked(max_workers, mp_context, options)
        asked["initializer"] = initializer
        asked["initargs"] = initargs
        asked["max_tasks_per_child"] = max_tasks_per_child
        self._options = merge(Settings(), asked).worker
        self._max_workers: int = self._options.processes or cpu_count()
        self._pid = os.getpid()
        # By the process that uses it: one that is forked has workers of its own. A dict and no
        # lock, which another thread might hold at the fork.
        self._drivers: dict[int, Driver] = {}
        self._shutdown = False
        # What the initializer failed with. In a list that calls can fill: they do not keep the
        # executor, whose end would then not come while one is under way.
        self._broken: list[WorkerStartError] = []

    # --- calls ---------------------------------------------------------------------------------

    def submit(
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> "futures.Future[R]":
        """Start ``fn(*args, **kwargs)`` in a worker; return its future at once.

        >>> with Executor(1) as executor:
        ...     executor.submit(int, "ff", base=16).result()
        255

        Its state is what the call does: `cancel` succeeds until it begins, `running` tells whether
        it has. It ends with what `fn` returned or raised, whatever that is (a StopIteration as a
        `ControlFlowError`, as event loops cannot take it).

        Args:
            fn: a plain function.
            *args: its arguments.
            **kwargs: its keyword arguments.

        Raises:
            RuntimeError: the executor, or the interpreter, was shut down.
            BrokenProcessPool: the initializer has failed; also a `WorkerStartError`.
            TypeError: `fn` is no plain function.
        """
        call = _call.apply("Executor.submit", fn, args, kwargs, rules_for(_RULES, fn))
        return Future(self._start(call))

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[R]:
        """Return an iterator of ``map(fn, *iterables)``, run in the workers.

        >>> with Executor(2) as executor:
        ...     list(executor.map(pow, [2, 3], [3, 2]))
        [8, 9]

        The input is read and submitted at once, or as far as `buffersize` says. Results come in the
        order of the input, and where a call fails, its exception after the results before it; then
        the iterator ends, and what has not begun is cancelled.

        Args:
            fn: a function of as many arguments as there are iterables.
            *iterables: its arguments.
            timeout: seconds from now until the last result; None: as long as it takes.
            chunksize: how many calls travel in one message, and run in one worker unless others
                are idle.
            buffersize: how many chunks may be submitted whose results were not taken yet; more are
                read as results are taken. None: no limit.

        Raises:
            TimeoutError: out of the iterator: `timeout` is over.
            CancelledError: out of the iterator: ``shutdown(cancel_futures=True)`` was called. It is
                that of ``concurrent.futures``.
            RuntimeError: as `submit`.
        """
        _check_sizes(chunksize, buffersize)
        limit = seconds_to_wait(timeout)
        end = None if limit is None else time.monotonic() + limit
        checked = checked_function("Executor.map", fn, iterables, "xs")
        started: Iterator[Chunk]
        if self._has_another_submit():
            chunks = _chunks(zip(*iterables, strict=False), chunksize)
            started = (self.submit(call_each, fn, chunk) for chunk in chunks)
        else:
            rules = rules_for(_RULES, fn)._replace(chunksize=chunksize)
            kind = Kind.EACH if len(iterables) == 1 else Kind.STAR
            source = iterables[0] if len(iterables) == 1 else zip(*iterables, strict=False)
            chunks = _chunks(source, chunksize)
            calls = (Call("Executor.map", checked, kind, chunk, rules) for chunk in chunks)
            started = map(self._start, calls)
        jobs = deque(islice(started, buffersize))
        return results(jobs, None if buffersize is None else started, end)

    def _has_another_submit(self) -> bool:
        """Whether `submit` is not this class's: then `map` uses it, as the standard one does.

        A program puts something else in its place, or overrides it, to hear of each call.
        """
        return "submit" in vars(self) or type(self).submit is not Executor.submit

    def _start(self, call: Call) -> Job:
        if inside_item() and (self._options.backend != "processes" or os.getpid() != self._pid):
            return self._run_here(call)
        try:
            job = self._driver().submit(call)
        except PoolClosedError:
            raise RuntimeError(_AFTER_SHUTDOWN) from None
        if self._options.initializer is not None:
            _watch(job, self._broken)
        return job

    def _driver(self) -> Driver:
        """Return what runs calls in this process; raises what makes it impossible."""
        if self._broken:
            raise shown(self._broken[0])
        self._refuse_if_shut_down()
        pid = os.getpid()
        driver = self._drivers.get(pid)
        if driver is None:
            driver = self._drivers.setdefault(pid, make_driver(self._options))
            _live.add(driver)
            try:
                self._refuse_if_shut_down()  # by another thread, which may not have seen it
            except RuntimeError:
                driver.close()
                raise
        return driver

    def _refuse_if_shut_down(self) -> None:
        if self._shutdown:
            raise RuntimeError(_AFTER_SHUTDOWN)
        if program_ends():
            raise RuntimeError(_AFTER_EXIT)

    def _run_here(self, call: Call) -> Job:
        """Run a call that an item makes, and return it when it is over.

        Its threads may all be waiting for such calls. And an item that was forked with the executor
        is one of the workers: if these had workers again, there would be no end of them.
        """
        self._refuse_if_shut_down()
        driver = make_driver(WorkerOptions(backend="serial"))
        try:
            return driver.run(call)
        finally:
            driver.close()

    # --- the end -------------------------------------------------------------------------------

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; the workers go when what was submitted is done.

        Args:
            wait: whether to return when they are gone, or at once.
            cancel_futures: whether to cancel what has not begun, and no worker is started for.
        """
        self._shutdown = True
        driver = self._drivers.get(os.getpid())
        if driver is None:
            return
        driver.close()
        if cancel_futures:
            driver.withdraw_all()
        if wait:
            driver.join()

    def terminate_workers(self) -> None:
        """Shut down, cancel what has not begun, and end the workers by SIGTERM.

        What runs ends in a `WorkerLost`, unless the worker handles the signal and goes on. Threads
        cannot be ended: they finish their present call.
        """
        self._end_workers(softly=True)

    def kill_workers(self) -> None:
        """Shut down, cancel what has not begun, and kill the workers; returns when they are gone.

        What runs ends in a `WorkerLost`. Threads cannot be killed: they finish their present call.
        """
        self._end_workers(softly=False)

    def _end_workers(self, *, softly: bool) -> None:
        self._shutdown = True
        driver = self._drivers.get(os.getpid())
        if driver is not None:
            driver.end_workers(softly=softly)
            if driver.backend.can_kill and not (softly or driver.holds_lock()):
                driver.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.kill_workers()  # nobody wants to wait for it any more
        self.shutdown(wait=True)

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        # Futures that somebody still holds come, and nobody is kept waiting here. `getpid`: an
        # executor that is a global of the script may outlive the globals of this module.
        driver = getattr(self, "_drivers", {}).get(getpid())
        if driver is not None and not driver.taken_away:
            driver.close()

    def __reduce__(self) -> str:
        raise NotImplementedError(
            "an executor cannot be passed between processes or pickled; a verb used inside a "
            "worker runs there"
        )

    def __repr__(self) -> str:
        state = "broken" if self._broken else "running"
        state = "shut down" if self._shutdown else state
        kind = type(self)
        return f"<{kind.__module__}.{kind.__qualname__}, {self._max_workers} workers, {state}>"


def _chunks(source: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(source)
    return iter(lambda: list(islice(rest, size)), [])


def _watch(job: Job, broken: list[WorkerStartError]) -> None:
    """Have it noted if a call ends because no worker can be initialized."""

    def look() -> None:
        if isinstance(job.error, WorkerStartError):
            broken.append(job.error)

    job.when_over(look)


def _checked(
    max_workers: int | None, mp_context: Context | None, options: Mapping[str, object]
) -> dict[str, object]:
    """Return the options of the verbs that these arguments stand for."""
    for name in options:
        if name not in ExecutorOptions.__annotations__:
            allowed = ", ".join(sorted(ExecutorOptions.__annotations__))
            raise OptionError(
                name, options[name], f"an Executor has no {name!r}; besides the standard: {allowed}"
            )
    asked = dict(options)
    if max_workers is not None and (whole(max_workers) or 0) < 1:
        raise OptionError(
            "max_workers",
            max_workers,
            "max_workers must be greater than 0, or None: one per CPU that this process may use",
        )
    asked["processes"] = max_workers
    if mp_context is not None:
        if options.get("start_method") is not None:
            raise OptionError(
                "start_method", options["start_method"], "mp_context has already decided it"
            )
        asked["start_method"] = start_method_of("mp_context", mp_context)
    return asked


def _check_sizes(chunksize: object, buffersize: object) -> None:
    if (whole(chunksize) or 0) < 1:
        raise OptionError("chunksize", chunksize, "chunksize must be an integer >= 1")
    if buffersize is not None:
        size = whole(buffersize)
        if size is None:
            raise OptionError("buffersize", buffersize, "buffersize must be an integer or None")
        if size < 1:
            raise OptionError("buffersize", buffersize, "buffersize must be None or > 0")


# --- the end of the program -----------------------------------------------------------------------

_live: "weakref.WeakSet[Driver]" = weakref.WeakSet()


def _finish_all() -> None:
    """Finish what was submitted, before the interpreter ends; not if Ctrl-C has ended it."""
    note_end_of_program()
    drivers = list(_live)
    # Set when the interpreter has shown the exception that ends the program.
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        for driver in drivers:
            driver.end_workers(softly=False)
    for driver in drivers:
        driver.close()
    for driver in drivers:
        driver.join()


# As concurrent.futures does: before the end of the threads that are waited for, whose calls are
# finished, too, and before the functions of atexit, when all workers are ended.
_register = getattr(threading, "_register_atexit", atexit.register)
try:
    _register(_finish_all)
except RuntimeError:  # it is ending already
    note_end_of_program()
