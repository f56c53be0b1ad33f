"""A notifier: one thread tells other threads without a lock that there is new data.

A notifier works without the GIL, too: a list has a lock of its own, so each `append`, `pop` and
`remove` is one step. No data is missed either. The thread with new data stores the data, then looks
for callbacks; the thread that waits stores its callback, then looks for data. Each store takes the
lock of a list, dict, deque or object, which is a memory fence, so at least one of the two threads
sees what the other has stored.
"""

from collections.abc import Callable
from contextlib import suppress

from .._transport.light_stdlib import allocate_lock


class Notifier:
    """The callbacks of threads that wait for new data; a thread with new data calls `notify`."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def notify(self) -> None:
        """Call each callback once, and forget it."""
        while self._waiting:
            # Another thread that calls `notify` has taken the last callback, so `pop` finds an
            # empty list.
            with suppress(IndexError):
                self._waiting.pop()()

    def add(self, waiter: Callable[[], object], there: Callable[[], bool]) -> None:
        """Call `waiter` at the next `notify`, or at once if `there()` is true.

        Any thread may call `waiter`. `there` says whether the data is there.
        """
        self._waiting.append(waiter)
        # The data may have come just before `waiter` was added, so that the `notify` for it has not
        # called `waiter`.
        if there():
            self.notify()

    def wait(self, there: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait for the next `notify`, but for at most `timeout` seconds.

        If `there()` is true, return at once.
        """
        notified = allocate_lock()
        notified.acquire()
        self.add(notified.release, there)
        if not notified.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            # Another thread that calls `notify` has just taken the callback, so the list does not
            # have it.
            with suppress(ValueError):
                self._waiting.remove(notified.release)
