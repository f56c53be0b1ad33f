"""How one thread tells others that there is something new, without a lock for the news itself."""

from collections.abc import Callable
from contextlib import suppress

from .._transport.light_stdlib import allocate_lock


class Notifier:
    """Callbacks that wait for news; the thread that brings news calls them."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def notify(self) -> None:
        """Call all that wait; each is called once."""
        while self._waiting:
            with suppress(IndexError):  # another thread notifies, too
                self._waiting.pop()()

    def add(self, waiter: Callable[[], object], there: Callable[[], bool]) -> None:
        """Call `waiter` at the next `notify`, or at once if `there()` is true; in any thread."""
        self._waiting.append(waiter)
        if there():  # it came before the waiter was seen
            self.notify()

    def wait(self, there: Callable[[], bool], timeout: float | None = None) -> None:
        """Return at the next `notify`, or when `there()` is true, or after `timeout` seconds."""
        notified = allocate_lock()
        notified.acquire()
        self.add(notified.release, there)
        if not notified.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            with suppress(ValueError):  # `notify` runs just now
                self._waiting.remove(notified.release)
