"""What items have printed and logged, on its way to the caller's streams and loggers."""

import threading
from collections import deque

from .._jobs.reports import Report, pass_on


class ReportQueue:
    """Passes reports on in order, before any result that comes after them is told.

    Attributes:
        waiting: those that were not passed on yet.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.waiting: deque[Report] = deque()
        self.renew_lock()

    def renew_lock(self) -> None:
        """Make a lock that no thread holds: for a beginning, also in a fork."""
        # Reentrant: the caller's streams and handlers may do anything, also use this pool.
        self._lock = threading.RLock()
        self._passes_on = False  # while there are reports, or one is passed on

    def add(self, report: Report) -> None:
        """Keep a report until it is passed on."""
        self.waiting.append(report)

    def pass_on(self) -> None:
        """Return when what was printed and logged so far is with the caller's streams and loggers.

        A thread that comes while another one passes reports on waits for it.
        """
        if not (self.waiting or self._passes_on):
            return  # mostly
        with self._lock:
            outer, self._passes_on = self._passes_on, True  # before one is taken off
            try:
                while self.waiting:
                    pass_on(self.waiting.popleft())
            finally:
                self._passes_on = outer

    def pass_on_within(self, seconds: float, *, for_good: bool = False) -> None:
        """Pass reports on, unless another thread that does so takes longer than `seconds`.

        `for_good`: no other thread passes any on afterwards. If the interpreter ends while a daemon
        thread is within a stream, it is aborted, since nobody could write what the stream holds.
        """
        if self._lock.acquire(timeout=seconds):
            try:
                self.pass_on()
            finally:
                if not for_good:
                    self._lock.release()
