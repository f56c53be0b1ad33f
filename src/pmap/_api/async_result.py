"""The handle of an asynchronous call."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._calls.arguments import check_function, seconds_to_wait
from .._errors import CancelledError
from .._jobs.own_frames import cut
from .._jobs.pending import NONE_YET, Pending
from .standard import class_of_both

# Only type checkers import the class here. At run time the method that needs the class imports it.
if TYPE_CHECKING:
    from concurrent.futures import Future

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


def first(values: list[R]) -> R:
    """Return the only result of a call that has one item."""
    return values[0]


def every(values: list[R]) -> list[R]:
    """Return the results of all items of a call, as a list."""
    return values


class AsyncResult(Generic[R_co]):
    """The result of a call that runs in the background.

    It has the methods of ``multiprocessing.pool.AsyncResult``, can be awaited in asyncio and trio,
    and can be cancelled.

    >>> from pmap import pmap
    >>> later = pmap.async_(len, ["a", "bb"])
    >>> later.get()
    [1, 2]
    >>> later.ready(), later.successful(), later.done, later.total
    (True, True, 2, 2)
    """

    __slots__ = ("__weakref__", "_is_cancelled", "_open", "_pending")

    def __init__(self, pending: Pending, open_: Callable[[list[Any]], R_co]) -> None:
        # The handle only keeps references to two objects that exist in any case. A bound method or
        # closure would take more memory, and a program may hold millions of handles.
        self._pending = pending
        self._open = open_
        # Whether `cancel` was called before the call was over; the call may take a moment to end.
        self._is_cancelled = False

    def _opened(self) -> R_co:
        return self._open(self._pending.values)

    def get(self, timeout: float | None = None) -> R_co:
        """Wait until the call is over; return its result or raise its exception.

        Args:
            timeout: how many seconds to wait at most. None: without limit.

        Raises:
            multiprocessing.TimeoutError: the call was not over in time. It goes on.
            CancelledError: the call was cancelled, or its pool was terminated.
            Exception: what the function raised for the first item (in input order) that failed.
        """
        pending = self._pending
        try:
            if not pending.wait(None if timeout is None else seconds_to_wait(timeout)):
                from .._multiprocessing_errors import ResultTimeoutError

                late = f"{self!r} was not ready within {timeout} seconds"
                raise ResultTimeoutError(late)
            if pending.error is not None:
                raise pending.error
            return self._opened()
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call is over, at most `timeout` seconds; None: without limit."""
        self._pending.wait(None if timeout is None else seconds_to_wait(timeout))

    def ready(self) -> bool:
        """Return whether the call is over: it has its result, or it failed or was cancelled."""
        return self._pending.over or self._is_cancelled

    def successful(self) -> bool:
        """Return whether the call ended without an exception.

        Raises:
            ValueError: the call is not over yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} is not ready")
        return self._pending.over and self._pending.error is None

    def exception(self) -> Exception | None:
        """Return the exception with which the call ended; None if there is none, or not yet."""
        if self._pending.over or not self._is_cancelled:
            return self._pending.error if self._pending.over else None
        return CancelledError(f"{self._pending.name} has no result: it was cancelled")

    def add_done_callback(self, callback: Callable[["AsyncResult[R_co]"], object]) -> None:
        """Call `callback` with this handle when the call is over; at once if it is over already.

        The thread that notices the end runs `callback`. What `callback` raises is logged.
        """
        check_function("callback", callback)
        self._pending.when_over(lambda: callback(self))

    def cancel(self) -> bool:
        """Cancel the call; return whether it was still in progress.

        Items that run are ended by killing their worker processes, unless the call was made with
        ``kill_on_cancel=False``; threads finish the item that they run. The pool can be used as
        before. When the items that ran have ended, `get` raises `CancelledError`.
        """
        cancelled = self._pending.cancel()
        self._is_cancelled = self._is_cancelled or cancelled
        return cancelled

    @property
    def done(self) -> int:
        """How many items of the call are finished."""
        return self._pending.progress()[0]

    @property
    def total(self) -> int:
        """How many items the call has; with asynchronous input, how many were read so far."""
        return self._pending.progress()[1]

    def then(self, f: Callable[[R_co], S], /) -> "AsyncResult[S]":
        """Return a new handle, whose result is ``f(result)``.

        `f` runs once, when this call is over, in this process. The thread that notices the end
        runs it, so `f` should be short. If this call fails, `f` does not run, and the new handle
        fails with the same exception. Cancelling the new handle cancels this call.

        >>> from pmap import pmap
        >>> pmap.async_(len, ["a", "bb"]).then(sum).get()
        3

        Args:
            f: a function of the result of this call.

        Returns:
            The new handle. If `f` raises, the new handle fails with that exception.
        """
        check_function("f", f)
        behind = _Behind(self._pending)
        begun: list[bool] = []

        def go_on() -> None:  # once more, if Ctrl-C has interrupted it
            if behind.over:
                return
            if self._pending.error is not None:
                behind.error = self._pending.error
            elif not begun:
                begun.append(True)
                try:
                    behind.values = [f(self._opened())]
                except Exception as error:
                    behind.error = error
                except BaseException as error:
                    # Whatever `f`, the user's function, raises becomes the outcome: otherwise the
                    # new handle would never end.
                    behind.error = _contained(error, f)
                    if isinstance(error, KeyboardInterrupt):
                        behind.settle()
                        raise
            elif behind.values is NONE_YET and behind.error is None:
                behind.error = _contained(KeyboardInterrupt(), f)
            behind.settle()

        self._pending.when_over(go_on, again=True)
        return AsyncResult(behind, first)

    def future(self) -> "Future[R_co]":
        """Return a ``concurrent.futures.Future`` that has the same result or exception.

        Cancelling the future cancels the call.

        >>> from concurrent.futures import wait
        >>> from pmap import papply_async
        >>> over, _ = wait([papply_async(abs, x).future() for x in (-1, 2)])
        >>> sorted(future.result() for future in over)
        [1, 2]
        """
        from .future import future_of

        return future_of(self._pending, self._opened)

    async def aget(self) -> R_co:
        """Wait for the result in asyncio or trio, and return it, as ``await`` does.

        This is for functions that take only a coroutine: ``TaskGroup.create_task(later.aget())``.
        """
        try:
            await self._pending.await_end()
            return self.get()
        except BaseException as error:
            # The task that waits was cancelled, so the call is cancelled, too.
            if not isinstance(error, Exception):
                self.cancel()
            __tracebackhide__ = cut(error)
            raise

    def __await__(self) -> Generator[Any, None, R_co]:
        """Wait for the result without blocking the event loop, and return it.

        Cancelling the task that waits cancels the call.
        """
        return self.aget().__await__()

    # --- private attributes of multiprocessing's handles, which some programs read --------------

    @property
    def _number_left(self) -> int:
        return self.total - self.done

    @property
    def _chunksize(self) -> int:
        return 1  # old programs multiply `_number_left`, which counts single items here, by this

    @property
    def _job(self) -> int | None:
        number: int | None = getattr(self._pending, "number", None)
        return number  # old programs look for the call under this number in `Pool._cache`

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            return class_of_both(type(self), "MapResult" if self._open is every else "ApplyResult")

    def __reduce__(self) -> str:
        raise TypeError("the handle of a call cannot be pickled: get its result, and send that")

    def __repr__(self) -> str:
        pending = self._pending
        state = f"{self.done}/{self.total} done"
        if pending.over and pending.error is not None:
            state = f"failed with {type(pending.error).__name__}"
        elif self._is_cancelled and not pending.over:
            state = "cancelled"
        return f"<AsyncResult {pending.name} {state}>"


def _contained(error: BaseException, f: object) -> Exception:
    """Return a `ControlFlowError` that replaces an exception that is no `Exception`.

    If `get` raised such an exception (SystemExit, for example), it would end the thread that waits.
    """
    from .._errors import ControlFlowError
    from .._transport.exceptions import describe

    name: object = getattr(f, "__qualname__", None) or repr(f)
    contained = ControlFlowError(
        describe(error), function=f"then({name})", index=0, input="the result"
    )
    contained.__cause__ = error
    return contained


class _Behind(Pending):
    """The outcome of a function that runs after another call has ended: see `AsyncResult.then`."""

    def __init__(self, first: Pending) -> None:
        super().__init__()
        self._first = first

    @property
    def name(self) -> str:
        return f"{self._first.name}.then"

    def progress(self) -> tuple[int, int]:
        return self._first.progress()

    def _cancel(self) -> None:
        self._first.cancel()

    def drive(self, enough: Callable[[], bool]) -> None:
        self._first.drive(enough)
