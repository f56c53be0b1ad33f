"""Pool: a drop-in for ``multiprocessing.pool.Pool``, with the same methods and with types."""

import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import (
    Any,
    ClassVar,
    Literal,
    Never,
    Self,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
    overload,
)

from .._backends.start_method import default_start_method
from .._calls import call as _call
from .._calls.arguments import Context, check_arguments, check_callbacks, start_method_of
from .._calls.call import Call, Streamed, rules_for
from .._calls.describe import short_number
from .._calls.options import Settings, WorkerOptions, checked, merge, refuse_for_pool
from .._engine.driver import Driver
from .._errors import PoolClosedError
from .._jobs.own_frames import cut
from .._scheduling.run_rules import RunRules
from .._types import Show
from .async_result import AsyncResult, every, first
from .old_clients import CLOSE, RUN, TERMINATE, Computed, OldQueue, OldWorkers
from .result_stream import ResultStream
from .shared_pools import make_driver, run_with, submit_with
from .standard import PoolBase, derive, stands_for

A = TypeVar("A")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

# The types of `args` for which type checkers do not know the number and types of the arguments. For
# a tuple they know and check both.
AnyNumber: TypeAlias = list[Any] | Iterator[Any] | range

# The rules of calls by the methods of `Pool`. As in multiprocessing, a result that is a function is
# pickled by name only.
_RULES_OF_STREAMS = RunRules(collect=True, trace_as_text=True)
_RULES = RunRules(stop=True, functions_by_value=False, trace_as_text=True)


