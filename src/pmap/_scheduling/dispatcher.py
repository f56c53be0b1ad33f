"""Sends chunks to workers: to idle workers at once, and to busy workers before they need them."""

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
    """Sends waiting items to workers, as chunks, and starts workers that are missing.

    Attributes:
        stopped: whether no more chunks are sent, because the workers have been told to end.
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
        """Begin without any chunk sent.

        `can_prefetch`: whether busy workers may be sent chunks before they need them.
        `can_combine`: whether several chunks of the caller's `chunksize` may be sent as one chunk
        to a worker from which single items can be taken back.
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
        """Send waiting items to idle and to some busy workers; start workers if more are needed."""
        turns = self._jobs.turns
        self._jobs.skip_finished()
        if self.stopped:
            return
        idle = self._workers.idle
        while turns and idle:
            # The worker that finished work last gets the chunk: its processor caches are warm.
            _, worker = idle.popitem()
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
        """Send the next chunk to a worker, and return the chunk; None if no items wait."""
        limit = self._workers.limit
        while self._jobs.turns:
            job = self._jobs.pop()
            if job is None:
                continue  # the job was cancelled while it was in the queue
            several = worker.can_reclaim_items and self._can_combine
            span = job.take(limit, several, self._workers.overhead)
            if span is None:
                continue
            start, stop, tries = span
            # Each job gives one chunk in turn, so that a long job does not starve a short job.
            if stop < job.end and job.waiting():
                self._jobs.enqueue(job)
            # Ended jobs are removed from the front of the queue: the first job has to be one with
            # items to send.
            self._jobs.skip_finished()
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
        """Return how many workers the pool should have now.

        That is as many as hold chunks or are about to end, and one more for each chunk that waits.
        """
        held = sum(1 for w in self._workers.all.values() if w.chunks or w.leaving)
        return held + self._jobs.chunks(self._workers.limit - held)
