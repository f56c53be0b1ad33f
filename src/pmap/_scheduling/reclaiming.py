"""Reclaiming: taking back items that a worker has not begun, so that others can run them."""

from math import inf

from .answer import Answer
from .commands import ReclaimChunks
from .events import ChunksReclaimed
from .job_states import FINISHED
from .prefetch import Prefetch
from .state import Chunk, Job, Worker
from .worker_states import BUSY, RECLAIMING
from .workers import Workers

# When a worker's first chunk has run for this many seconds, items that the worker has not begun go
# to an idle worker. To take the items back and to send them again costs two messages, 0.2 ms. In
# measurements with unequal items of 0.1 or 1 ms in random orders, a whole map took less time on
# average than without reclaiming; with a delay of 5 ms the gain was smaller.
RECLAIM_AFTER = 0.001
# The delay before items are taken back begins at `RECLAIM_AFTER`. It grows while the system does
# not let workers run, but to no more than this many seconds.
_MOST_DELAY = 1.0


class Reclaiming:
    """Asks workers for items that they have not begun, and queues the items that they give back.

    Attributes:
        has_candidates: whether any worker may hold items that it has not begun.
    """

    def __init__(self, workers: Workers, prefetch: Prefetch, answer: Answer) -> None:
        self._workers = workers
        self._prefetch = prefetch
        self._answer = answer
        self.has_candidates = False
        # The present delay in seconds before items are taken back. It grows while workers do not
        # even begin their first chunks.
        self._delay = RECLAIM_AFTER

    def request(self, worker: Worker) -> None:
        """Ask a worker to give back all items that the worker has not begun."""
        question = ReclaimChunks(worker.id)
        if worker.state == RECLAIMING or question in self._answer.questions:
            return
        # A busy worker is in the state RECLAIMING until it answers. A worker that is ending is
        # asked, too, because a thread may take long to end, but its state stays.
        if worker.state == BUSY:
            worker.state = RECLAIMING
        self._answer.questions.append(question)

    def next_due(self) -> list[float]:
        """Return the times at which items that busy workers have not begun will be taken back."""
        holding = [worker for worker in self._workers.all.values() if worker.holds_more()]
        self.has_candidates = bool(holding)
        return [w.since + self._delay for w in holding if w.since < inf and not w.leaving]

    def request_for_idle(self, now: float) -> None:
        """Take back items for an idle worker, from a worker whose first chunk takes too long.

        If there are several such workers, the one that holds most chunks is asked.
        """
        late = [
            worker
            for worker in self._workers.all.values()
            if worker.holds_more() and not worker.leaving and worker.since + self._delay <= now
        ]
        if late:
            # Only one worker is asked to give items back, because its items may be enough for all
            # idle workers.
            worker = max(late, key=lambda worker: len(worker.chunks))
            # This value keeps the worker from being asked for items again while it runs its first
            # chunk.
            worker.since = inf
            self.request(worker)

    def on_chunks_finished(self, chunks: int = 1) -> None:
        """Shorten the delay before items are taken back, because a worker has finished chunks."""
        # The delay is only halved: the next chunk may also have to wait until the system lets the
        # worker run.
        self._delay = max(RECLAIM_AFTER, self._delay / 2**chunks)

    def take_back(self, worker: Worker, event: ChunksReclaimed, now: float) -> list[Job]:
        """Queue the items that a worker has given back; return the jobs of these items."""
        if worker.state == RECLAIMING:
            worker.state = BUSY
        self._prefetch.consider(worker)
        waits = event.kept == 1 and event.items is None and worker.chunks[0].step > 0
        if waits:
            # The worker has given back all but its first chunk, and has not begun that one. From
            # now on it gets the full time again until it is asked for items.
            worker.since = now
        if waits or not event.kept:
            # The worker has not begun its chunk, because the system has not let it run. So the
            # delay becomes longer: otherwise the items would soon be taken back from the next
            # worker as well, and go to and fro.
            self._delay = min(2 * self._delay, _MOST_DELAY)
        touched: dict[int, Job] = {}
        while len(worker.chunks) > event.kept:
            chunk = worker.chunks.pop()
            worker.taken -= 1
            job = chunk.job
            job.remove_in_flight(chunk)
            if job.state < FINISHED:
                touched[job.id] = job
                self.requeue(chunk)
        if event.items is not None and worker.chunks:
            chunk = worker.chunks[-1]
            job = chunk.job
            stop, chunk.stop = chunk.stop, min(chunk.stop, chunk.start + event.items)
            chunk.step = 0
            if chunk.stop < stop and job.state < FINISHED:
                touched[job.id] = job
                job.requeue(chunk.stop, stop, 0)
                self._prefetch.enqueue(job, first=True)
        return [*touched.values()]

    def requeue(self, chunk: Chunk) -> None:
        """Queue the unfinished items of a chunk again, in front of all other items of their job."""
        job = chunk.job
        tries = chunk.tries if chunk.next == chunk.start else 0
        job.requeue(chunk.next, chunk.stop, tries)
        self._prefetch.enqueue(job, first=True)