class Pool(PoolBase):
    """A pool of workers with the methods of ``multiprocessing.pool.Pool``.

    A drop-in for that class, with types: the same methods and parameters. What differs: a worker's
    death costs one item and not the program (`WorkerLost`); lambdas, and functions and classes that
    a script or REPL defines, can be sent; no ``if __name__ == "__main__"`` guard is needed;
    `chunksize` adapts to the measured cost of items; when an item fails, items that have not begun
    are not run; a pool that is dropped without being closed finishes its work and then ends.

    ``isinstance(pool, multiprocessing.pool.Pool)`` holds, and a class can derive from it.

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
            start method that is safe with threads.
        main: how workers get the functions and classes that the script defines: see `Options`.

    Raises:
        OptionError: an argument is not possible. `OptionError` is a ValueError and a TypeError.
        NotPicklableError: the initializer or its arguments cannot be sent to workers.
    """

    __pmap_pool__: ClassVar[bool] = True
    __module__ = "pmap"  # the name of the package, for the repr and the pickle of this class
    # The word for a worker in the repr of this pool, for one worker and for several.
    _workers: ClassVar[tuple[str, str]] = ("process", "processes")

    @overload
    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[[], object] | None = None,
        initargs: tuple[()] | AnyNumber = (),
        maxtasksperchild: int | None = None,
        context: Context | None = None,
        *,
        main: Literal["value", "import"] = "value",
    ) -> None: ...
    @overload
    def __init__(
        self,
        processes: int | None,
        initializer: Callable[[*Ts], object] | None,
        initargs: tuple[*Ts] | AnyNumber,
        maxtasksperchild: int | None = None,
        context: Context | None = None,
        *,
        main: Literal["value", "import"] = "value",
    ) -> None: ...
    @overload
    def __init__(
        self,
        processes: int | None = None,
        *,
        initializer: Callable[[*Ts], object] | None,
        initargs: tuple[*Ts] | AnyNumber,
        maxtasksperchild: int | None = None,
        context: Context | None = None,
        main: Literal["value", "import"] = "value",
    ) -> None: ...
    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Context | None = None,
        *,
        main: Literal["value", "import"] = "value",
        **others: Never,
    ) -> None:
        refuse_for_pool(others)
        options: dict[str, object] = {
            "processes": processes,
            "initializer": initializer,
            "initargs": initargs,
            "max_tasks_per_child": checked(
                "max_tasks_per_child", maxtasksperchild, "maxtasksperchild"
            ),
            "start_method": start_method_of("context", context),
            "main": main,
        }
        self._begin(options)
        if context is not None:
            vars(self)["_ctx"] = context

    def _begin(self, options: dict[str, object]) -> None:
        # If `multiprocessing.pool.Pool` was imported, this call makes that class a base of this
        # one.
        derive()
        worker = merge(Settings(), options).worker
        self._state = RUN
        self._driver = make_driver(worker, idle_timeout=None)
        self._streams: weakref.WeakSet[ResultStream[Any]] = weakref.WeakSet()
        # The attributes below are only for code that reads private attributes of multiprocessing's
        # `Pool`; see the module `old_clients`.
        self._processes = self._driver.limit
        self._maxtasksperchild = worker.max_tasks_per_child
        self._initializer = worker.initializer
        self._initargs = worker.initargs
        self._driver.prestart()

    # --- private attributes of multiprocessing's Pool: see `old_clients` -----------------------

    @Computed
    def _pool(self) -> OldWorkers:
        return OldWorkers(self._driver)

    @Computed
    def _cache(self) -> dict[int, AsyncResult[list[Any]]]:
        return {number: AsyncResult(job, every) for number, job in self._driver.calls().items()}

    @Computed
    def _taskqueue(self) -> OldQueue:
        return OldQueue(self._driver)

    @Computed
    def _ctx(self) -> Context:
        from multiprocessing import get_context

        return get_context(default_start_method())

    def _repopulate_pool(self) -> None:
        self._driver.worker_list.notice_ends()
        self._driver.prestart()

    # --- methods for one call ------------------------------------------------------------------

    @overload
    def apply(self, func: Callable[[], R]) -> R: ...
    @overload
    def apply(self, func: Callable[[*Ts], R], args: tuple[*Ts]) -> R: ...
    @overload
    def apply(self, func: Callable[..., R], args: AnyNumber) -> R: ...
    @overload
    def apply(self, func: Callable[..., R], args: Iterable[Any], kwds: Mapping[str, Any]) -> R: ...
    @overload
    def apply(
        self, func: Callable[..., R], args: Iterable[Any] = (), *, kwds: Mapping[str, Any]
    ) -> R: ...
    def apply(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
    ) -> R:
        """Return ``func(*args, **kwds)``, run in a worker."""
        try:
            value: R = self._wait(self._call(func, args, kwds))[0]
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise
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
        args: AnyNumber,
        *,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[R]: ...
    @overload
    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        *,
        kwds: Mapping[str, Any],
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
            args: the positional arguments of `func`.
            kwds: the keyword arguments of `func`.
            callback: called with the result when the result is there, in another thread.
            error_callback: called with the exception instead, if `func` fails.
        """
        check_callbacks(callback=callback, error_callback=error_callback)
        call = self._call(func, args, kwds)
        job = submit_with(self._taker(), call)
        result: AsyncResult[R] = AsyncResult(job, first)
        _call_back(result, callback, error_callback)
        return result

    def _call(self, func: object, args: Iterable[Any], kwds: Mapping[str, Any] | None) -> Call:
        self._check_running()
        check_arguments(args, kwds)
        return _call.apply("Pool.apply", func, tuple(args), kwds or {}, _RULES)

    # --- methods for many calls ----------------------------------------------------------------

    def map(
        self, func: Callable[[A], R], iterable: Iterable[A], chunksize: int | None = None
    ) -> list[R]:
        """Return ``list(map(func, iterable))``, run in the workers."""
        try:
            return self._wait(self._each(func, iterable, chunksize))
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    def map_async(
        self,
        func: Callable[[A], R],
        iterable: Iterable[A],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """Start `map`; return its `AsyncResult` at once. Callbacks as in `apply_async`."""
        try:
            return self._start(self._each(func, iterable, chunksize), callback, error_callback)
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    def starmap(
        self,
        func: Callable[[*Ts], R],
        iterable: Iterable[tuple[*Ts]],
        chunksize: int | None = None,
    ) -> list[R]:
        """Return ``list(itertools.starmap(func, iterable))``, run in the workers."""
        try:
            return self._wait(self._star(func, iterable, chunksize))
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    def starmap_async(
        self,
        func: Callable[[*Ts], R],
        iterable: Iterable[tuple[*Ts]],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """Start `starmap`; return its `AsyncResult` at once. Callbacks as in `apply_async`."""
        try:
            return self._start(self._star(func, iterable, chunksize), callback, error_callback)
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    def imap(
        self,
        func: Callable[[A], R],
        iterable: Iterable[A],
        chunksize: int | None = 1,
        buffersize: int | None = None,
        *,
        progress: Show = False,
    ) -> ResultStream[R]:
        """Return the results of `map`, each as it comes, in input order.

        Unlike in ``multiprocessing`` the input is not read at once by another thread, but when a
        result is asked for, in the thread that asks, and no further ahead than `buffersize`. So no
        item runs before the first result is asked for; `join` reads the rest of the input. A failed
        item raises in its place, and the next call of ``next`` returns the result after that item.

        Args:
            func: the function.
            iterable: the arguments of `func`, one for each item.
            chunksize: how many items travel in one message; None: adapted to the cost of an item.
            buffersize: how many items are read ahead of the results taken; None: a few chunks for
                each worker.
            progress: see `Options`.
        """
        return self._stream(
            func,
            lambda rules: _call.each_streamed("Pool.imap", func, (iterable,), rules),
            chunksize,
            buffersize,
            progress,
            ordered=True,
        )

    def imap_unordered(
        self,
        func: Callable[[A], R],
        iterable: Iterable[A],
        chunksize: int | None = 1,
        buffersize: int | None = None,
        *,
        progress: Show = False,
    ) -> ResultStream[R]:
        """Like `imap`, but return the results in the order in which they come."""
        return self._stream(
            func,
            lambda rules: _call.each_streamed("Pool.imap_unordered", func, (iterable,), rules),
            chunksize,
            buffersize,
            progress,
            ordered=False,
        )

    def istarmap(
        self,
        func: Callable[[*Ts], R],
        iterable: Iterable[tuple[*Ts]],
        chunksize: int | None = 1,
        buffersize: int | None = None,
        *,
        progress: Show = False,
    ) -> ResultStream[R]:
        """Return the results of `starmap`, each as it comes, in input order; as `imap`."""
        return self._stream(
            func,
            lambda rules: _call.star_streamed("Pool.istarmap", func, iterable, rules),
            chunksize,
            buffersize,
            progress,
            ordered=True,
        )

    def _stream(
        self,
        func: Callable[..., object],
        make: Callable[[RunRules], Streamed],
        chunksize: int | None,
        buffersize: int | None,
        progress: Show,
        *,
        ordered: bool,
    ) -> ResultStream[Any]:
        self._check_running()
        options = {"chunksize": chunksize, "buffersize": buffersize, "progress": progress}
        asked = merge(Settings(), options).call
        streamed = make(rules_for(_RULES_OF_STREAMS._replace(chunksize=asked.chunksize), func))
        streamed = streamed._replace(call=streamed.call.showing(asked))
        driver, ours = self._taker()
        stream: ResultStream[Any] = ResultStream(
            driver,
            streamed,
            ordered=ordered,
            buffersize=asked.buffersize,
            drop_in=True,
            own_driver=ours,
        )
        # The engine gets the call now, and not when the first result is asked for: the pool may be
        # closed by then.
        stream.begin()
        self._streams.add(stream)
        return stream

    def _each(self, func: object, iterable: object, chunksize: int | None) -> Call:
        self._check_running()
        return _call.each("Pool.map", func, (iterable,), rules_for(_rules(chunksize), func))

    def _star(self, func: object, iterable: object, chunksize: int | None) -> Call:
        self._check_running()
        return _call.star("Pool.starmap", func, iterable, rules_for(_rules(chunksize), func))

    def _wait(self, call: Call) -> list[Any]:
        return run_with(self._taker(), call)

    def _taker(self) -> tuple[Driver, bool]:
        """Return the driver (engine of a pool) for a call, and whether it runs only this call."""
        # A call inside an item of this same pool runs in the calling thread. In the pool it could
        # wait for ever: the item may hold the only worker.
        if self._driver.holds_lock() or self._driver.backend.runs_here():
            return make_driver(WorkerOptions(backend="serial")), True
        return self._driver, False

    def _start(
        self,
        call: Call,
        callback: Callable[[list[R]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> AsyncResult[list[R]]:
        check_callbacks(callback=callback, error_callback=error_callback)
        job = submit_with(self._taker(), call)
        result: AsyncResult[list[R]] = AsyncResult(job, every)
        _call_back(result, callback, error_callback)
        return result

    # --- the end of the pool -------------------------------------------------------------------

    def close(self) -> None:
        """Take no more calls; the workers end when all calls so far are done."""
        self._state = CLOSE if self._state == RUN else self._state
        self._driver.close()

    def terminate(self) -> None:
        """End the workers at once; calls that are not done raise `CancelledError`."""
        self._state = TERMINATE
        self._driver.terminate()

    def join(self) -> None:
        """Wait until the workers are gone; `close` or `terminate` must have been called.

        First the rest of the input of open streams is read, in this thread and without a bound on
        its length, because no other thread would read that input.

        Raises:
            ValueError: neither `close` nor `terminate` was called.
        """
        if self._driver.closed:
            for stream in list(self._streams):
                stream.read_on()
        self._driver.join()

    def _check_running(self) -> None:
        if self._driver.closed:
            raise PoolClosedError(f"the pool takes no more work: {self._driver.closed}")

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminate()

    def __del__(self) -> None:
        # The program has dropped a pool that was neither closed nor terminated. If the program
        # still holds an `AsyncResult`, it gets its results; this finaliser does not wait.
        driver = getattr(self, "_driver", None)
        if driver is not None and self._state == RUN and not driver.taken_away:
            shown = repr(self)
            # The pool is closed before the warning, because `warn` raises if the program turns
            # warnings into errors.
            driver.close()
            # The text is that of multiprocessing's warning, because programs filter warnings by
            # their text.
            warnings.warn(
                f"unclosed running multiprocessing pool {shown}",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __reduce__(self) -> str:
        raise NotImplementedError(
            "a pool cannot be passed between processes or pickled; a verb used inside a worker "
            "runs there"
        )

    def __repr__(self) -> str:
        driver = self._driver
        parts = [
            f"{driver.limit} {self._workers[driver.limit > 1]}",
            f"closed: {driver.closed}" if driver.closed else f"{driver.workers_at_work} busy",
            f"{short_number(driver.items_done)} items done",
        ]
        method = driver.backend.start_method
        parts += [] if method is None else [method]
        return f"<{type(self).__qualname__} {', '.join(parts)}>"


stands_for(Pool, "Pool")


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


def _rules(chunksize: int | None) -> RunRules:
    """Return the rules of a `Pool`'s maps: if an item fails, items that run are not ended."""
    asked = merge(Settings(), {"chunksize": chunksize}).call.chunksize
    return _RULES._replace(stop=False, chunksize=asked)
