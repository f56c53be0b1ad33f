"""How one thread tells others that there is something new, without a lock for the news itself."""

from collections.abc import Callable
from contextlib import suppress

from .._transport.light_stdlib import allocate_lock


class Bell:
    """Those who wait for something; whoever brings it rings."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def ring(self) -> None:
        """Call all who wait; each is called once."""
        while self._waiting:
            with suppress(IndexError):  # another thread rings too
                self._waiting.pop()()

    def tell(self, waiter: Callable[[], object], there: Callable[[], bool]) -> None:
        """Call `waiter` at the next ring, or at once if `there` says so; in any thread."""
        self._waiting.append(waiter)
        if there():  # it came before the waiter was seen
            self.ring()

    def wait(self, there: Callable[[], bool], timeout: float | None = None) -> None:
        """Return when it rings, or `there` says so, or after `timeout` seconds."""
        rung = allocate_lock()
        rung.acquire()
        self.tell(rung.release, there)
        if not rung.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            with suppress(ValueError):  # it rings just now
                self._waiting.remove(rung.release)
