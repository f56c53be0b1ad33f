"""A notifier, with which one thread tells others that there is new data, without a lock.

This holds without the GIL, too: a list has a lock of its own, so each `append`, `pop` and `remove`
is one step. Nothing is missed either. The thread with new data stores it, then looks for callbacks;
the thread that waits stores its callback, then looks for data. Each store takes the lock of a list,
dict, deque or object, which is a fence, so at least one of the two sees what the other has stored.
"""

from collections.abc import Callable
from contextlib import suppress

from .._transport.light_stdlib import allocate_lock


class Notifier:
    """Callbacks of threads that wait for new data; a thread that adds data calls `notify`."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def notify(self) -> None:
        """Call all callbacks, and forget them: each is called once."""
        while self._waiting:
            # Another thread that calls `notify` has taken the last callback.
            with suppress(IndexError):
                self._waiting.pop()()

    def add(self, waiter: Callable[[], object], there: Callable[[], bool]) -> None:
        """Call `waiter` at the next `notify`, or at once if `there()` is true.

        Any thread may make the call. `there` says whether the data is there.
        """
        self._waiting.append(waiter)
        # If the data came just before `waiter` was added, that `notify` has not called `waiter`.
        if there():
            self.notify()

    def wait(self, there: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait for the next `notify`, at most `timeout` seconds.

        Do not wait if `there()` is true.
        """
        notified = allocate_lock()
        notified.acquire()
        self.add(notified.release, there)
        if not notified.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            # Another thread's `notify` has just taken the callback off the list.
            with suppress(ValueError):
                self._waiting.remove(notified.release)
