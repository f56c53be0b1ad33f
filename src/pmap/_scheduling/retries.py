"""Retries: which failed items are run again, and when their delays are over."""

from .answer import Answer
from .commands import RetryItem
from .delay_queue import DelayQueue
from .job_queue import JobQueue
from .job_states import FINISHED
from .prefetch import Prefetch
from .state import Job


class Retries:
    """The failed items that will be run again."""

    def __init__(self, jobs: JobQueue, prefetch: Prefetch, answer: Answer) -> None:
        self._jobs = jobs
        self._prefetch = prefetch
        self._answer = answer
        self._delayed = DelayQueue(self._is_wanted)

    def try_again(self, job: Job, index: int, now: float) -> bool:
        """Queue a failed item for another try, if its job allows one; return whether it does."""
        delays = job.rules.retries
        if not delays or job.state >= FINISHED or index >= job.end:
            return False
        if job.tried is None or job.delayed is None:
            job.tried, job.delayed = {}, set()
        tried = job.tried.get(index, 0)
        if tried >= len(delays):
            return False
        job.tried[index] = tried + 1
        self._answer.commands.append(RetryItem(job.id, index))
        job.delayed.add(index)
        self._delayed.push(now + delays[tried], job.id, index)
        self.requeue_due(now)
        return True

    def next_due(self) -> list[float]:
        """Return the time at which the next delay of an item is over, as a list of one time.

        The list is empty if no item is delayed.
        """
        when = self._delayed.next()
        return [] if when is None else [when]

    def requeue_due(self, now: float) -> None:
        """Queue the items whose delay is over, so that they are sent to workers again."""
        for id, index in self._delayed.pop_due(now):
            job = self._jobs.get(id)
            if job is not None and job.delayed is not None:
                job.delayed.discard(index)
                if index < job.end:
                    job.requeue(index, index + 1, 0)
                    self._prefetch.enqueue(job)

    def _is_wanted(self, id: int, index: int) -> bool:
        """Return whether an item still has to be run again."""
        job = self._jobs.get(id)
        return job is not None and index < job.end
