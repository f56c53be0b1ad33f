"""The job of a stream: results that came and were not taken yet, and waiting for more results.

The leader puts results in, and the consumer takes results out. Neither thread needs a lock: each
step is one operation on a dict, a deque or a list, which no other thread can interrupt.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .._calls.call import Call
from .._calls.input import Window
from .job import Job, JobOwner
from .notifier import Notifier


class Part(NamedTuple):
    """Results that came together: `values` of the items from `start` on.

    `failures`: the errors of failed items, by their offset from `start`.
    """

    start: int
    values: list[Any]
    failures: Mapping[int, Exception]


class StreamJob(Job):
    """The job of a call whose input comes bit by bit; results are kept until they are taken."""

    def __init__(
        self,
        number: int,
        call: Call,
        window: Window,
        owner: JobOwner,
        *,
        ordered: bool,
        as_values: bool,
        ahead: int,
    ) -> None:
        """Begin with no input.

        Args:
            number: the number of the job.
            call: the call; its items are `window`.
            window: the items that were read and are not finished.
            owner: the driver that runs the job.
            ordered: whether parts are taken in the order of the input.
            as_values: whether a `Failure` stands among the values where an item failed.
            ahead: how many items the stream should read ahead, before any cost is measured.
        """
        super().__init__(number, call, owner)
        self.submitted = False  # whether the job was submitted to the driver
        self.read = 0  # how many items of the input were read so far
        # How many items the input will have, as far as the input says so.
        self.expected: int | None = None
        self.ahead = ahead  # how many items the stream should read ahead of its consumer
        # The error of items that come after the deadline; None: the deadline has not come, or
        # failures are not collected.
        self.late: Exception | None = None
        self.cost: float | None = None  # seconds that an item takes; None: not measured yet
        self._window = window
        self._ordered = ordered
        self._as_values = as_values
        self._parts: deque[Part] = deque()
        self._by_start: dict[int, Part] = {}
        self._notifier = Notifier()

    # --- methods for the leader ----------------------------------------------------------------

    @property
    def total(self) -> int:
        return self.read

    @property
    def known_total(self) -> int | None:
        # If the input has more items than it said, the length that it said is no more used.
        expected = self.expected
        return None if expected is None or self.read > expected else expected

    def fill(self, start: int, values: list[object], failures: Mapping[int, Exception]) -> None:
        count = len(values)
        if not count:
            return
        for offset, error in failures.items():
            if self._as_values:
                values[offset] = self.failure(start + offset, error)
                self.count_failure()
            elif not self.call.rules.collect:
                self.fail(start + offset, error)  # the first failed item ends the job
            else:
                self.count_failure()
        if self._as_values:
            failures = {}
        self._finished(count)
        self._window.release(start, start + count)
        part = Part(start, values, failures)
        if self._ordered:
            self._by_start[start] = part
        else:
            self._parts.append(part)
        self._notifier.notify()

    def lose(self, index: int, error: Exception) -> None:
        self.fill(index, [None], {0: error})

    def run_out_of_time(self, error: Exception) -> None:
        # It is raised when the parts that came are taken, if the input has not ended.
        self.error: Exception | None = error
        if self.call.rules.collect:
            self.late = error
            self.fail_unfinished()

    def fail_unfinished(self) -> None:
        """Let the items that are not finished fail, if the deadline has come."""
        if self.late is not None:
            for start, stop in self._window.unreleased():
                count = stop - start
                self.fill(start, [None] * count, dict.fromkeys(range(count), self.late))

    def results_of_unkept(self) -> None:
        return None  # the consumer has taken them

    def settle(self) -> None:
        super().settle()
        self._notifier.notify()  # after `settle`: a thread that wakes must find the job over

    def after_fork_in_child(self, error: Exception) -> None:
        super().after_fork_in_child(error)
        self._notifier.notify()

    # --- methods for the consumer --------------------------------------------------------------

    def take(self, start: int) -> Part | None:
        """Remove and return a part that came: in an ordered stream the part at `start`, else any.

        None if no such part came yet.
        """
        if self._ordered:
            part = self._by_start.pop(start, None)
        else:
            part = self._parts.popleft() if self._parts else None
        if part is not None:
            self._owner.pass_on_reports()
        return part

    def give_back(
        self, start: int, values: list[object], failures: Mapping[int, Exception]
    ) -> None:
        """Put the rest of a part back, so that the rest is taken next."""
        part = Part(start, values, failures)
        if self._ordered:
            self._by_start[part.start] = part
        else:
            self._parts.appendleft(part)

    def has(self, start: int) -> bool:
        """Return whether `take` would find a part, or the job is over and no part will come."""
        # `over` is read first: the last part comes before the job is over.
        return self.over or (start in self._by_start if self._ordered else bool(self._parts))

    def tell(self, waiter: Callable[[], object], start: int) -> None:
        """Call `waiter` once, in any thread, when `has` returns true; perhaps at once."""
        self._notifier.add(waiter, lambda: self.has(start))

    def wait_for(self, start: int, timeout: float | None = None) -> None:
        """Return when `has` returns true, or after `timeout` seconds; sometimes earlier."""
        self._notifier.wait(lambda: self.has(start), timeout)
