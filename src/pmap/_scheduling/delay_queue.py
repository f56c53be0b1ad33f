"""The queue of failed items that are to be tried again, each after a delay."""

import heapq
from collections.abc import Callable

# A queue of at most this many items is not searched for items that nobody wants any more: it takes
# little memory.
_FEW = 64


class DelayQueue:
    """Items of all jobs that wait for their next try, ordered by time; there may be millions."""

    def __init__(self, is_wanted: Callable[[int, int], bool]) -> None:
        """Begin with an empty queue.

        `is_wanted`: a function that returns whether an item, given by its job and its index, still
        has to be tried again.
        """
        self._is_wanted = is_wanted
        # Each entry of the heap is the time, the number of the job, and the index of the item.
        self._heap: list[tuple[float, int, int]] = []
        # When the heap has this length, items that are not wanted any more are removed from it.
        self._most = _FEW

    def push(self, when: float, job: int, item: int) -> None:
        """Add an item of a job, to be tried again at the time `when`."""
        if len(self._heap) >= self._most:
            self._heap = [each for each in self._heap if self._is_wanted(*each[1:])]
            heapq.heapify(self._heap)
            # The next search for unwanted items is made when the heap is twice as long as now. So
            # each entry is looked at only a few times on average.
            self._most = max(_FEW, 2 * len(self._heap))
        heapq.heappush(self._heap, (when, job, item))

    def next(self) -> float | None:
        """Return the time of the next item that is still wanted; None if there is no such item."""
        while self._heap and not self._is_wanted(*self._heap[0][1:]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> list[tuple[int, int]]:
        """Remove the items whose delay is over, and return the job and the index of each."""
        due: list[tuple[int, int]] = []
        while self._heap and self._heap[0][0] <= now:
            _, job, item = heapq.heappop(self._heap)
            due.append((job, item))
        return due

    def __len__(self) -> int:
        """Return the length of the queue, including items that are not wanted any more."""
        return len(self._heap)
