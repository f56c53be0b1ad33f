"""A notifier: one thread tells others that new data is there, without a lock for the data."""

from collections.abc import Callable
from contextlib import suppress

from .._transport.light_stdlib import allocate_lock


class Notifier:
    """The callbacks that wait for new data; a thread that adds data calls `notify`."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def notify(self) -> None:
        """Call all callbacks that wait; each callback is called once."""
        while self._waiting:
            with suppress(IndexError):  # another thread that notifies has called the last callback
                self._waiting.pop()()

    def add(self, waiter: Callable[[], object], there: Callable[[], bool]) -> None:
        """Call `waiter` at the next `notify`, in any thread, or at once if `there()` is true."""
        self._waiting.append(waiter)
        # If the data came before `waiter` was added, `notify` has not called `waiter`.
        if there():
            self.notify()

    def wait(self, there: Callable[[], bool], timeout: float | None = None) -> None:
        """Return at the next `notify`, or when `there()` is true, or after `timeout` seconds."""
        notified = allocate_lock()
        notified.acquire()
        self.add(notified.release, there)
        if not notified.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            with suppress(ValueError):  # `notify` has just taken the callback off the list
                self._waiting.remove(notified.release)
