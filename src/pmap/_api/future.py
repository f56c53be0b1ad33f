"""A ``concurrent.futures.Future`` that ends with the outcome of a call in progress."""

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Generic, TypeVar

from .._errors import CancelledError
from .._jobs.pending import Pending

R = TypeVar("R")

# When a future has ended, it refers to this object instead of its call, which is freed.
_OVER = Pending()
_OVER.settle()


class PendingFuture(Future[R], Generic[R]):
    """A standard future that ends when a call in progress is over, with the same outcome.

    It becomes RUNNING at the end, or when a subclass knows that the call has begun, and not before:
    the standard class refuses to cancel a future that is RUNNING.
    """

    def __init__(self, pending: Pending) -> None:
        super().__init__()
        self._pending = pending

    def result(self, timeout: float | None = None) -> R:
        """Wait for the result and return it, as the standard class does."""
        self._drive(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until the call is over; return its exception or None, as the standard class does."""
        self._drive(timeout)
        return super().exception(timeout)

    def _drive(self, timeout: float | None) -> None:
        if timeout is None and not self.done():
            self._pending.drive(self.done)

    def _become_cancelled(self) -> None:
        """Cancel this future, and wake the threads that wait for several futures.

        ``cancel`` of the standard class alone does not wake those. A future that is over, or
        cancelled, stays as it is.
        """
        super().cancel()
        with self._condition:
            if self._state == "CANCELLED":
                self.set_running_or_notify_cancel()

    def _become_running(self) -> bool:
        """Set the state of this future to RUNNING; return False if it is over or cancelled."""
        with self._condition:
            return self._state == "RUNNING" or (
                self._state == "PENDING" and self.set_running_or_notify_cancel()
            )

    def take(self, open_: Callable[[], R]) -> None:
        """End this future with the outcome of its call; `open_()` returns the result."""
        error = self._pending.error
        if isinstance(error, CancelledError):
            # A future in the state RUNNING cannot be cancelled, and stays as it is.
            self._become_cancelled()
        # This is false if the future is over already: then the outcome of its call is ignored.
        if self._become_running():
            # Another thread may have given the future a result just now.
            with suppress(InvalidStateError):
                if error is not None:
                    self.set_exception(self._shown(error))
                else:
                    self.set_result(open_())
        # The call is not referred to any more, so its arguments are freed before the future is.
        self._pending = _OVER

    def _shown(self, error: Exception) -> BaseException:
        """Return the exception that this future raises for `error`, which ended the call."""
        return error


class _Future(PendingFuture[R], Generic[R]):
    """A future of a call; when the future is cancelled, the call is cancelled, too."""

    def cancel(self) -> bool:
        """Cancel the call; return whether the future is cancelled."""
        if super().cancel():
            self._pending.cancel()
            self._become_cancelled()
        return self.cancelled()


def future_of(pending: Pending, open_: Callable[[], R]) -> Future[R]:
    """Return a future that ends when `pending` is over, with the result `open_()`."""
    future: _Future[R] = _Future(pending)
    pending.when_over(lambda: future.take(open_))
    return future
