"""Pool: the methods the verbs map onto; and the shared pools that the verbs run on by default.

Over 300 lines, because the text that a user reads is here: what `Pool` takes, and its docstrings.
"""

import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, TypeVar, TypeVarTuple, overload

from .._backends.processes import ProcessBackend
from .._backends.protocol import Backend
from .._calls import call as _call
from .._calls.call import Call, Rules, Streamed
from .._calls.cpus import cpu_count
from .._calls.describe import name_of
from .._calls.options import Settings, WorkerOptions, merge
from .._engine.driver import Driver, exiting
from .._errors import PoolClosedError
from .._jobs.job import Job
from .._transport.environment import thread_limits
from .._transport.process_role import inside_item
from .async_input_result import Collected
from .async_result import AsyncResult, every, first
from .result_stream import ResultStream

A = TypeVar("A")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

# Seconds after which a shared pool lets its idle workers go: long enough to think in a REPL, short
# enough that a program which is done with its maps does not keep processes for hours.
IDLE_TIMEOUT = 60.0
# Of the methods of `Pool`: a result that is a function travels by name only, as in multiprocessing.
_RULES = Rules(functions_by_value=False)
# Shared pools kept at a time: each distinct set of worker options makes one.
MOST_SHARED = 8


class Context(Protocol):
    """What ``multiprocessing.get_context`` gives, as far as a pool asks it."""

    def get_start_method(self) -> str | None:
        """Return the name of the start method."""
        ...


