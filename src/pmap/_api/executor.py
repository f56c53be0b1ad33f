"""Executor: the methods of ``concurrent.futures.ProcessPoolExecutor``, on pmap's engine.

This module has no ``from __future__ import annotations``: with it, ``help`` would show each
annotation as a quoted string.
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

# A call that runs is never cancelled, as with the standard executors. So no worker is killed for
# it.
_RULES: Final = RunRules(kill=False, trace_as_text=True)
# The texts of error messages; they are those of the standard executors.
_AFTER_SHUTDOWN: Final = "cannot schedule new futures after shutdown"
_AFTER_EXIT: Final = "cannot schedule new futures after interpreter shutdown"


class ExecutorOptions(TypedDict, total=False):
    """The options of an `Executor` that ``ProcessPoolExecutor`` does not have: see `Options`."""

    backend: Backend
    start_method: StartMethod | None
    max_memory_per_child: int | str | None
    kill_over_memory: bool
    isolate: bool
    threads_per_worker: int | None
    main: Literal["value", "import"]


class Executor(futures.Executor):
    """A drop-in for ``concurrent.futures.ProcessPoolExecutor``, on the engine of the verbs.

    It has the same methods and parameters, and its futures are ``concurrent.futures.Future``. These
    are the differences. If a worker dies, only the call that it was running fails, with a
    `WorkerLost` that is a ``BrokenProcessPool``, too; the executor goes on. Lambdas, and functions
    and classes that a script or REPL defines, can be sent. A script needs no
    ``if __name__ == "__main__"`` guard. Any call that has not begun can be cancelled. After a fork
    both processes can use the executor, each with workers of its own. If an item submits a call to
    the executor that runs the item (in a thread, or in a process forked with the executor), the
    call runs at once, in that item.

    >>> from pmap import Executor
    >>> with Executor(2) as executor:
    ...     executor.submit(pow, 2, 8).result()
    ...     list(executor.map(abs, [-1, 2, -3]))
    256
    [1, 2, 3]

    Workers start when there is work for them. The end of the program and the end of a ``with``
    block wait until all submitted calls are finished, as with the standard executors. If Ctrl-C
    ends the program or the block, they do not wait. An executor that the program drops finishes its
    calls, and then its workers end.

    Args:
        max_workers: how many workers. None: one for each CPU that this process may use.
        mp_context: a context from ``multiprocessing.get_context``, which gives the start method.
            None: the fastest start method that is safe with threads.
        initializer: a function that each worker calls once, before its first call. None: nothing.
            If it fails, all futures fail, and every later `submit` raises.
        initargs: the arguments of `initializer`.
        max_tasks_per_child: how many calls (or chunks of `map`) a worker runs before it is
            replaced. None: no limit.
        **options: `backend`, `start_method` (instead of `mp_context`), `max_memory_per_child`,
            `kill_over_memory`, `isolate`, `threads_per_worker` and `main`, as in `Options`.

    Raises:
        OptionError: an argument has a value that is not allowed. It is a ValueError and a
            TypeError, too.
    """

    __module__ = "pmap"  # the name of the package, for the repr and the pickle of this class

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
        # One driver for each process that uses this executor, by process id: a forked child has
        # workers of its own. `dict.setdefault` is atomic, so no lock is needed. If another thread
        # held a lock at the fork, nothing would release it in the child.
        self._drivers: dict[int, Driver] = {}
        self._shutdown = False
        # The error of an initializer that failed. A call in progress adds an error to this list,
        # and refers to this list only: if it referred to the executor, it would keep the executor
        # alive after the program has dropped it.
        self._broken: list[WorkerStartError] = []

    # --- making calls --------------------------------------------------------------------------

    def submit(
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> "futures.Future[R]":
        """Submit the call ``fn(*args, **kwargs)`` to the workers; return its future at once.

        >>> with Executor(1) as executor:
        ...     executor.submit(int, "ff", base=16).result()
        255

        ``cancel`` of the future succeeds until the call begins; ``running`` returns whether it has
        begun. The future ends with what `fn` returned or raised, whatever that is. Only a
        StopIteration becomes a `ControlFlowError`, since event loops cannot take it.

        Args:
            fn: a function; no coroutine or generator function.
            *args: the arguments of `fn`.
            **kwargs: the keyword arguments of `fn`.

        Raises:
            RuntimeError: the executor was shut down, or the interpreter is ending.
            BrokenProcessPool: the initializer has failed. It is a `WorkerStartError`, too.
            TypeError: a worker cannot run `fn`.
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
        """Return an iterator over the results of ``map(fn, *iterables)``, computed by the workers.

        >>> with Executor(2) as executor:
        ...     list(executor.map(pow, [2, 3], [3, 2]))
        [8, 9]

        `map` reads the input and submits it before it returns, or as much of it as `buffersize`
        allows. The results are in the order of the input. If a call fails, the iterator raises its
        exception after the results before it, and ends; calls that have not begun are cancelled.

        Args:
            fn: a function of one argument for each iterable.
            *iterables: the arguments of `fn`.
            timeout: how many seconds from now the last result may take. None: there is no limit.
            chunksize: how many calls are sent in one message. One worker runs them, unless others
                are idle.
            buffersize: how many chunks may be submitted whose results were not taken from the
                iterator yet. More are read as results are taken. None: there is no limit.

        Raises:
            TimeoutError: raised by the iterator: `timeout` is over.
            CancelledError: raised by the iterator: ``shutdown(cancel_futures=True)`` was called. It
                is the class of ``concurrent.futures``.
            RuntimeError: as in `submit`.
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
        """Return whether a subclass or the program has replaced `submit`.

        Programs do so to observe each call. Then `map` calls the new `submit`, as in the standard
        executor.
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
        """Return the driver (the engine of a pool) that runs this process's calls.

        Raises:
            RuntimeError: the executor was shut down, or the interpreter is ending.
            BrokenWorkerStartError: the initializer has failed.
        """
        if self._broken:
            raise shown(self._broken[0])
        self._refuse_if_shut_down()
        pid = os.getpid()
        driver = self._drivers.get(pid)
        if driver is None:
            driver = self._drivers.setdefault(pid, make_driver(self._options))
            _live.add(driver)
            try:
                # Another thread may have shut the executor down meanwhile, without seeing the new
                # driver; then this thread closes the driver.
                self._refuse_if_shut_down()
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
        """Run a call that an item makes, in the item's own thread, and return it when it is over.

        With the threads backend, all threads might be waiting for such calls, and no thread would
        be left to run them. With processes, the item runs in a worker that was forked with the
        executor. If such workers started workers, these would start workers again, without end.
        """
        self._refuse_if_shut_down()
        driver = make_driver(WorkerOptions(backend="serial"))
        try:
            return driver.run(call)
        finally:
            driver.close()

    # --- the end of the executor ---------------------------------------------------------------

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; the workers end when all submitted calls are done.

        Args:
            wait: whether to return only when the workers have ended. If False, return at once.
            cancel_futures: whether to cancel the calls that have not begun. Calls for which workers
                are being started are not cancelled.
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
        """Shut down, cancel the calls that have not begun, and send SIGTERM to the workers.

        A call that runs fails with `WorkerLost`, unless its worker handles the signal and goes on.
        Threads cannot be ended: they finish the call that they run.
        """
        self._end_workers(softly=True)

    def kill_workers(self) -> None:
        """Shut down, cancel the calls that have not begun, and kill the worker processes.

        It returns when the worker processes have ended. A call that runs fails with `WorkerLost`.
        Threads cannot be killed: they finish the call that they run.
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
            self.kill_workers()  # Ctrl-C has ended the block: the user does not want to wait
        self.shutdown(wait=True)

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        # The program has dropped the executor. The executor takes no more calls, but this method
        # does not wait: the program may still hold futures, which will get their results. `getpid`
        # is a parameter, because an executor that is a global of the script may be deleted after
        # the globals of this module.
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
    """Append the error of a call to `broken`, if the call fails because no worker could start."""

    def look() -> None:
        if isinstance(job.error, WorkerStartError):
            broken.append(job.error)

    job.when_over(look)


def _checked(
    max_workers: int | None, mp_context: Context | None, options: Mapping[str, object]
) -> dict[str, object]:
    """Return the arguments of an `Executor` as options of the verbs.

    Raises:
        OptionError: an argument does not exist or has a value that is not allowed.
    """
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
    """Finish all submitted calls before the interpreter ends; after Ctrl-C, kill the workers."""
    note_end_of_program()
    drivers = list(_live)
    # When an exception ends the program, the interpreter prints it and sets `sys.last_type`.
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        for driver in drivers:
            driver.end_workers(softly=False)
    for driver in drivers:
        driver.close()
    for driver in drivers:
        driver.join()


# As in concurrent.futures, this function runs before the interpreter waits for non-daemon threads,
# so it also finishes their calls. It runs before the functions of `atexit`, because one of those
# ends all workers.
_register = getattr(threading, "_register_atexit", atexit.register)
try:
    _register(_finish_all)
except RuntimeError:  # the interpreter is ending: no function can be registered any more
    note_end_of_program()
