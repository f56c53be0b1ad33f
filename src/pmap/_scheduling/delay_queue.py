"""Items that are to be tried again, each when its delay is over."""

import heapq
from collections.abc import Callable

# So many are kept without looking for those that nobody wants any more.
_FEW = 64


class DelayQueue:
    """The delayed items of all jobs, by their time; there may be a million of them."""

    def __init__(self, is_wanted: Callable[[int, int], bool]) -> None:
        """Make it empty; `is_wanted`: whether an item of a job is still to be tried again."""
        self._is_wanted = is_wanted
        self._heap: list[tuple[float, int, int]] = []  # when, job, item
        self._most = _FEW  # when it is looked through for unwanted ones

    def push(self, when: float, job: int, item: int) -> None:
        """Add an item that is due at the time `when`."""
        if len(self._heap) >= self._most:
            self._heap = [each for each in self._heap if self._is_wanted(*each[1:])]
            heapq.heapify(self._heap)
            # Half of them may be unwanted before the next look: so each is looked at a few times.
            self._most = max(_FEW, 2 * len(self._heap))
        heapq.heappush(self._heap, (when, job, item))

    def next(self) -> float | None:
        """Return when the next item that is wanted is due; None: there is none."""
        while self._heap and not self._is_wanted(*self._heap[0][1:]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> list[tuple[int, int]]:
        """Remove and return the items whose delay is over, each with its job before it."""
        due: list[tuple[int, int]] = []
        while self._heap and self._heap[0][0] <= now:
            _, job, item = heapq.heappop(self._heap)
            due.append((job, item))
        return due

    def __len__(self) -> int:
        """Return how many are kept, also of those that nobody wants any more."""
        return len(self._heap)
