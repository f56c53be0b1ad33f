"""The queue of reports: output and log records of items, on the way to the caller's streams."""

import threading
from collections import deque

from .._jobs.reports import Report, pass_on


class ReportQueue:
    """Passes reports on in order, before callers get any result that came after the reports.

    A report is output, a log record or a warning of an item that ran in a worker process.

    Attributes:
        waiting: the reports that were not passed on yet.
    """

    def __init__(self) -> None:
        """Begin without reports."""
        self.waiting: deque[Report] = deque()
        self.renew_lock()

    def renew_lock(self) -> None:
        """Make a lock that no thread holds, at the beginning and in a fork."""
        # The lock is reentrant: the caller's streams and log handlers may use this pool.
        self._lock = threading.RLock()
        self._passes_on = False  # whether a thread passes reports on

    def add(self, report: Report) -> None:
        """Keep a report until it is passed on."""
        self.waiting.append(report)

    def pass_on(self) -> None:
        """Return when the caller's streams and loggers have all reports that came so far.

        If another thread passes reports on at this moment, this thread waits for that thread.
        """
        if not (self.waiting or self._passes_on):
            return  # the usual case
        with self._lock:
            # `_passes_on` is set before a report leaves the queue: so a thread that reads both
            # attributes without the lock never misses a report that is being passed on.
            outer, self._passes_on = self._passes_on, True
            try:
                while self.waiting:
                    pass_on(self.waiting.popleft())
            finally:
                self._passes_on = outer

    def pass_on_within(self, seconds: float, *, for_good: bool = False) -> None:
        """Pass reports on, unless another thread that does so takes longer than `seconds`.

        `for_good`: this thread keeps the lock, so that no other thread passes reports on any more.
        Python aborts the process if the interpreter ends while a daemon thread holds the lock of a
        stream, since nobody could write the data that the stream holds.
        """
        if self._lock.acquire(timeout=seconds):
            try:
                self.pass_on()
            finally:
                if not for_good:
                    self._lock.release()
