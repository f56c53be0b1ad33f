"""Items that are to be tried again, each when its delay is over."""

import heapq
from collections.abc import Callable

# Items that are not wanted any more are looked for only if there are more items than this.
_FEW = 64


class DelayQueue:
    """The delayed items of all jobs, by their time; there may be a million of them."""

    def __init__(self, is_wanted: Callable[[int, int], bool]) -> None:
        """Make it empty; `is_wanted` tells whether an item of a job is still to be tried again."""
        self._is_wanted = is_wanted
        self._heap: list[tuple[float, int, int]] = []  # when, job, item
        self._most = _FEW  # at this length it is searched for items that are not wanted any more

    def push(self, when: float, job: int, item: int) -> None:
        """Add an item that is due at the time `when`."""
        if len(self._heap) >= self._most:
            self._heap = [each for each in self._heap if self._is_wanted(*each[1:])]
            heapq.heapify(self._heap)
            # It is searched again at twice the length: so each item is looked at a few times only.
            self._most = max(_FEW, 2 * len(self._heap))
        heapq.heappush(self._heap, (when, job, item))

    def next(self) -> float | None:
        """Return when the next wanted item is due; None: there is none."""
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
        """Return how many items it has, with those that are not wanted any more."""
        return len(self._heap)
