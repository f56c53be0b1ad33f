"""Prefetching: which busy workers get their next chunks before they need them."""

from collections.abc import Callable, Iterable
from math import inf

from .chunk_sizes import MOST_BYTES
from .job_queue import JobQueue
from .state import Chunk, Job, Worker, load_of
from .worker_states import RECLAIMING

# A busy worker gets another chunk only if the chunks that it holds will take less than this many
# seconds together. So the worker never waits for its next chunk, and no chunk waits long.
PREFETCH_BELOW = 0.005
# Without the GIL, threads that compute take all processors, and the thread that sends chunks waits
# for one: a few milliseconds on Linux. So each worker is sent a second chunk if its only chunk is
# expected to take less than this many seconds. That is more than the usual chunk takes
# (`chunk_sizes.TARGET`), and little for other calls to wait.
AHEAD_BELOW = 0.03
# A worker holds at most this many chunks: enough to send several of them in one system call.
MOST_HELD = 8
# Until this many items of a job have been measured for each worker, a worker holds fewer chunks
# than `MOST_HELD`. The first items take longer than others, which makes chunks too small; 64
# workers would hold 500 such chunks.
_TRIED = 4
# Until enough items have been measured, all workers together hold at most this many chunks; but
# each worker may hold two.
_UNTRIED = 64
# While single calls with small arguments wait, a worker holds at most this many chunks. Half of
# these chunks travel in one system call, which makes a call a third faster. For a map the limit is
# lower: the later its chunks are made, the better their sizes fit.
MOST_CALLS = 32
# A worker may hold more than `MOST_HELD` chunks only if the items and results of all these chunks
# take fewer bytes than this.
_SMALL = 1 << 16
_SEVERAL = -1  # stands in place of the number of a job if several jobs have waiting items


class Prefetch:
    """The busy workers that may be sent more chunks, so that no event has to check all workers.

    There are two groups: workers that may get more chunks, and workers that hold their share of the
    waiting items (the seconds that these take, divided by the limit of workers). A worker in
    neither group holds enough chunks until it has finished some items.
    """

    def __init__(self, jobs: JobQueue, limit: int) -> None:
        self._jobs = jobs
        self._limit = limit
        self._below_target: dict[int, Worker] = {}  # workers that may get more chunks
        self._at_share: dict[int, Worker] = {}  # workers that hold their share of the waiting items
        # The number of the job whose waiting items the workers in `_at_share` share. None: a call
        # of a single item waits. `_SEVERAL`: several jobs have waiting items.
        self._share_of: int | None = None

    def resize(self, limit: int) -> None:
        """Set the limit of workers to `limit`."""
        self._limit = limit

    def consider(self, worker: Worker) -> None:
        """Add a worker to the workers to which the next `fill_up` may send more chunks."""
        if not worker.leaving:
            self._below_target[worker.id] = worker

    def consider_all(self, workers: Iterable[Worker]) -> None:
        """Put all these workers among those that the next `fill_up` may send more chunks."""
        for worker in workers:
            self.consider(worker)

    def forget(self, id: int) -> None:
        """Remove a worker from the workers to which chunks may be sent ahead of need."""
        self._below_target.pop(id, None)
        self._at_share.pop(id, None)

    def enqueue(self, job: Job, first: bool = False) -> None:
        """Put a job into the queue, because more items of the job wait than before."""
        self._jobs.enqueue(job, first)
        self._share_anew()

    def _share_anew(self) -> None:
        """Let workers that hold their share of the waiting items get more: more items wait now."""
        if self._at_share:
            self._below_target.update(self._at_share)
            self._at_share.clear()

    def most_held(self) -> int:
        """Return how many chunks a worker may hold, which depends on the job that is next."""
        if not self._jobs.turns:
            return MOST_HELD
        first = self._jobs.turns[0]
        if isinstance(first, int):
            return MOST_CALLS
        if first.cost.items > _TRIED * self._limit:
            return MOST_HELD
        return max(2, min(MOST_HELD, _UNTRIED // self._limit))

    def fill_up(self, now: float, send: Callable[[Worker], Chunk | None]) -> bool:
        """Send chunks to busy workers that will soon have finished the chunks that they hold.

        Each worker gets one chunk, then each worker gets a second chunk, and so on. Otherwise the
        last worker would wait while all chunks for the first worker are made.

        Args:
            now: the time.
            send: sends the next chunk to a worker and returns the chunk; None if no items wait.

        Returns:
            Whether any chunk was sent.
        """
        if self._share_of != self._head():
            self._share_anew()
        if not self._below_target:
            return False
        turns = self._jobs.turns
        sent = False
        # A worker gets chunks only when it holds at most half as many as it may hold. So several
        # chunks travel in one system call.
        half = self.most_held() // 2
        filled: list[tuple[Worker, float, float]] = []
        for worker in [*self._below_target.values()]:
            if not turns:
                # No items are left to send. These workers stay among those that may be sent more
                # chunks.
                return sent
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
        """Send a worker its next chunk, unless it holds enough chunks or its share of the items.

        The chunks that the worker holds already will take `seconds`, and have `size` bytes.

        Return the worker with its new seconds and bytes, or an empty list if the worker gets no
        more chunks.
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
        """Return the number of the job whose items are sent next; None: a call of a single item."""
        first = self._jobs.turns[0]
        return first.id if isinstance(first, Job) else None

    def _has_enough(self, worker: Worker, seconds: float, size: float) -> bool:
        """Return whether a worker holds enough chunks, whichever job is dispatched next."""
        # For a large chunk that is sent ahead of need the caller needs new memory. That takes
        # longer than the worker would wait.
        most = self.most_held() if size < _SMALL else min(self.most_held(), MOST_HELD)
        below = AHEAD_BELOW if worker.one_ahead and len(worker.chunks) == 1 else PREFETCH_BELOW
        if len(worker.chunks) >= most or seconds >= below or size >= MOST_BYTES:
            return True
        return worker.needs_replacement()

    def _has_share(self, worker: Worker, seconds: float) -> bool:
        """Return whether a worker holds its share of the waiting items; others get the rest."""
        first = self._jobs.turns[0]
        waits = first.seconds_waiting() if isinstance(first, Job) else None
        if waits is not None and seconds * self._limit > waits:
            return True
        return not (worker.can_reclaim_chunks or self._follows(worker.chunks[-1]))

    def _follows(self, chunk: Chunk) -> bool:
        """Return whether the next chunk may go to a worker that holds `chunk` for good.

        No chunk can be taken back from such a worker. It may get the next chunk if that has later
        items of the same job. If the items of `chunk` become unwanted, so do the later items, and
        the worker then holds nothing wanted and can be killed at any moment.
        """
        first = self._jobs.turns[0]
        return isinstance(first, Job) and chunk.job is first and first.next_item() >= chunk.stop


def _load(worker: Worker, now: float) -> tuple[float, float]:
    """Return the seconds and the bytes of all chunks that a worker holds.

    The seconds are infinite if the worker is to get no more chunks.
    """
    since = worker.since
    if worker.state >= RECLAIMING or since == inf or now - since >= PREFETCH_BELOW:
        # A worker gets no more chunks while it is being asked for items back, or when its first
        # chunk takes longer than expected.
        return inf, 0.0
    if worker.one_ahead and len(worker.chunks) == 1:
        # At most one chunk is sent ahead, and it is taken back at once if its items turn out slow.
        # So a cost that was measured from few items is good enough.
        return load_of(worker.chunks[0], trusted=1)
    seconds = size = 0.0
    for chunk in worker.chunks:
        more = load_of(chunk)
        seconds += more[0]
        size += more[1]
    return seconds, size
