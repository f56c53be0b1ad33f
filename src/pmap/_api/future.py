"""A ``concurrent.futures.Future`` that ends with the outcome of a call in progress."""

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Generic, TypeVar

from .._errors import CancelledError
from .._jobs.pending import Pending

R = TypeVar("R")

# A future that has ended refers to this object in place of its call, so that the call is freed.
_OVER = Pending()
_OVER.settle()


class PendingFuture(Future[R], Generic[R]):
    """A standard future that ends when a call in progress is over, with the same outcome.

    The future becomes RUNNING at its end, or when a subclass knows that the call has begun. It does
    not become RUNNING before, because the standard class refuses to cancel a RUNNING future.
    """

    def __init__(self, pending: Pending) -> None:
        super().__init__()
        self._pending = pending

    def result(self, timeout: float | None = None) -> R:
        """Wait for the result and return it, as the standard class does."""
        self._drive(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until the call is over; return its exception, or None if it has none."""
        self._drive(timeout)
        return super().exception(timeout)

    def _drive(self, timeout: float | None) -> None:
        if timeout is None and not self.done():
            self._pending.drive(self.done)

    def _become_cancelled(self) -> None:
        """Cancel this future, and wake the threads that wait for several futures.

        ``cancel`` of the standard class does not wake these threads. If this future is over, or
        cancelled, nothing happens.
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
        """Give this future the outcome of its call, which is over.

        The outcome is the error of the call, or else what `open_()` returns.
        """
        error = self._pending.error
        if isinstance(error, CancelledError):
            # If this future is RUNNING, it cannot be cancelled, and this call does nothing.
            self._become_cancelled()
        # If this future is over already, the condition is false, and the outcome of its call is
        # ignored.
        if self._become_running():
            # InvalidStateError: another thread has given this future a result just now.
            with suppress(InvalidStateError):
                if error is not None:
                    self.set_exception(self._shown(error))
                else:
                    self.set_result(open_())
        # From now on the future does not refer to its call, so the arguments of the call are freed
        # before the future is.
        self._pending = _OVER

    def _shown(self, error: Exception) -> BaseException:
        """Return the exception that this future raises for `error`, which has ended the call."""
        return error


class _Future(PendingFuture[R], Generic[R]):
    """A future of a call; if the future is cancelled, so is the call."""

    def cancel(self) -> bool:
        """Cancel the call; return whether the future is cancelled."""
        if super().cancel():
            self._pending.cancel()
            self._become_cancelled()
        return self.cancelled()


def future_of(pending: Pending, open_: Callable[[], R]) -> Future[R]:
    """Return a future that ends when `pending` is over; `open_()` makes its result."""
    future: _Future[R] = _Future(pending)
    pending.when_over(lambda: future.take(open_), again=True)
    return future
