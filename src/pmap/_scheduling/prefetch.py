"""Which busy workers are sent chunks ahead of need, behind those that they hold."""

from collections.abc import Callable
from math import inf

from .chunk_sizes import MOST_BYTES
from .job_queue import JobQueue
from .state import Chunk, Job, Worker, load_of
from .worker_states import RECLAIMING

# Chunks are sent behind others only while the others are expected to take less than this, in
# seconds: then the worker never waits for its next chunk, and no chunk waits long for another.
PREFETCH_BELOW = 0.005
# The most chunks that a worker holds: enough for several to travel in one system call.
MOST_HELD = 8
# A worker holds fewer until so many items of the job are measured for each worker: the first items
# cost more than others, so the first chunks are too small, and 64 workers would hold 500 of them.
_TRIED = 4
_UNTRIED = 64  # chunks that all workers together hold until then, or two each
# Of small single calls a worker holds more: half as many then travel together, and a call takes two
# thirds of the time. Chunks of a map grow, so it is better to make the next ones later.
MOST_CALLS = 32
_SMALL = 1 << 16  # bytes of all that a worker holds, with the results
_SEVERAL = -1  # stands for several jobs where the number of one is expected


class Prefetch:
    """The busy workers that may be sent more, so that not each event has to look at all workers.

    A worker in neither of the two groups has enough until it has finished some chunk.
    """

    def __init__(self, jobs: JobQueue, limit: int) -> None:
        """Make it without workers.

        Args:
            jobs: what is to be sent.
            limit: how many workers there may be at a time.
        """
        self._jobs = jobs
        self._limit = limit
        self._below_target: dict[int, Worker] = {}  # they may take more
        self._at_share: dict[int, Worker] = {}  # they hold their share of what waits
        self._share_of: int | None = None  # the job of which they hold it: see `_head`

    def consider(self, worker: Worker) -> None:
        """Let the next `fill_up` look whether a worker is to be sent more."""
        if not worker.leaving:
            self._below_target[worker.id] = worker

    def forget(self, id: int) -> None:
        """Send nothing more to a worker."""
        self._below_target.pop(id, None)
        self._at_share.pop(id, None)

    def enqueue(self, job: Job, first: bool = False) -> None:
        """Queue a job of which more items wait than before; see `JobQueue.enqueue`."""
        self._jobs.enqueue(job, first)
        self._share_anew()

    def _share_anew(self) -> None:
        """Let workers that hold their share of what waited have a share of what waits now."""
        if self._at_share:
            self._below_target.update(self._at_share)
            self._at_share.clear()

    def most_held(self) -> int:
        """Return how many chunks a worker may hold if the next one is added."""
        if not self._jobs.turns:
            return MOST_HELD
        first = self._jobs.turns[0]
        if isinstance(first, int):
            return MOST_CALLS
        if first.cost.items > _TRIED * self._limit:
            return MOST_HELD
        return max(2, min(MOST_HELD, _UNTRIED // self._limit))

    def fill_up(self, now: float, send: Callable[[Worker], Chunk | None]) -> bool:
        """Send chunks to busy workers that will soon have finished what they hold.

        Each worker gets one chunk, then each the next: else the last one would wait while all
        chunks for the first are made.

        Args:
            now: the time.
            send: sends the next chunk to a worker and returns it; None: there is none.

        Returns:
            Whether anything was sent.
        """
        if self._share_of != self._head():
            self._share_anew()
        if not self._below_target:
            return False
        turns = self._jobs.turns
        sent = False
        # Filled up when half empty, and not one by one: see MOST_HELD.
        half = self.most_held() // 2
        filled: list[tuple[Worker, float, float]] = []
        for worker in [*self._below_target.values()]:
            if not turns:
                return sent  # the other workers stay candidates for what comes later
            if 0 < len(worker.chunks) <= half:
                filled += self._send_ahead(worker, *_load(worker, now), send)
                sent = sent or bool(filled)
            else:
                del self._below_target[worker.id]
        while filled:
            before, filled = filled, []
            for worker, seconds, size in before:
                if not turns:
                    return sent
                filled += self._send_ahead(worker, seconds, size, send)
        return sent

    def _send_ahead(
        self,
        worker: Worker,
        seconds: float,
        size: float,
        send: Callable[[Worker], Chunk | None],
    ) -> list[tuple[Worker, float, float]]:
        """Send the next chunk to a worker whose chunks take `seconds` and `size` bytes.

        Return the worker with the new sums; or nothing, if it is to have no more.
        """
        if self._has_enough(worker, seconds, size):
            del self._below_target[worker.id]
            return []
        if self._has_share(worker, seconds):
            del self._below_target[worker.id]
            head = self._head()
            self._share_of = _SEVERAL if self._at_share and self._share_of != head else head
            self._at_share[worker.id] = worker
            return []
        chunk = send(worker)
        if chunk is None:
            return []
        more = load_of(chunk)
        return [(worker, seconds + more[0], size + more[1])]

    def _head(self) -> int | None:
        """Return the number of the job that is dispatched next; None for single calls."""
        first = self._jobs.turns[0]
        return first.id if isinstance(first, Job) else None

    def _has_enough(self, worker: Worker, seconds: float, size: float) -> bool:
        """Return whether a worker is to hold no more, whatever is dispatched next."""
        # A large chunk that is sent ahead needs new memory, which costs more than a wait does.
        most = self.most_held() if size < _SMALL else min(self.most_held(), MOST_HELD)
        if len(worker.chunks) >= most or seconds >= PREFETCH_BELOW or size >= MOST_BYTES:
            return True
        return worker.needs_replacement()

    def _has_share(self, worker: Worker, seconds: float) -> bool:
        """Return whether a worker holds its share of what waits: the rest is for other workers."""
        first = self._jobs.turns[0]
        waits = first.seconds_waiting() if isinstance(first, Job) else None
        if waits is not None and seconds * self._limit > waits:
            return True
        return not (worker.can_reclaim_chunks or self._follows(worker.chunks[-1]))

    def _follows(self, chunk: Chunk) -> bool:
        """Return whether the next chunk may wait behind `chunk`, where it cannot be reclaimed.

        It may if it is of the same job, and its items are later ones: then a worker whose first
        chunk is not wanted any more holds no wanted chunk, and can be killed at any moment.
        """
        first = self._jobs.turns[0]
        return isinstance(first, Job) and chunk.job is first and first.next_item() >= chunk.stop


def _load(worker: Worker, now: float) -> tuple[float, float]:
    """Return the seconds and bytes of what a worker holds; infinite if it is to get no more."""
    since = worker.since
    if worker.state >= RECLAIMING or since == inf or now - since >= PREFETCH_BELOW:
        return inf, 0.0  # it gives chunks back, or its first one takes longer than expected
    seconds = size = 0.0
    for chunk in worker.chunks:
        more = load_of(chunk)
        seconds += more[0]
        size += more[1]
    return seconds, size
