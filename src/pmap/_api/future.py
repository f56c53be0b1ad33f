"""What is pending, as a ``concurrent.futures.Future``."""

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Generic, TypeVar

from .._errors import CancelledError
from .._jobs.pending import Pending

R = TypeVar("R")

_OVER = Pending()  # in place of what is over
_OVER.settle()


class PendingFuture(Future[R], Generic[R]):
    """A future that ends as something pending does.

    It says that it is running only where a class below knows: the standard class lets nothing be
    cancelled that does.
    """

    def __init__(self, pending: Pending) -> None:
        super().__init__()
        self._pending = pending

    def result(self, timeout: float | None = None) -> R:
        """Return the result when it is there: as the standard class does."""
        self._drive(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception when the call is over, or None: as the standard class does."""
        self._drive(timeout)
        return super().exception(timeout)

    def _drive(self, timeout: float | None) -> None:
        if timeout is None and not self.done():
            self._pending.drive(self.done)

    def _become_cancelled(self) -> None:
        """Be cancelled, and let those go who wait for several futures: ``cancel`` alone does not.

        If it is over already, or cancelled, it stays so.
        """
        super().cancel()
        with self._condition:
            if self._state == "CANCELLED":
                self.set_running_or_notify_cancel()

    def _become_running(self) -> bool:
        """Be running from now on; return False if it is over already, or cancelled."""
        with self._condition:
            return self._state == "RUNNING" or (
                self._state == "PENDING" and self.set_running_or_notify_cancel()
            )

    def take(self, open_: Callable[[], R]) -> None:
        """Take over how the call ended."""
        error = self._pending.error
        if isinstance(error, CancelledError):
            self._become_cancelled()  # unless it is running
        if self._become_running():  # else the call may end as it likes
            with suppress(InvalidStateError):  # the caller has set a result of his own just now
                if error is not None:
                    self.set_exception(self._shown(error))
                else:
                    self.set_result(open_())
        self._pending = _OVER  # or the arguments of the call would live as long as the future

    def _shown(self, error: Exception) -> BaseException:
        """Return what callers get for the error that the call ended with."""
        return error


class _Future(PendingFuture[R], Generic[R]):
    """A future that ends what it stands for when it is cancelled."""

    def cancel(self) -> bool:
        """End the call; return whether the future is cancelled."""
        if super().cancel():
            self._pending.cancel()
            self._become_cancelled()
        return self.cancelled()


def future_of(pending: Pending, open_: Callable[[], R]) -> Future[R]:
    """Return a future that ends as `pending` does, with what `open_` returns then."""
    future: _Future[R] = _Future(pending)
    pending.when_over(lambda: future.take(open_))
    return future
