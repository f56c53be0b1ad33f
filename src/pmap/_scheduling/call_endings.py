"""How several jobs of one item each end together, when a worker has finished all of them."""

from .answer import Answer
from .chunk_sizes import CostMeter
from .commands import FinishCalls
from .deadlines import Deadlines
from .events import CallsFinished, ItemsFinished
from .job_endings import JobEndings
from .job_queue import JobQueue
from .job_states import FINISHED, RUNNING
from .prefetch import Prefetch
from .reclaiming import Reclaiming
from .state import TRUSTED_ITEMS, Worker
from .workers import Workers


class CallEndings:
    """Ends several jobs of one item each, whose results have come in one message of a worker.

    There may be millions of such jobs. So what has to be done once for a worker is not done for
    each job.
    """

    def __init__(
        self,
        jobs: JobQueue,
        workers: Workers,
        prefetch: Prefetch,
        reclaiming: Reclaiming,
        deadlines: Deadlines,
        endings: JobEndings,
        answer: Answer,
    ) -> None:
        self._jobs = jobs
        self._workers = workers
        self._prefetch = prefetch
        self._reclaiming = reclaiming
        self._deadlines = deadlines
        self._endings = endings
        self._answer = answer

    def finish(self, worker: Worker, event: CallsFinished, now: float) -> bool:
        """End the jobs of the first chunks of a worker.

        Return False, and change nothing, if one of the jobs is not as most are: for example, it is
        being cancelled, or its function differs from that of the other jobs.
        """
        count = event.chunks
        chunks = [worker.chunks[at] for at in range(count)]
        cost = chunks[0].job.cost
        for chunk in chunks:
            job = chunk.job
            if job.state != RUNNING or job.end != 1 or job.cost is not cost or job.delayed:
                return False
        ended: list[int] = []
        for chunk in chunks:
            worker.chunks.popleft()
            chunk.next = 1
            job = chunk.job
            job.in_flight = None
            job.state = FINISHED
            self._jobs.remove(job)
            ended.append(job.id)
        self.go_on(worker, cost, event, now, chunks=count, items=count)
        self._prefetch.consider(worker)
        if worker.chunks and worker.chunks[0].next >= worker.chunks[0].job.end:
            # The worker begins its next chunk now. If nobody wants that chunk any more, the worker
            # is killed.
            self._endings.end_unwanted(worker)
        self._answer.commands.append(FinishCalls(ended))
        if self._workers.closed:
            self._workers.retire_if_done()
        if not worker.chunks:
            self._workers.idle_or_stop(worker)
        return True

    def go_on(
        self,
        worker: Worker,
        cost: CostMeter,
        event: ItemsFinished | CallsFinished,
        now: float,
        *,
        chunks: int,
        items: int,
    ) -> None:
        """Measure the items of a worker's finished chunks; its next chunk, if any, begins now.

        Args:
            worker: the worker that has finished the chunks.
            cost: gets the seconds and bytes of the items.
            event: tells how many seconds and bytes the items took.
            now: the time.
            chunks: how many chunks are finished.
            items: how many items these chunks have.
        """
        untrusted = cost.items < TRUSTED_ITEMS
        cost.measured(items, event.elapsed, event.size)
        if untrusted and cost.items >= TRUSTED_ITEMS:
            self._prefetch.consider_all(self._workers.all.values())
        worker.since = now
        self._reclaiming.on_chunks_finished(chunks)
        self._deadlines.start(worker, now)
