"""Calls of one item: many are submitted, and many are finished, in one step."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

from .._backends.protocol import Backend, CallsArrived
from .._errors import PoolClosedError
from .._jobs.job import Job
from .._jobs.work import CallSpec
from .._scheduling.events import CallsFinished, CallsSubmitted
from .._scheduling.run_rules import RunRules
from .call_specs import CallSpecs

# Returns the call spec and the rules of a job. It is written in C, as it runs for each job.
_kind: Callable[[Job], tuple[CallSpec | None, RunRules]] = attrgetter("spec", "call.rules")


class SingleCalls:
    """Calls of one item. New ones may wait here until the thread in the engine's loop takes them.

    While all workers are busy and items wait, another call of one item would only be queued behind
    these items. So the thread that asks for the call does not take the lock of the engine: it
    leaves the job here. The thread in the engine's loop takes all these jobs together when the next
    event has come from a worker. Such an event is certain to come, since workers are busy.

    Attributes:
        asked: the jobs that wait for the engine's loop.
        full: whether items wait that no worker can take yet, and no worker can be started. It is
            written under the lock of the engine.
    """

    __slots__ = ("_jobs", "_may_wait", "_over", "asked", "full", "specs")

    def __init__(self, jobs: dict[int, Job], over: deque[Job], backend: Backend[Any]) -> None:
        # No job may wait here if the backend runs items in `poll`: no event comes until a thread
        # calls `poll`.
        self._may_wait = not backend.runs_in_poll
        self._jobs = jobs
        self._over = over
        self.specs: CallSpecs = CallSpecs(backend)
        self.asked: deque[Job] = deque()
        self.full: bool = False

    def ask(self, job: Job) -> bool:
        """Leave a job here if workers are full and the job may wait; return whether it is here.

        If it is, the calling thread then has to read `full` once more. If another thread has made
        `full` false meanwhile, that thread may not have seen the job.
        """
        call = job.call
        may_wait = self.full and self._may_wait and len(call.items) == 1
        # A call with a deadline or a trace does not wait here, because its time begins when the
        # scheduler is told of it. A call with another call spec than the last call does not wait
        # either: the next call is to share its call spec.
        if not may_wait or call.rules.until or call.trace or not self.specs.is_last(job.spec):
            return False
        self.asked.append(job)
        return True

    def submitted(self, closed: str) -> Iterator[CallsSubmitted]:
        """Take all waiting jobs; yield the events that tell the scheduler of them.

        `closed`: why the pool takes no more jobs; empty if it takes jobs.
        """
        # Other threads may add jobs at any time; those are left for the next time.
        taken: list[Job] = []
        for _ in range(len(self.asked)):
            job = self.asked[0]
            # Each job is put into the table of jobs before it is removed from the queue. So if a
            # signal's exception strikes in between, the job ends with an error, and is not lost.
            self._jobs[job.number] = job
            self.asked.popleft()
            taken.append(job)
        if closed:
            for job in taken:
                job.error = PoolClosedError(f"the pool takes no more work: {closed}")
                self._over.append(self._jobs.pop(job.number))
            return
        for (spec, rules), jobs in groupby(taken, _kind):
            alike = [*jobs]
            self.specs.use(alike[0], len(alike))
            numbers = tuple([job.number for job in alike])
            yield CallsSubmitted(numbers, rules, None if spec is None else spec.key)

    def arrived(self, event: CallsArrived) -> CallsFinished:
        """Store the results of calls; return the event that tells the scheduler of their end."""
        find = self._jobs.get
        for work, value in zip(event.works, event.values, strict=True):
            job = find(work.number)
            if job is not None:
                job.fill_only(value)
        return CallsFinished(event.worker, len(event.works), event.elapsed, event.size)

    def finish(self, numbers: list[int]) -> None:
        """End jobs, given by their numbers, whose results have come."""
        jobs, over, release = self._jobs, self._over.append, self.specs.release
        for number in numbers:
            job = jobs[number]
            # The job is removed from the table last. So if a signal's exception strikes before
            # that, the caller still gets the outcome of the job.
            over(job)
            del jobs[number]
            release(job)
