"""Pool: the methods the verbs map onto; and the shared pools that the verbs run on by default."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from queue import SimpleQueue
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, TypeVar, TypeVarTuple, overload

from . import _call
from ._call import Call
from ._driver import Driver, exiting
from ._errors import PoolClosedError
from ._job import Job
from ._options import Settings, WorkerOptions, cpu_count, merge
from ._process import inside_item
from ._result import AsyncResult
from .backends import Backend
from .backends.process import ProcessBackend

__all__ = ["Pool", "run", "start", "start_one"]

A = TypeVar("A")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")

# Seconds after which a shared pool lets its idle workers go: long enough to think in a REPL, short
# enough that a program which is done with its maps does not keep processes for hours.
IDLE_TIMEOUT = 60.0
# Shared pools kept at a time: each distinct set of worker options makes one.
MOST_SHARED = 8


class Context(Protocol):
    """What ``multiprocessing.get_context`` gives, as far as a pool asks it."""

    def get_start_method(self, allow_none: bool = False) -> str | None:
        """Return the name of the start method."""
        ...


class Pool:
    """A pool of workers with the methods of ``multiprocessing.pool.Pool``.

    A drop-in for it, with types: the same methods and parameters. What differs: a worker's death
    costs one item and not the program (`WorkerLost`); lambdas and what a script or REPL defined
    can be sent; no ``if __name__ == "__main__"`` guard is needed; `chunksize` adapts to what the
    items cost; a pool that is dropped without being closed finishes its work and goes.

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
        job = self._driver.submit(self._call(func, args, kwds), functions_by_value=False)
        result: AsyncResult[R] = AsyncResult(job, _first)
        _call_back(result, callback, error_callback)
        return result

    def _call(self, func: object, args: Iterable[Any], kwds: Mapping[str, Any] | None) -> Call:
        self._check()
        return _call.apply("Pool.apply", func, tuple(args), kwds or {})

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
        self, func: Callable[[A], R], iterable: Iterable[A], chunksize: int = 1
    ) -> "ResultIterator[R]":
        """Return an iterator over the results of `map`, each as it comes, in input order.

        The input is read to its end first. If reading it fails, its exception comes after the
        results of all whole chunks before.
        """
        return ResultIterator(*self._chunks(func, iterable, chunksize), ordered=True)

    def imap_unordered(
        self, func: Callable[[A], R], iterable: Iterable[A], chunksize: int = 1
    ) -> "ResultIterator[R]":
        """Return an iterator over the results of `map` in the order in which they come."""
        return ResultIterator(*self._chunks(func, iterable, chunksize), ordered=False)

    def _each(self, func: object, iterable: object, chunksize: int | None) -> Call:
        self._check()
        size = _chunksize(chunksize)
        return _call.each("Pool.map", func, (iterable,), stop=False, chunksize=size)

    def _star(self, func: object, iterable: object, chunksize: int | None) -> Call:
        self._check()
        size = _chunksize(chunksize)
        return _call.star("Pool.starmap", func, iterable, stop=False, chunksize=size)

    def _wait(self, call: Call) -> list[Any]:
        return _results(self._driver.run(call, functions_by_value=False))

    def _start(
        self,
        call: Call,
        callback: Callable[[list[R]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> AsyncResult[list[R]]:
        job = self._driver.submit(call, functions_by_value=False)
        result: AsyncResult[list[R]] = AsyncResult(job, _all)
        _call_back(result, callback, error_callback)
        return result

    def _chunks(
        self, func: Callable[[A], R], iterable: Iterable[A], chunksize: int
    ) -> tuple[list[AsyncResult[list[R]]], Exception | None]:
        size = _chunksize(chunksize) or 1
        source = iter(iterable)
        chunks: list[AsyncResult[list[R]]] = []
        try:
            while chunk := list(islice(source, size)):
                chunks.append(self.map_async(func, chunk, size))
        except Exception as error:
            if isinstance(error, PoolClosedError):
                raise
            return chunks, error
        if not chunks:
            self._each(func, (), None)  # the checks are due all the same
        return chunks, None

    # --- the end -------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more work; the workers go when what there is is done."""
        self._driver.close()

    def terminate(self) -> None:
        """End the workers at once, whatever they do; open results raise `CancelledError`."""
        self._driver.terminate()

    def join(self) -> None:
        """Wait until the workers are gone; `close` or `terminate` must have been called.

        Raises:
            ValueError: neither was.
        """
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
            warnings.warn(
                f"unclosed running pmap pool {self!r}", ResourceWarning, stacklevel=2, source=self
            )
            driver.close()

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


class ResultIterator(Iterator[R_co]):
    """The results of `Pool.imap` or `Pool.imap_unordered`, as they come."""

    def __init__(
        self, chunks: list[AsyncResult[list[R_co]]], error: Exception | None, ordered: bool
    ) -> None:
        self._error = error
        self._left = len(chunks)
        self._now: list[R_co] = []  # the chunk being handed out, reversed
        self._over: SimpleQueue[AsyncResult[list[R_co]]] = SimpleQueue()
        self._waiting = chunks[::-1] if ordered else []
        if not ordered:
            for chunk in chunks:
                chunk.when_over(self._over.put)

    def __next__(self) -> R_co:
        return self.next()

    def next(self, timeout: float | None = None) -> R_co:
        """Return the next result.

        Args:
            timeout: seconds to wait for it at most; None: as long as it takes.

        Raises:
            StopIteration: there are no more.
            multiprocessing.TimeoutError: it was not there in time; ask again.
            Exception: what the function raised. The next call goes on with the next chunk.
        """
        if not self._now:
            if not self._left:
                error, self._error = self._error, None
                raise StopIteration if error is None else error
            chunk = self._waiting[-1] if self._waiting else self._next_over(timeout)
            if self._waiting:
                chunk.wait(timeout)
                if chunk.ready():
                    self._waiting.pop()
            if chunk.ready():
                self._left -= 1
            self._now = chunk.get(0)[::-1]
        return self._now.pop()

    def _next_over(self, timeout: float | None) -> AsyncResult[list[R_co]]:
        from queue import Empty

        try:
            return self._over.get(timeout=timeout)
        except Empty:
            from ._drop_in import ResultTimeoutError

            raise ResultTimeoutError(f"no result came within {timeout} seconds") from None


# --- the verbs' side -----------------------------------------------------------------------------


def run(call: Call, settings: Settings) -> list[Any]:
    """Return the results of `call`; raises its first failure."""
    driver, ours = _driver_for(settings)
    try:
        return _results(driver.run(call))
    finally:
        if ours:
            driver.close()


def start(call: Call, settings: Settings) -> AsyncResult[list[Any]]:
    """Start `call`; return the handle of its results."""
    return AsyncResult(_submit(call, settings), _all)


def start_one(call: Call, settings: Settings) -> AsyncResult[Any]:
    """Start `call`, which has one item; return the handle of its result."""
    return AsyncResult(_submit(call, settings), _first)


def _submit(call: Call, settings: Settings) -> Job:
    driver, ours = _driver_for(settings)
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


def _all(values: list[Any]) -> list[Any]:
    return values


def _first(values: Sequence[Any]) -> Any:
    return values[0]


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
        result.when_over(tell)


def _chunksize(given: int | None) -> int | None:
    return merge(Settings(), {"chunksize": given}).call.chunksize


# --- the shared pools ----------------------------------------------------------------------------

_shared: dict[WorkerOptions, Driver] = {}


def _driver_for(settings: Settings) -> tuple[Driver, bool]:
    """Return the driver for a call, and whether it is for this call only."""
    if isinstance(settings.pool, Pool):
        driver = settings.pool._driver
        if not inside_item() and not driver.holder_is_here:
            return driver, False
    # Inside an item the workers are busy with the very map that waits for it; in the books of a
    # pool nobody would lead; and when the interpreter ends, nothing can be started any more.
    options = settings.worker
    if inside_item() or exiting():
        return _make(replace(options, backend="serial", initializer=None)), True
    try:
        driver = _shared.get(options) or _shared.setdefault(options, _make(options, IDLE_TIMEOUT))
    except TypeError:  # initargs that cannot be a key: a pool for this call
        return _make(options), True
    if driver.holder_is_here:
        return _make(replace(options, backend="serial", initializer=None)), True
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
        from .backends.serial import SerialBackend

        limit = 1
        backend = SerialBackend(options.initializer, options.initargs)
    elif options.backend == "threads":
        from .backends.threads import ThreadBackend

        backend = ThreadBackend(options.initializer, options.initargs)
    else:
        backend = ProcessBackend(options.start_method, options.initializer, options.initargs)
    return Driver(backend, limit, options.max_tasks_per_child, idle_timeout)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.clear)
