"""The queue of jobs: the jobs that are not over, and the order in which items are dispatched."""

from collections import deque
from collections.abc import Hashable, Iterator

from .chunk_sizes import CostMeter, is_quick, is_short
from .events import JobSubmitted
from .job_states import UNSTARTED
from .run_rules import RunRules
from .state import Job, SingleCall

# The measured costs of the items of at most this many functions are remembered.
_MOST_METERS = 64


class JobQueue:
    """The table of all jobs by number, and the queue of the jobs that may have items to send.

    Attributes:
        turns: the queue. Each entry is a `Job`, or the number of a job that was submitted with one
            item. After `skip_finished` the first entry has items to send to workers.
    """

    def __init__(self) -> None:
        # There may be millions of calls of one item, most with the same rules. Those with the same
        # rules share one small `SingleCall`. Each gets a `Job` object only when its item is sent to
        # a worker.
        self._jobs: dict[int, Job | SingleCall] = {}
        self._last_single_call = SingleCall(RunRules(), None)
        self.turns: deque[Job | int] = deque()
        # The measured costs of items that several jobs share. The key is `JobSubmitted.like`, which
        # is equal for these jobs.
        self._meters: dict[Hashable, CostMeter] = {}
        # The measured cost of the last job of each function, if that job had several items. The key
        # is `JobSubmitted.function`.
        self._last_costs: dict[Hashable, CostMeter] = {}

    def __bool__(self) -> bool:
        """Return whether any job is not over."""
        return bool(self._jobs)

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers of all jobs that are not over."""
        return iter([*self._jobs])

    def add(self, submitted: JobSubmitted) -> Job | None:
        """Put a job into the table of jobs that are not over, and return its `Job` object.

        For a job of one item no `Job` object is made yet: the job goes into the queue, and the
        method returns None.
        """
        id, size, rules, open, like, function = submitted
        if size == 1 and not open:
            self.add_calls((id,), rules, like)
            return None
        job = self._jobs[id] = Job(id, size, rules, open, self._meter(like))
        if function is not None:
            last = self._last_costs.pop(function, None)
            fixed = open or rules.at_once or rules.chunksize is not None
            if last is not None and not fixed:
                job.is_short = is_short(size, last)
                if not job.is_short and is_quick(last):
                    job.expected = last
            _keep(self._last_costs, function, job.cost)
        return job

    def add_calls(self, ids: tuple[int, ...], rules: RunRules, like: Hashable) -> None:
        """Add jobs of one item each, which go into the queue."""
        known = self._last_single_call
        if rules is not known.rules or like != known.like:
            known = self._last_single_call = SingleCall(rules, like)
        self._jobs.update(dict.fromkeys(ids, known))
        self.turns.extend(ids)

    def get(self, id: int) -> Job | None:
        """Return the `Job` object of the job with this number; None if the job is over."""
        known = self._jobs.get(id)
        if isinstance(known, SingleCall):
            known = self._jobs[id] = Job(id, 1, known.rules, False, self._meter(known.like))
            known.queued = 1  # the queue already has an entry for this job: its number
        return known

    def peek(self, id: int) -> Job | None:
        """Return the `Job` object of a job; None if the job has none.

        A job that is over has no `Job` object, nor has a job of one item that is not sent yet.
        """
        known = self._jobs.get(id)
        return known if isinstance(known, Job) else None

    def remove(self, job: Job) -> None:
        """Remove a job that is over.

        Its entries in the queue are removed later, by `skip_finished`.
        """
        del self._jobs[job.id]

    def clear(self) -> list[int]:
        """Remove all jobs, because no worker can be started; return the numbers of the jobs."""
        numbers = [*self]
        for job in self._jobs.values():
            if isinstance(job, Job):
                job.state = UNSTARTED
        self._jobs.clear()
        self.turns.clear()
        return numbers

    def _meter(self, like: Hashable) -> CostMeter:
        """Return the measured cost of an item, for a new job.

        Jobs whose attribute `like` is equal share this object; a job with None has one of its own.
        """
        meter = CostMeter() if like is None else self._meters.get(like)
        if meter is None:
            meter = CostMeter()
            _keep(self._meters, like, meter)
        return meter

    def enqueue(self, job: Job, first: bool = False) -> None:
        """Queue a job behind all other jobs, unless the job is in the queue already.

        Args:
            job: the job.
            first: whether to put the job in front of all other jobs, even if it is in the queue
                already.
        """
        if first:
            if not self.turns or self.turns[0] is not job:
                job.queued += 1
                self.turns.appendleft(job)
        elif not job.queued:
            job.queued = 1
            self.turns.append(job)

    def skip_finished(self) -> None:
        """Remove entries from the front of the queue until its first job has items to send."""
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
        """Remove the first entry and return its job; None if that job was cancelled."""
        first = self.turns.popleft()
        job = self.get(first) if isinstance(first, int) else first
        if job is not None:
            job.queued -= 1
        return job

    def chunks(self, most: int) -> int:
        """Return how many chunks wait to be sent; stop counting at `most`."""
        waiting = 0
        counted: set[Job] = set()
        for job in self.turns:
            if isinstance(job, int):
                waiting += job in self._jobs
            elif job not in counted:
                counted.add(job)
                waiting += -(-job.waiting() // (job.rules.chunksize or 1))
            if waiting >= most:
                break
        return waiting


def _keep(meters: dict[Hashable, CostMeter], key: Hashable, meter: CostMeter) -> None:
    """Store a measured cost under its key; if there are too many costs, forget the oldest one."""
    meters[key] = meter
    if len(meters) > _MOST_METERS:
        del meters[next(iter(meters))]
