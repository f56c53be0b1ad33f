"""Sending chunks to workers: to those that are idle, to new ones, and ahead of need."""

from .answer import Answer
from .commands import SendChunk
from .deadlines import Deadlines
from .job_queue import JobQueue
from .prefetch import Prefetch
from .reclaiming import Reclaiming
from .state import Chunk, Worker
from .worker_states import BUSY
from .workers import Workers


class Dispatcher:
    """Gives the items that wait to workers.

    Attributes:
        stopped: nothing is dispatched any more.
    """

    def __init__(
        self,
        jobs: JobQueue,
        workers: Workers,
        prefetch: Prefetch,
        reclaiming: Reclaiming,
        deadlines: Deadlines,
        answer: Answer,
        *,
        can_prefetch: bool,
        can_combine: bool,
    ) -> None:
        """Begin.

        Args:
            jobs: what waits.
            workers: gets it.
            prefetch: says which busy workers may be sent more.
            reclaiming: is told when there is something to reclaim.
            deadlines: is told when a chunk begins.
            answer: gets the commands.
            can_prefetch: whether chunks may be sent ahead of need.
            can_combine: whether several chunks of the size that the caller chose may be sent as one
                where their items can be reclaimed.
        """
        self._jobs = jobs
        self._workers = workers
        self._prefetch = prefetch
        self._reclaiming = reclaiming
        self._deadlines = deadlines
        self._answer = answer
        self._can_prefetch = can_prefetch
        self._can_combine = can_combine
        self.stopped = False

    def dispatch(self, now: float) -> None:
        """Send what waits to the workers that are to have it, and start those that are missing."""
        turns = self._jobs.turns
        self._jobs.skip_finished()
        if self.stopped:
            return
        idle = self._workers.idle
        while turns and idle:
            _, worker = idle.popitem()  # the last to finish work: its caches are warm
            if self._send_next(worker) is None:
                idle[worker.id] = worker
            else:
                worker.state = BUSY
                worker.since = now
                self._deadlines.start(worker, now)
                self._prefetch.consider(worker)
        if turns and len(self._workers.all) < self._workers.limit:
            self._workers.start(self._workers_wanted())
        if turns and self._can_prefetch and self._prefetch.fill_up(now, self._send_next):
            self._reclaiming.has_candidates = True

    def _send_next(self, worker: Worker) -> Chunk | None:
        """Send a worker the next chunk, and return it; None if there is none."""
        limit = self._workers.limit
        while self._jobs.turns:
            job = self._jobs.pop()
            if job is None:
                continue  # it was cancelled
            span = job.take(limit, worker.can_reclaim_items and self._can_combine)
            if span is None:
                continue
            start, stop, tries = span
            # One chunk of each job in turn: a long job does not starve a short one.
            if stop < job.end and job.waiting():
                self._jobs.enqueue(job)
            self._jobs.skip_finished()  # `Prefetch` looks at the job that is dispatched next
            step = job.step_of(stop - start) if worker.can_reclaim_items and stop - start > 1 else 0
            if step:
                self._reclaiming.has_candidates = True
            chunk = Chunk(job, start, stop, tries, step)
            worker.chunks.append(chunk)
            worker.taken += 1
            job.add_in_flight(chunk)
            self._answer.commands.append(SendChunk(worker.id, job.id, start, stop, step))
            return chunk
        return None

    def _workers_wanted(self) -> int:
        """Return how many workers there should be, for what waits and for what they hold."""
        held = sum(1 for w in self._workers.all.values() if w.chunks or w.leaving)
        return held + self._jobs.chunks(self._workers.limit - held)
