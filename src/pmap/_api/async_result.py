"""What callers hold: the handle of an asynchronous call."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._calls.arguments import check_function, seconds_to_wait
from .._errors import CancelledError
from .._jobs.pending import Pending
from .standard import class_of_both

if TYPE_CHECKING:  # only needed when one is asked for
    from concurrent.futures import Future

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


def first(values: list[R]) -> R:
    """Return the only result of a call of one item."""
    return values[0]


def every(values: list[R]) -> list[R]:
    """Return the results of a call."""
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
        # No method of `pending`, nor anything else that is made anew: there may be millions.
        self._pending = pending
        self._open = open_
        self._is_cancelled = False  # at the wish of who has this; it may take a moment to end

    def _opened(self) -> R_co:
        return self._open(self._pending.values)

    def get(self, timeout: float | None = None) -> R_co:
        """Return the result when it is there.

        Args:
            timeout: seconds to wait at most; None: as long as it takes.

        Raises:
            multiprocessing.TimeoutError: it was not there in time. The work goes on.
            CancelledError: it was cancelled, or its pool terminated.
            Exception: what the function raised, for the first item (in input order) that failed.
        """
        pending = self._pending
        if not pending.wait(None if timeout is None else seconds_to_wait(timeout)):
            from .._multiprocessing_errors import ResultTimeoutError

            raise ResultTimeoutError(f"{self!r} was not ready within {timeout} seconds")
        if pending.error is not None:
            raise pending.error
        return self._opened()

    def wait(self, timeout: float | None = None) -> None:
        """Return when the result is there or the call has failed, or after `timeout` seconds."""
        self._pending.wait(None if timeout is None else seconds_to_wait(timeout))

    def ready(self) -> bool:
        """Return whether the result is there, or the call has failed or was cancelled."""
        return self._pending.over or self._is_cancelled

    def successful(self) -> bool:
        """Return whether the call is over without an exception.

        Raises:
            ValueError: it is not over yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} is not ready")
        return self._pending.over and self._pending.error is None

    def exception(self) -> Exception | None:
        """Return the exception that the call ended with, None where there is none (yet)."""
        if self._pending.over or not self._is_cancelled:
            return self._pending.error if self._pending.over else None
        return CancelledError(f"{self._pending.name} has no result: it was cancelled")

    def add_done_callback(self, callback: Callable[["AsyncResult[R_co]"], object]) -> None:
        """Call `callback` with this handle when it is over, at once if it is.

        It runs in the thread that notices the end; its own exceptions are logged.
        """
        check_function("callback", callback)
        self._pending.when_over(lambda: callback(self))

    def cancel(self) -> bool:
        """End the call; return whether it was still under way.

        Items that run are ended by killing their worker processes (threads finish their present
        item), unless the call was made with ``kill_on_cancel=False``; the pool stays as it was
        otherwise. `get` then raises `CancelledError`, when what ran has ended.
        """
        cancelled = self._pending.cancel()
        self._is_cancelled = self._is_cancelled or cancelled
        return cancelled

    @property
    def done(self) -> int:
        """How many items are finished."""
        return self._pending.progress()[0]

    @property
    def total(self) -> int:
        """How many items there are."""
        return self._pending.progress()[1]

    def then(self, f: Callable[[R_co], S], /) -> "AsyncResult[S]":
        """Return the handle of ``f(result)``; `f` runs here, in the caller's process.

        It runs once, when the result is there, in the thread that notices; so it should be short.
        If the call fails, `f` is not run and the new handle fails with the same exception.
        Cancelling the new handle cancels this one.

        >>> from pmap import pmap
        >>> pmap.async_(len, ["a", "bb"]).then(sum).get()
        3

        Args:
            f: a function of the result.

        Returns:
            Its handle. Whatever `f` raises, it raises.
        """
        check_function("f", f)
        behind = _Behind(self._pending)

        def go_on() -> None:
            behind.error = self._pending.error
            if behind.error is None:
                try:
                    behind.values = [f(self._opened())]
                except Exception as error:
                    behind.error = error
                except BaseException as error:  # or nobody would hear of it
                    behind.error = _contained(error, f)
                    if isinstance(error, KeyboardInterrupt):
                        behind.settle()
                        raise
            behind.settle()

        self._pending.when_over(go_on)
        return AsyncResult(behind, first)

    def future(self) -> "Future[R_co]":
        """Return a ``concurrent.futures.Future`` of the same result.

        Cancelling it cancels the call.

        >>> from concurrent.futures import wait
        >>> from pmap import papply_async
        >>> over, _ = wait([papply_async(abs, x).future() for x in (-1, 2)])
        >>> sorted(future.result() for future in over)
        [1, 2]
        """
        from .future import future_of

        return future_of(self._pending, self._opened)

    async def aget(self) -> R_co:
        """Wait for the result in asyncio or trio: what ``await`` does, as a coroutine.

        For those who take nothing else: ``TaskGroup.create_task(later.aget())``.
        """
        try:
            await self._pending.await_end()
        except Exception:
            raise
        except BaseException:  # the task was cancelled, or timed out
            self.cancel()
            raise
        return self.get()

    def __await__(self) -> Generator[Any, None, R_co]:
        """Wait without blocking the event loop; cancelling the waiting task cancels the call."""
        return self.aget().__await__()

    # --- for old clients, which read what is private in multiprocessing -------------------------

    @property
    def _number_left(self) -> int:
        return self.total - self.done

    @property
    def _chunksize(self) -> int:
        return 1  # `_number_left` counts items

    @property
    def _job(self) -> int | None:
        number: int | None = getattr(self._pending, "number", None)
        return number  # the key in a pool's `_cache`

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
    """Return what stands for an exception that would end or bend the thread that gets it."""
    from .._errors import ControlFlowError
    from .._transport.exceptions import describe

    name: object = getattr(f, "__qualname__", None) or repr(f)
    contained = ControlFlowError(
        describe(error), function=f"then({name})", index=0, input="the result"
    )
    contained.__cause__ = error
    return contained


class _Behind(Pending):
    """A function that is to run behind something."""

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
