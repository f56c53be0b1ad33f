"""The job of a stream: a call in progress whose results are taken one by one.

The thread that runs the engine's loop stores results, and the consumer of the stream takes them.
Neither thread needs a lock: each step is one operation on a dict, a deque or a list, which no other
thread can interrupt. Without the GIL this holds, too, since each dict, deque and list has a lock of
its own.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .._calls.call import Call
from .._calls.input import Window
from .job import Job, JobOwner
from .notifier import Notifier


class Part(NamedTuple):
    """The results of some items in a row, which came together; the first item is at index `start`.

    `failures` has the errors of failed items, by their offset from `start`.
    """

    start: int
    values: list[Any]
    failures: Mapping[int, Exception]


class StreamJob(Job):
    """A job whose input comes bit by bit, and which keeps its results until they are taken."""

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
        """Make the job; no input has come yet.

        Args:
            number: the number of the job.
            call: the call; its items are `window`.
            window: those items of the input that were read and are not finished.
            owner: the driver, which is the engine of the pool that runs the job.
            ordered: whether results are taken in the order of the input.
            as_values: whether a `Failure` object stands in place of the value of a failed item.
            ahead: how many items the stream should read ahead as long as no cost is measured.
        """
        super().__init__(number, call, owner)
        self.submitted = False  # whether the job has begun to run
        self.read = 0  # how many items of the input were read so far
        # The number of items that the input will have, if its `__len__` or `__length_hint__` tells
        # it; None if not.
        self.expected: int | None = None
        self.ahead = ahead  # how many items the stream should read ahead of its consumer
        # The error of items that have no result at the deadline of the call. None before the
        # deadline, and if failures are not collected.
        self.late: Exception | None = None
        self.cost: float | None = None  # seconds that one item takes; None: not measured yet
        self._window = window
        self._ordered = ordered
        self._as_values = as_values
        self._parts: deque[Part] = deque()
        self._by_start: dict[int, Part] = {}
        self._notifier = Notifier()

    # --- methods for the thread that brings results --------------------------------------------

    @property
    def total(self) -> int:
        return self.read

    @property
    def known_total(self) -> int | None:
        # If the input has had more items than its length said, the length is wrong and not used any
        # more.
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
                self.fail(start + offset, error)  # a failed item ends the call
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
        # The input has not ended. So the consumer first gets all results that came before the
        # deadline, and then this error.
        self.error: Exception | None = error
        if self.call.rules.collect:
            self.late = error
            self.fail_unfinished()

    def fail_unfinished(self) -> None:
        """If the deadline of the call has passed, let all unfinished items fail."""
        if self.late is not None:
            for start, stop in self._window.unreleased():
                count = stop - start
                self.fill(start, [None] * count, dict.fromkeys(range(count), self.late))

    def results_of_unkept(self) -> None:
        return None  # the consumer has taken all results already, so the error need not carry them

    def settle(self) -> None:
        super().settle()
        # The job is over before the waiting threads are woken, because they check whether it is.
        self._notifier.notify()

    def after_fork_in_child(self, error: Exception) -> None:
        super().after_fork_in_child(error)
        self._notifier.notify()

    # --- methods for the consumer of the stream ------------------------------------------------

    def take(self, start: int) -> Part | None:
        """Take results: in an ordered stream those of the items from `start` on, else any.

        Return None if these results have not come yet.
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
        """Put back results that were taken and not used; the next `take` returns them."""
        part = Part(start, values, failures)
        if self._ordered:
            self._by_start[part.start] = part
        else:
            self._parts.appendleft(part)

    def has(self, start: int) -> bool:
        """Return whether `take` would find results, or the job is over so that none will come."""
        # `over` is read before the results. The last results are stored before the job is over, so
        # a thread that finds the job over also finds these results.
        return self.over or (start in self._by_start if self._ordered else bool(self._parts))

    def tell(self, waiter: Callable[[], object], start: int) -> None:
        """Call `waiter` once, in any thread, when `has` becomes true; now if it is true."""
        self._notifier.add(waiter, lambda: self.has(start))

    def wait_for(self, start: int, timeout: float | None = None) -> None:
        """Wait until `has` is true, or for `timeout` seconds; the wait may end earlier."""
        self._notifier.wait(lambda: self.has(start), timeout)
