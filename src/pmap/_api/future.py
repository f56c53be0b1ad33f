"""What is pending, as a ``concurrent.futures.Future``."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from .._errors import CancelledError
from .._jobs.pending import Pending

R = TypeVar("R")


class _Future(Future[R], Generic[R]):
    """A future that ends what it stands for when it is cancelled.

    It never says that it is running: the standard class lets nothing be cancelled that does.
    """

    def __init__(self, pending: Pending) -> None:
        super().__init__()
        self._pending = pending

    def cancel(self) -> bool:
        """End the call; return whether the future is cancelled."""
        if super().cancel():
            self._pending.cancel()
            self._tell()
        return self.cancelled()

    def result(self, timeout: float | None = None) -> R:
        """Return the result when it is there: as the standard class does."""
        self._tend(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception when the call is over, or None: as the standard class does."""
        self._tend(timeout)
        return super().exception(timeout)

    def _tend(self, timeout: float | None) -> None:
        if timeout is None and not self.done():
            self._pending.tend(self.done)

    def _tell(self) -> None:
        """Let those go who wait for several futures: ``cancel`` alone does not."""
        with self._condition:
            if self._state == "CANCELLED":
                self.set_running_or_notify_cancel()

    def _goes_on(self) -> bool:
        # The call may end as it likes when the future was cancelled.
        with self._condition:
            return not self.cancelled() and self.set_running_or_notify_cancel()

    def take(self, open_: Callable[[], R]) -> None:
        """Take over how the call ended."""
        error = self._pending.error
        if isinstance(error, CancelledError):
            super().cancel()
            self._tell()
        elif self._goes_on():
            if error is not None:
                self.set_exception(error)
            else:
                self.set_result(open_())


def future_of(pending: Pending, open_: Callable[[], R]) -> Future[R]:
    """Return a future that ends as `pending` does, with what `open_` returns then."""
    future: _Future[R] = _Future(pending)
    pending.when_over(lambda: future.take(open_))
    return future
