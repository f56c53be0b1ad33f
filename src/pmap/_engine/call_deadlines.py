"""The deadlines of whole calls: which deadline comes next, and which deadlines have passed."""

import heapq

from .._jobs.job import Job

# A heap of at most this many deadlines is not searched for those of ended calls: it takes little
# memory.
_FEW = 64


class CallDeadlines:
    """The times at which calls have to be over; the engine's lock guards the object."""

    def __init__(self, jobs: dict[int, Job]) -> None:
        """Begin without deadlines.

        `jobs`: the calls in progress, by number; the engine removes a call that is over.
        """
        self._jobs = jobs
        # Each entry is the time of a deadline, by `time.monotonic`, and the number of the job.
        self._heap: list[tuple[float, int]] = []
        # When the heap has grown to this length, entries of calls that are over are removed.
        self._most = _FEW
        self._passed: set[int] = set()

    def add(self, job: Job) -> None:
        """Watch the deadline of a job that begins, if the job has a deadline."""
        until = job.call.rules.until
        if until is None:
            return
        if len(self._heap) >= self._most:
            self._heap = [each for each in self._heap if each[1] in self._jobs]
            heapq.heapify(self._heap)
            # The next search is made when the heap is twice as long as now. So each entry is looked
            # at only a few times on average.
            self._most = max(_FEW, 2 * len(self._heap))
        heapq.heappush(self._heap, (until, job.number))

    def next(self, other: float | None) -> float | None:
        """Return the time of the next deadline or the time `other`, whichever is earlier.

        Return None if there is neither.
        """
        heap = self._heap
        while heap and heap[0][1] not in self._jobs:
            heapq.heappop(heap)
        if not heap:
            return other
        return heap[0][0] if other is None else min(heap[0][0], other)

    def pass_due(self, now: float) -> list[Job]:
        """Return the calls whose deadlines have passed: `take_passed` returns True for these."""
        due: list[Job] = []
        while self._heap and self._heap[0][0] <= now:
            _, number = heapq.heappop(self._heap)
            if number in self._jobs:
                due.append(self._jobs[number])
                self._passed.add(number)
        return due

    def take_passed(self, job: Job) -> bool:
        """Return whether a call that ends now has passed its deadline, as `pass_due` has found.

        The call is forgotten: a second question gets False.
        """
        if job.number not in self._passed:
            return False
        self._passed.remove(job.number)
        return True

    def forget(self) -> None:
        """Forget the deadlines of all calls."""
        self._heap.clear()
        self._passed.clear()
