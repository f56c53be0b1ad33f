"""What callers hold: the handle of an asynchronous call."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._job import Job

if TYPE_CHECKING:  # asyncio is heavy, and only needed when a result is awaited
    import asyncio

__all__ = ["AsyncResult"]

R_co = TypeVar("R_co", covariant=True)


class AsyncResult(Generic[R_co]):
    """The result of a call that runs in the background.

    It has the methods of ``multiprocessing.pool.AsyncResult``, can be awaited in asyncio, and can
    be cancelled.

    >>> from pmap import pmap
    >>> later = pmap.async_(len, ["a", "bb"])
    >>> later.get()
    [1, 2]
    >>> later.ready(), later.successful(), later.done, later.total
    (True, True, 2, 2)
    """

    def __init__(self, job: Job, open_: Callable[[list[object]], R_co]) -> None:
        self._job = job
        self._open = open_

    def get(self, timeout: float | None = None) -> R_co:
        """Return the result when it is there.

        Args:
            timeout: seconds to wait at most; None: as long as it takes.

        Raises:
            multiprocessing.TimeoutError: it was not there in time. The work goes on.
            CancelledError: it was cancelled, or its pool terminated.
            Exception: what the function raised, for the first item (in input order) that failed.
        """
        job = self._job
        if not job.wait(timeout):
            from ._drop_in import ResultTimeoutError

            raise ResultTimeoutError(f"{self!r} was not ready within {timeout} seconds")
        if job.error is not None:
            raise job.error
        return self._open(job.values)

    def wait(self, timeout: float | None = None) -> None:
        """Return when the result is there or the call has failed, or after `timeout` seconds."""
        self._job.wait(timeout)

    def ready(self) -> bool:
        """Return whether the result is there or the call has failed."""
        return self._job.over

    def successful(self) -> bool:
        """Return whether the call is over without an exception.

        Raises:
            ValueError: it is not over yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} is not ready")
        return self._job.error is None

    def exception(self) -> Exception | None:
        """Return the exception that the call ended with, None where there is none (yet)."""
        return self._job.error if self._job.over else None

    def when_over(self, callback: Callable[["AsyncResult[R_co]"], object]) -> None:
        """Call `callback` with this handle when it is over, at once if it is.

        It runs in the thread that notices the end; its own exceptions are logged.
        """
        self._job.when_over(lambda job: callback(self))

    def cancel(self) -> bool:
        """End the call; return whether it was still under way.

        Items that run are ended by killing their worker processes (threads finish their present
        item); the pool stays as it was otherwise. `get` then raises `CancelledError`.
        """
        return self._job.cancel()

    @property
    def done(self) -> int:
        """How many items are finished."""
        return self._job.done

    @property
    def total(self) -> int:
        """How many items there are."""
        return self._job.total

    def __await__(self) -> Generator[Any, None, R_co]:
        """Wait in asyncio without blocking the event loop; cancelling the task cancels the call."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def tell(_: Job) -> None:
            try:
                loop.call_soon_threadsafe(_set, future)
            except RuntimeError:
                pass  # the loop is closed: nobody awaits any more

        self._job.when_over(tell)
        try:
            yield from future
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self.get()

    def __repr__(self) -> str:
        job = self._job
        name = f"{job.work.call.verb}({job.work.function_name})"
        if not job.over:
            state = f"{job.done}/{job.total} done"
        elif job.error is not None:
            state = f"failed with {type(job.error).__name__}"
        else:
            state = f"{job.done}/{job.total} done"
        return f"<AsyncResult {name} {state}>"


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
