"""The job of a stream: results that came and were not taken yet, and waiting for more.

The thread that leads puts results in, the consumer takes them out, and neither holds a lock for it:
each step is one operation on a dict, a deque or a list that no other thread can come into.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .._calls.call import Call
from .._calls.input import Window
from .job import Job, JobOwner
from .notifier import Notifier


class Part(NamedTuple):
    """Results that came together: those from `start` on, and by offset the errors among them."""

    start: int
    values: list[Any]
    failures: Mapping[int, Exception]


class StreamJob(Job):
    """The results of an open call, kept until they are taken."""

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
            number: of the call.
            call: its items are `window`.
            window: the items that were read and are not finished.
            owner: the engine that runs it.
            ordered: whether parts are taken in the order of the input.
            as_values: whether a `Failure` stands among the values where an item failed.
            ahead: how many items it is worth to have read ahead, to begin with.
        """
        super().__init__(number, call, owner)
        self.submitted = False  # the driver has it
        self.read = 0  # items, so far
        self.expected: int | None = None  # how many there will be, as far as the input says so
        self.ahead = ahead
        self.cost: float | None = None  # seconds that an item takes, as far as that is known
        self._window = window
        self._ordered = ordered
        self._as_values = as_values
        self._parts: deque[Part] = deque()
        self._by_start: dict[int, Part] = {}
        self._notifier = Notifier()

    # --- the driver's side ---------------------------------------------------------------------

    @property
    def total(self) -> int:
        return self.read

    @property
    def known_total(self) -> int | None:
        # An input that has more than it said is believed no more.
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
                self.fail(start + offset, error)  # the first of them ends the job
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

    def settle(self) -> None:
        super().settle()
        self._notifier.notify()  # afterwards: a thread that wakes must find it over

    def after_fork_in_child(self, error: Exception) -> None:
        super().after_fork_in_child(error)
        self._notifier.notify()

    # --- the consumer's side -------------------------------------------------------------------

    def take(self, start: int) -> Part | None:
        """Remove and return a part that came: in order the one at `start`, else any."""
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
        """Put the rest of a part back that was taken: it comes next."""
        part = Part(start, values, failures)
        if self._ordered:
            self._by_start[part.start] = part
        else:
            self._parts.appendleft(part)

    def has(self, start: int) -> bool:
        """Return whether `take` would find a part, or it is over and none will come."""
        # In this order: what came last came before the end.
        return self.over or (start in self._by_start if self._ordered else bool(self._parts))

    def tell(self, waiter: Callable[[], object], start: int) -> None:
        """Call `waiter` once when more is there, perhaps at once; in any thread."""
        self._notifier.add(waiter, lambda: self.has(start))

    def wait_for(self, start: int, timeout: float | None = None) -> None:
        """Return when `has` does, or after `timeout` seconds, or now and then before."""
        self._notifier.wait(lambda: self.has(start), timeout)