class Pool:
    """A pool of workers with the methods of ``multiprocessing.pool.Pool``.

    A drop-in for it, with types: the same methods and parameters. What differs: a worker's death
    costs one item and not the program (`WorkerLost`); lambdas and what a script or REPL defined
    can be sent; no ``if __name__ == "__main__"`` guard is needed; `chunksize` adapts to what the
    items cost; items that have not begun when one fails are not run; a pool that is dropped without
    being closed finishes its work and goes.

    >>> from pmap import Pool
    >>> with Pool(2) as pool:
    ...     pool.map(abs, [-1, 2, -3])
    ...     pool.starmap(pow, [(2, 3), (3, 2)])
    ...     pool.apply_async(int, ("ff", 16)).get()
    [1, 2, 3]
    [8, 9]
    255

    Args:
        processes: how many workers; None: one for each CPU that this process may use.
        initializer: called once in each worker before its first item; None: nothing.
        initargs: the arguments of `initializer`.
        maxtasksperchild: how many chunks a worker runs before it is replaced; None: no limit.
        context: from ``multiprocessing.get_context``; names the start method. None: the fastest
            that is safe with threads.

    Raises:
        OptionError: an argument is not possible. It is a ValueError and a TypeError, too.
    """

    __module__ = "pmap"  # where it lives for those who read a repr or a pickle
    __pmap_pool__: ClassVar[bool] = True

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Context | None = None,
    ) -> None:
        options: dict[str, object] = {
            "processes": processes,
            "initializer": initializer,
            "initargs": initargs,
            "max_tasks_per_child": maxtasksperchild,
            "start_method": context.get_start_method() if context is not None else None,
        }
        self._driver = _make(merge(Settings(), options).worker, idle_timeout=None)
        self._streams: weakref.WeakSet[ResultStream[Any]] = weakref.WeakSet()
        self._driver.prestart()

    # --- one call ------------------------------------------------------------------------------

    @overload
    def apply(self, func: Callable[[], R]) -> R: ...
    @overload
    def apply(self, func: Callable[[*Ts], R], args: tuple[*Ts]) -> R: ...
    @overload
    def apply(self, func: Callable[..., R], args: Iterable[Any], kwds: Mapping[str, Any]) -> R: ...
    def apply(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
    ) -> R:
        """Return ``func(*args, **kwds)``, run in a worker."""
        value: R = self._wait(self._call(func, args, kwds))[0]
        return value

    @overload
    def apply_async(
        self,
        func: Callable[[], R],
        *,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[R]: ...
    @overload
    def apply_async(
        self,
        func: Callable[[*Ts], R],
        args: tuple[*Ts],
        *,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[R]: ...
    @overload
    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any],
        kwds: Mapping[str, Any],
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[R]: ...
    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[R]:
        """Start ``func(*args, **kwds)`` in a worker; return its `AsyncResult` at once.

        Args:
            func: the function.
            args: its positional arguments.
            kwds: its keyword arguments.
            callback: called with the result when it is there, in another thread.
            error_callback: called with the exception instead, if there is one.
        """
        call = self._call(func, args, kwds)
        job = _submit(self._taker(), call)
        result: AsyncResult[R] = AsyncResult(job, first)
        _call_back(result, callback, error_callback)
        return result

    def _call(self, func: object, args: Iterable[Any], kwds: Mapping[str, Any] | None) -> Call:
        self._check()
        return _call.apply("Pool.apply", func, tuple(args), kwds or {}, _RULES)

    # --- many calls ----------------------------------------------------------------------------

    def map(
        self, func: Callable[[A], R], iterable: Iterable[A], chunksize: int | None = None
    ) -> list[R]:
        """Return ``list(map(func, iterable))``, run in the workers."""
        return self._wait(self._each(func, iterable, chunksize))

    def map_async(
        self,
        func: Callable[[A], R],
        iterable: Iterable[A],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """Start `map`; return its `AsyncResult` at once. Callbacks as in `apply_async`."""
        return self._start(self._each(func, iterable, chunksize), callback, error_callback)

    def starmap(
        self,
        func: Callable[[*Ts], R],
        iterable: Iterable[tuple[*Ts]],
        chunksize: int | None = None,
    ) -> list[R]:
        """Return ``list(itertools.starmap(func, iterable))``, run in the workers."""
        return self._wait(self._star(func, iterable, chunksize))

    def starmap_async(
        self,
        func: Callable[[*Ts], R],
        iterable: Iterable[tuple[*Ts]],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """Start `starmap`; return its `AsyncResult` at once. Callbacks as in `apply_async`."""
        return self._start(self._star(func, iterable, chunksize), callback, error_callback)

    def imap(
        self,
        func: Callable[[A], R],
        iterable: Iterable[A],
        chunksize: int | None = 1,
        buffersize: int | None = None,
    ) -> ResultStream[R]:
        """Return the results of `map`, each as it comes, in input order.

        Unlike in ``multiprocessing`` the input is not read at once by another thread, but when a
        result is asked for, in the thread that asks, and no further ahead than `buffersize`. So
        nothing runs before that; `join` reads the rest. A failing item raises in its place, and
        the next call of ``next`` goes on behind it.

        Args:
            func: the function.
            iterable: its arguments.
            chunksize: how many items travel in one message; None: as many as fit the time.
            buffersize: how many items are read ahead of what was taken; None: a few chunks for
                each worker.
        """
        streamed = _call.each_streamed("Pool.imap", func, (iterable,))
        return self._stream(streamed, chunksize, buffersize, ordered=True)

    def imap_unordered(
        self,
        func: Callable[[A], R],
        iterable: Iterable[A],
        chunksize: int | None = 1,
        buffersize: int | None = None,
    ) -> ResultStream[R]:
        """Return the results of `map` as they come, whatever is first; otherwise as `imap`."""
        streamed = _call.each_streamed("Pool.imap_unordered", func, (iterable,))
        return self._stream(streamed, chunksize, buffersize, ordered=False)

    def istarmap(
        self,
        func: Callable[[*Ts], R],
        iterable: Iterable[tuple[*Ts]],
        chunksize: int | None = 1,
        buffersize: int | None = None,
    ) -> ResultStream[R]:
        """Return the results of `starmap`, each as it comes, in input order; as `imap`."""
        streamed = _call.star_streamed("Pool.istarmap", func, iterable)
        return self._stream(streamed, chunksize, buffersize, ordered=True)

    def _stream(
        self,
        streamed: Streamed,
        chunksize: int | None,
        buffersize: int | None,
        *,
        ordered: bool,
    ) -> ResultStream[Any]:
        self._check()
        asked = merge(Settings(), {"chunksize": chunksize, "buffersize": buffersize}).call
        call = streamed.call.under(Rules(True, stop=False, chunksize=asked.chunksize))
        driver, ours = self._taker()
        stream: ResultStream[Any] = ResultStream(
            driver,
            streamed._replace(call=call),
            ordered=ordered,
            buffersize=asked.buffersize,
            drop_in=True,
            own_driver=ours,
        )
        stream.begin()  # or a pool that is closed in the meantime would not take it
        self._streams.add(stream)
        return stream

    def _each(self, func: object, iterable: object, chunksize: int | None) -> Call:
        self._check()
        return _call.each("Pool.map", func, (iterable,)).under(_rules(chunksize))

    def _star(self, func: object, iterable: object, chunksize: int | None) -> Call:
        self._check()
        return _call.star("Pool.starmap", func, iterable).under(_rules(chunksize))

    def _wait(self, call: Call) -> list[Any]:
        return _run(self._taker(), call)

    def _taker(self) -> tuple[Driver, bool]:
        """Return the driver for a call, and whether it is for this call only."""
        if self._driver.holder_is_here():  # see `_driver_for`
            return _make(WorkerOptions(backend="serial")), True
        return self._driver, False

    def _start(
        self,
        call: Call,
        callback: Callable[[list[R]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> AsyncResult[list[R]]:
        job = _submit(self._taker(), call)
        result: AsyncResult[list[R]] = AsyncResult(job, every)
        _call_back(result, callback, error_callback)
        return result

    # --- the end -------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more work; the workers go when what there is is done."""
        self._driver.close()

    def terminate(self) -> None:
        """End the workers at once, whatever they do; open results raise `CancelledError`."""
        self._driver.terminate()

    def join(self) -> None:
        """Wait until the workers are gone; `close` or `terminate` must have been called.

        Open streams read the rest of their input first, in this thread, without a bound: else
        nobody would.

        Raises:
            ValueError: neither was.
        """
        if self._driver.closed:
            for stream in list(self._streams):
                stream.read_on()
        self._driver.join()

    def _check(self) -> None:
        if self._driver.closed:
            raise PoolClosedError(f"the pool takes no more work: {self._driver.closed}")

    def __enter__(self) -> Self:
        self._check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminate()

    def __del__(self) -> None:
        # Not terminate: results that somebody still holds come, and nobody is kept waiting here.
        driver = getattr(self, "_driver", None)
        if driver is not None and not driver.closed:
            shown = repr(self)
            driver.close()  # first: where warnings are errors, nothing comes behind it
            warnings.warn(
                f"unclosed running pmap pool {shown}", ResourceWarning, stacklevel=2, source=self
            )

    def __reduce__(self) -> str:
        raise NotImplementedError(
            "a pool cannot be passed between processes or pickled; a verb used inside a worker "
            "runs there"
        )

    def __repr__(self) -> str:
        driver = self._driver
        state = f"closed: {driver.closed}" if driver.closed else "running"
        kind = type(self)
        return f"<{kind.__module__}.{kind.__qualname__}, {driver.limit} processes, {state}>"


# --- the verbs' side -----------------------------------------------------------------------------


def run(call: Call, settings: Settings) -> list[Any]:
    """Return the results of `call`; raises its first failure."""
    return _run(_driver_for(settings), call)


def start(call: Call | Streamed, settings: Settings) -> AsyncResult[list[Any]]:
    """Start `call`; return the handle of its results."""
    if isinstance(call, Streamed):
        asked = call.call
        name = f"{asked.verb}({name_of(asked.function)})"
        collected = Collected(stream(call, settings, ordered=True), name)
        return AsyncResult(collected, every)
    job = _submit(_driver_for(settings), call)
    return AsyncResult(job, every)


def start_one(call: Call, settings: Settings) -> AsyncResult[Any]:
    """Start `call`, which has one item; return the handle of its result."""
    job = _submit(_driver_for(settings), call)
    return AsyncResult(job, first)


def start_tuple(call: Call, settings: Settings) -> AsyncResult[tuple[Any, ...]]:
    """Start `call`; return the handle of its results as a tuple."""
    job = _submit(_driver_for(settings), call)
    return AsyncResult(job, tuple)


def stream(streamed: Streamed, settings: Settings, ordered: bool) -> ResultStream[Any]:
    """Return the results of a call whose input is read as they are asked for."""
    driver, ours = _driver_for(settings)
    made: ResultStream[Any] = ResultStream(
        driver,
        streamed,
        ordered=ordered,
        buffersize=settings.call.buffersize,
        as_values=streamed.call.rules.collect,
        own_driver=ours,
    )
    if isinstance(settings.pool, Pool) and driver is settings.pool._driver:
        settings.pool._streams.add(made)  # the pool's `join` would wait for it
    return made


def _run(taker: tuple[Driver, bool], call: Call) -> list[Any]:
    driver, ours = taker
    try:
        return _results(driver.run(call))
    finally:
        if ours:
            driver.close()


def _submit(taker: tuple[Driver, bool], call: Call) -> Job:
    driver, ours = taker
    job = driver.submit(call)
    if ours:
        driver.close()  # it goes when the job is done
    return job


def _results(job: Job) -> list[Any]:
    if job.error is not None:
        try:
            raise job.error
        finally:
            del job  # the traceback would keep it, and it the exception: a cycle for the collector
    return job.values


def _call_back(
    result: AsyncResult[R],
    callback: Callable[[R], object] | None,
    error_callback: Callable[[BaseException], object] | None,
) -> None:
    def tell(over: AsyncResult[R]) -> None:
        error = over.exception()
        if error is None and callback is not None:
            callback(over.get())
        elif error is not None and error_callback is not None:
            error_callback(error)

    if callback is not None or error_callback is not None:
        result.add_done_callback(tell)


def _rules(chunksize: int | None) -> Rules:
    """Return how the maps of a `Pool` run: what is under way when an item fails runs on."""
    asked = merge(Settings(), {"chunksize": chunksize}).call.chunksize
    return _RULES._replace(stop=False, chunksize=asked)


# --- the shared pools ----------------------------------------------------------------------------

_shared: dict[WorkerOptions, Driver] = {}


def _driver_for(settings: Settings) -> tuple[Driver, bool]:
    """Return the driver for a call, and whether it is for this call only."""
    if isinstance(settings.pool, Pool):
        driver = settings.pool._driver
        if not inside_item() and not driver.holder_is_here():
            return driver, False
    # Inside an item the workers are busy with the very map that waits for it; in the books of a
    # pool nobody would lead; and when the interpreter ends, nothing can be started any more.
    options = settings.worker
    if inside_item() or exiting():
        return _make(options._replace(backend="serial", initializer=None)), True
    try:
        driver = _shared.get(options) or _shared.setdefault(options, _make(options, IDLE_TIMEOUT))
    except TypeError:  # initargs that cannot be a key: a pool for this call
        return _make(options), True
    if driver.holder_is_here():
        return _make(options._replace(backend="serial", initializer=None)), True
    if len(_shared) > MOST_SHARED:
        _drop_one(driver)
    return driver, False


def _drop_one(but: Driver) -> None:
    for options, driver in list(_shared.items()):
        if driver is not but and not driver.busy and _shared.pop(options, None) is driver:
            # Not closed: another thread may have it in hand for a call. Then it serves that call,
            # and lets its workers go when they have been idle for long enough.
            driver.retire()
            return


def _make(options: WorkerOptions, idle_timeout: float | None = None) -> Driver:
    limit = options.processes or cpu_count()
    backend: Backend[Any]
    if options.backend == "serial":
        from .._backends.serial import SerialBackend

        limit = 1
        backend = SerialBackend(options.initializer, options.initargs)
    elif options.backend == "threads":
        from .._backends.threads import ThreadBackend

        backend = ThreadBackend(options.initializer, options.initargs)
    else:
        backend = ProcessBackend(
            options.start_method,
            limit,
            options.initializer,
            options.initargs,
            options.max_memory_per_child,
            options.kill_over_memory,
            thread_limits(options.threads_per_worker, max(1, cpu_count() // limit)),
        )
    prefetch = options.max_memory_per_child is None
    return Driver(backend, limit, options.most_tasks, idle_timeout, prefetch)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.clear)
