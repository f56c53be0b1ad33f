"""The queue of reports, by which the caller gets what items print and log in workers."""

import threading
from collections import deque

from .._jobs.reports import Report, pass_on


class ReportQueue:
    """Passes reports on in order, and before any results that came after them.

    A report is output, a log record or a warning of an item that ran in a worker process.

    Attributes:
        waiting: the reports that were not passed on yet.
    """

    def __init__(self) -> None:
        self.waiting: deque[Report] = deque()
        self.renew_lock()

    def renew_lock(self) -> None:
        """Make a new lock that no thread holds, for a new pool or in a forked process."""
        # The lock is reentrant: reports go to the caller's streams and log handlers, and these may
        # use this pool.
        self._lock = threading.RLock()
        # Whether a thread is passing on reports now.
        self._passes_on = False

    def add(self, report: Report) -> None:
        """Keep a report until it is passed on."""
        self.waiting.append(report)

    def pass_on(self) -> None:
        """Wait until the caller's streams and loggers have all reports that came so far.

        If another thread passes reports on at this moment, this thread waits for that thread.
        """
        if not (self.waiting or self._passes_on):
            return  # usually there are no reports
        with self._lock:
            # `_passes_on` becomes true before a report leaves the queue. Readers without the lock
            # read `waiting` first, and `_passes_on` afterwards. So none of them finds that there
            # are no reports while the last report is being passed on. This order also holds without
            # the GIL: each change takes the lock of an object, which is a memory fence.
            outer, self._passes_on = self._passes_on, True
            try:
                while self.waiting:
                    pass_on(self.waiting.popleft())
            finally:
                self._passes_on = outer

    def pass_on_within(self, seconds: float, *, for_good: bool = False) -> None:
        """Pass reports on; if another thread does so, wait for it for at most `seconds`.

        If `for_good` is true, this thread keeps the lock, so that no other thread passes reports on
        any more. Otherwise a daemon thread might hold the lock of a stream when the interpreter
        ends. Python aborts the process then, because nobody could write what the stream has
        buffered.
        """
        if self._lock.acquire(timeout=seconds):
            try:
                self.pass_on()
            finally:
                if not for_good:
                    self._lock.release()
