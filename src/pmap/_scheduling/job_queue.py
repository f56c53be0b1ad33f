"""The jobs that are not over, and in which order their items are dispatched."""

from collections import deque
from collections.abc import Hashable, Iterator

from .chunk_sizes import CostMeter
from .events import JobSubmitted
from .run_rules import RunRules
from .state import Job, Said

# Of so many functions the cost of a single call is remembered.
_MOST_METERS = 64


class JobQueue:
    """All jobs by their numbers, and those that may have items to dispatch, one behind the other.

    Attributes:
        turns: the jobs whose items may be dispatched, in order. Of a call of one item that waits
            its number; once `skip_finished` was called, the first has something to dispatch.
    """

    def __init__(self) -> None:
        """Make it empty."""
        # A call of one item is only what was said of it until its turn comes: there may be millions
        # that wait, and the same is said of most of them.
        self._jobs: dict[int, Job | Said] = {}
        self._said = Said(RunRules(), None)  # of the last one
        self.turns: deque[Job | int] = deque()
        self._meters: dict[Hashable, CostMeter] = {}  # by what jobs of single calls are like

    def __bool__(self) -> bool:
        """Return whether there is any job."""
        return bool(self._jobs)

    def __iter__(self) -> Iterator[int]:
        """Return the numbers of all jobs that are there now."""
        return iter([*self._jobs])

    def add(self, submitted: JobSubmitted) -> Job | None:
        """Add a job; return it, but for a call of one item, which has its turn at once."""
        id, size, terms, open, like = submitted
        if size == 1 and not open:
            if terms is not self._said.terms or like != self._said.like:
                self._said = Said(terms, like)
            self._jobs[id] = self._said
            self.turns.append(id)
            return None
        job = self._jobs[id] = Job(id, size, terms, open, self._meter(like))
        return job

    def get(self, id: int) -> Job | None:
        """Return a job that is not over."""
        known = self._jobs.get(id)
        if isinstance(known, Said):
            known = self._jobs[id] = Job(id, 1, known.terms, False, self._meter(known.like))
            known.queued = 1  # its number stands there for it
        return known

    def peek(self, id: int) -> Job | None:
        """Return the same, but None for a call of one item of which only its number is kept."""
        known = self._jobs.get(id)
        return known if isinstance(known, Job) else None

    def remove(self, job: Job) -> None:
        """Remove a job that is over; what is left of its turns is skipped."""
        del self._jobs[job.id]

    def clear(self) -> list[int]:
        """Remove all jobs, and return their numbers."""
        numbers = [*self]
        for job in self._jobs.values():
            if isinstance(job, Job):
                job.over = True
        self._jobs.clear()
        self.turns.clear()
        return numbers

    def _meter(self, like: Hashable) -> CostMeter:
        """Return what is known of the cost of a job that is like others."""
        meter = CostMeter() if like is None else self._meters.get(like)
        if meter is None:
            meter = self._meters[like] = CostMeter()
            if len(self._meters) > _MOST_METERS:
                del self._meters[next(iter(self._meters))]
        return meter

    def enqueue(self, job: Job, first: bool = False) -> None:
        """Let a job have its turn, behind the others if it has none yet, or as the next one.

        One that has a turn and is to be the next one then has two.
        """
        if first:
            if not self.turns or self.turns[0] is not job:
                job.queued += 1
                self.turns.appendleft(job)
        elif not job.queued:
            job.queued = 1
            self.turns.append(job)

    def skip_finished(self) -> None:
        """Let the first job be one that has items to dispatch."""
        while self.turns:
            first = self.turns[0]
            if isinstance(first, int):
                if first in self._jobs:
                    return
            elif first.waiting():
                return
            else:
                first.queued -= 1
            self.turns.popleft()

    def pop(self) -> Job | None:
        """Remove the first turn and return whose it is; None: of a call that was cancelled."""
        first = self.turns.popleft()
        job = self.get(first) if isinstance(first, int) else first
        if job is not None:
            job.queued -= 1
        return job

    def chunks(self, most: int) -> int:
        """Return how many chunks wait, at least; counted up to `most`."""
        waiting = 0
        counted: set[Job] = set()
        for job in self.turns:
            if isinstance(job, int):
                waiting += job in self._jobs
            elif job not in counted:
                counted.add(job)
                waiting += -(-job.waiting() // (job.terms.chunksize or 1))
            if waiting >= most:
                break
        return waiting
