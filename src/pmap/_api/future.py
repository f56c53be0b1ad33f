"""A ``concurrent.futures.Future`` that has the outcome of a pending call."""

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Generic, TypeVar

from .._errors import CancelledError
from .._jobs.pending import Pending

R = TypeVar("R")

_OVER = Pending()  # a future that is over holds this one in place of its call
_OVER.settle()


class PendingFuture(Future[R], Generic[R]):
    """A standard future that ends when a pending call is over, and with the same outcome.

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
        """Make this future RUNNING; return False if it is over already, or cancelled."""
        with self._condition:
            return self._state == "RUNNING" or (
                self._state == "PENDING" and self.set_running_or_notify_cancel()
            )

    def take(self, open_: Callable[[], R]) -> None:
        """End this future with the outcome of its call; `open_` returns the result."""
        error = self._pending.error
        if isinstance(error, CancelledError):
            self._become_cancelled()  # a future that is RUNNING stays so
        if self._become_running():  # if not, the future is over, and ignores the call's outcome
            with suppress(InvalidStateError):  # another thread has just set a result itself
                if error is not None:
                    self.set_exception(self._shown(error))
                else:
                    self.set_result(open_())
        self._pending = _OVER  # lets the call go: its arguments must not live as long as the future

    def _shown(self, error: Exception) -> BaseException:
        """Return the exception that this future raises for `error`, which ended the call."""
        return error


class _Future(PendingFuture[R], Generic[R]):
    """A future that cancels its call when the future is cancelled."""

    def cancel(self) -> bool:
        """Cancel the call; return whether the future is cancelled."""
        if super().cancel():
            self._pending.cancel()
            self._become_cancelled()
        return self.cancelled()


def future_of(pending: Pending, open_: Callable[[], R]) -> Future[R]:
    """Return a future that ends when `pending` is over; its result is what `open_` then returns."""
    future: _Future[R] = _Future(pending)
    pending.when_over(lambda: future.take(open_))
    return future
