"""Which busy workers are sent more, to wait there until they are done with what they have."""

from collections.abc import Callable
from math import inf

from .chunk_sizes import MOST_BYTES
from .job_queue import JobQueue
from .state import Chunk, Job, Worker, load_of
from .worker_states import RECLAIMING

# Chunks are sent behind others only while those are expected to take less than this, in seconds:
# the worker then never waits for its next chunk, and nothing waits long behind a slow item.
PREFETCH_BELOW = 0.005
# And no more than this many: enough that several travel in one system call.
MOST_HELD = 8
# Fewer as long as each worker has tried few of its items: the first ones cost more than others, so
# chunks are too small, of which 64 workers would hold 500. With few workers it makes no difference.
_TRIED = 4
_UNTRIED = 64  # chunks that all workers together hold until then, or two each
# Of small single calls more: half as many then travel together, and a call that waited takes two
# thirds of the time. Chunks of a map grow, and the next ones had better be made later.
MOST_CALLS = 32
_SMALL = 1 << 16  # bytes of all that a worker holds, there and back
_SEVERAL = -1  # jobs, in place of the number of one


class Prefetch:
    """The busy workers that may be sent more, so that not all are looked at in each event.

    A worker that is in neither group has enough until it is done with some.
    """

    def __init__(self, jobs: JobQueue, limit: int) -> None:
        """Make it without workers.

        Args:
            jobs: what is to be sent.
            limit: how many workers there may be at a time.
        """
        self._jobs = jobs
        self._limit = limit
        self._below_target: dict[int, Worker] = {}  # may take more, when there is more
        self._at_share: dict[int, Worker] = {}  # have their share of what waits
        self._share_of: int | None = None  # of which job: see `_head`

    def consider(self, worker: Worker) -> None:
        """Let it be looked at whether a worker is to have more, when there is more."""
        if not worker.leaving:
            self._below_target[worker.id] = worker

    def forget(self, id: int) -> None:
        """Send nothing more to a worker."""
        self._below_target.pop(id, None)
        self._at_share.pop(id, None)

    def share_anew(self) -> None:
        """Let those that have their share of what waited have one of what waits now."""
        if self._at_share:
            self._below_target.update(self._at_share)
            self._at_share.clear()

    def most_held(self) -> int:
        """Return how many chunks a worker may have, by what is dispatched next."""
        if not self._jobs.turns:
            return MOST_HELD
        first = self._jobs.turns[0]
        if isinstance(first, int):
            return MOST_CALLS
        if first.cost.items > _TRIED * self._limit:
            return MOST_HELD
        return max(2, min(MOST_HELD, _UNTRIED // self._limit))

    def fill_up(self, now: float, send: Callable[[Worker], Chunk | None]) -> bool:
        """Send chunks to wait behind what workers have, as long as they will soon be done with all.

        One after the other, or the last would wait while those for the first are made.

        Args:
            now: the time.
            send: sends a worker what is next and returns it; None: there is nothing.

        Returns:
            Whether anything was sent.
        """
        if self._share_of != self._head():
            self.share_anew()
        if not self._below_target:
            return False
        turns = self._jobs.turns
        sent = False
        # Filled up when half empty, and not one by one: see MOST_HELD.
        half = self.most_held() // 2
        filled: list[tuple[Worker, float, float]] = []
        for worker in [*self._below_target.values()]:
            if not turns:
                return sent  # the others may take what comes
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
        """Send what is next to wait behind what a worker has, so many seconds and bytes.

        Return it with what it has then, or nothing if it is to have no more.
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
        """Return which job is dispatched next; None for single calls."""
        first = self._jobs.turns[0]
        return first.id if isinstance(first, Job) else None

    def _has_enough(self, worker: Worker, seconds: float, size: float) -> bool:
        """Return whether nothing more is to wait behind what a worker has, whatever it is."""
        # Each large one sent ahead lies in memory that is new for it, which costs more than a wait.
        most = self.most_held() if size < _SMALL else min(self.most_held(), MOST_HELD)
        if len(worker.chunks) >= most or seconds >= PREFETCH_BELOW or size >= MOST_BYTES:
            return True
        return worker.needs_replacement()

    def _has_share(self, worker: Worker, seconds: float) -> bool:
        """Return whether a worker has its share of what waits: others may be through before it."""
        first = self._jobs.turns[0]
        waits = first.seconds() if isinstance(first, Job) else None
        if waits is not None and seconds * self._limit > waits:
            return True
        return not (worker.can_reclaim_chunks or self._follows(worker.chunks[-1]))

    def _follows(self, chunk: Chunk) -> bool:
        """Return whether what is dispatched next may wait behind `chunk`, if it is not taken back.

        Only what is of the same job and comes later: then a worker whose first chunk is not wanted
        any more holds nothing else that is, and can be killed without harm, wherever it is by now.
        """
        first = self._jobs.turns[0]
        return isinstance(first, Job) and chunk.job is first and first.next() >= chunk.stop


def _load(worker: Worker, now: float) -> tuple[float, float]:
    """Return the seconds and bytes of what a worker has; infinite where more has to wait."""
    since = worker.since
    if worker.state >= RECLAIMING or since == inf or now - since >= PREFETCH_BELOW:
        return inf, 0.0  # or its first chunk takes longer than was expected
    seconds = size = 0.0
    for chunk in worker.chunks:
        more = load_of(chunk)
        seconds += more[0]
        size += more[1]
    return seconds, size
