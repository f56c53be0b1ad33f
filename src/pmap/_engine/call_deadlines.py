"""The deadlines of whole calls: which deadline comes next, and which deadlines have passed."""

import heapq

from .._jobs.job import Job

# A shorter list is not searched for calls that are over, because it takes little memory.
_FEW = 64


class CallDeadlines:
    """Keeps the times at which calls have to be over; the engine's lock guards the object."""

    def __init__(self, jobs: dict[int, Job]) -> None:
        """Make the object; no call has a deadline yet.

        `jobs` has the jobs in progress by their numbers; the engine removes a job that is over.
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
            # The next search for entries of ended jobs is made when the heap is twice as long. So
            # the search looks at each entry only a few times on average.
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
        """Return the jobs whose deadlines have passed by now, and remember these jobs."""
        due: list[Job] = []
        while self._heap and self._heap[0][0] <= now:
            _, number = heapq.heappop(self._heap)
            if number in self._jobs:
                due.append(self._jobs[number])
                self._passed.add(number)
        return due

    def take_passed(self, job: Job) -> bool:
        """Return whether the deadline of a job that ends has passed, and forget the job."""
        if job.number not in self._passed:
            return False
        self._passed.remove(job.number)
        return True

    def forget(self) -> None:
        """Forget all jobs."""
        self._heap.clear()
        self._passed.clear()
