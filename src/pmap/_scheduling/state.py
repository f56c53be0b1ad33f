"""What the scheduler knows of jobs, chunks and workers: their data, and what follows from it.

No dataclasses: their module takes as long to import as all that a first call needs of pmap.
"""

import heapq
from collections import deque
from collections.abc import Hashable
from math import inf
from typing import NamedTuple, TypeAlias

from .chunk_sizes import CostMeter, at_a_time, chunk_size, chunks_together
from .job_states import FINISHED, KILLING, OPEN, RUNNING
from .run_rules import RunRules
from .worker_states import STARTING

# The measured cost of a job's items is trusted from so many items on: the first items may cost
# more or less than the others.
TRUSTED_ITEMS = 16

# Items start to stop - 1, and how many workers died with them before these had begun.
_Range: TypeAlias = tuple[int, int, int]


class SingleCall(NamedTuple):
    """What is known of a job of one item until its turn comes: see `JobSubmitted`."""

    rules: RunRules
    like: Hashable


class Chunk:
    """Items of a job that a worker holds."""

    __slots__ = ("job", "next", "start", "step", "stop", "tries")

    def __init__(self, job: "Job", start: int, stop: int, tries: int, step: int) -> None:
        self.job = job
        self.start = start
        self.stop = stop
        self.tries = tries  # workers that died with the chunk before it began
        self.step = step  # how many of its items begin together; 0: all
        self.next = start  # the first item that is not finished


class Job:
    """A job: which of its items are still to be dispatched, and what has come of the others."""

    # There may be millions of jobs: what few of them need is made when it is needed.
    __slots__ = (
        "cost",
        "cursor",
        "delayed",
        "end",
        "failed",
        "id",
        "in_flight",
        "queued",
        "requeued",
        "rules",
        "state",
        "streams",
        "tried",
    )

    def __init__(self, id: int, size: int, rules: RunRules, open: bool, cost: CostMeter) -> None:
        self.id = id
        self.state: int = OPEN if open else RUNNING  # see `job_states`
        self.end = size  # items from here on are not wanted: the size, or the first failure
        self.rules = rules
        self.streams = open  # a consumer waits for the results of each chunk
        self.cost = cost
        self.cursor = 0  # the first item that was never dispatched
        self.queued = 0  # how many entries it has in the queue
        self.requeued: list[_Range] | None = None  # a heap of items to be dispatched again
        self.in_flight: set[Chunk] | None = None  # the chunks that workers hold
        self.failed: int | None = None  # the first item that has failed
        self.tried: dict[int, int] | None = None  # how often an item has failed that is retried
        self.delayed: set[int] | None = None  # those of `tried` that wait for their next try

    def take(self, workers: int, several: bool) -> _Range | None:
        """Remove and return the next range to dispatch; the lowest items first.

        `several`: it may be more than one chunk of the size that the caller chose.
        """
        while self.requeued:
            start, stop, tries = heapq.heappop(self.requeued)
            stop = min(stop, self.end)
            if start < stop:
                end = start + self._size(self.waiting() + stop - start, workers, several)
                if end < stop:
                    self.requeue(end, stop, 0)
                return start, min(stop, end), tries
        if self.cursor >= self.end:
            return None
        start = self.cursor
        self.cursor = start + self._size(self.end - start, workers, several)
        return start, self.cursor, 0

    def _size(self, rest: int, workers: int, several: bool) -> int:
        """Return how many of `rest` items are dispatched next."""
        cost, fixed = self.cost, self.rules.chunksize
        if rest == 1:
            return 1
        worst = cost.at_worst()
        alone = not several or self.streams or self.rules.at_once or cost.items < TRUSTED_ITEMS
        if fixed is None or worst is None or alone:
            return chunk_size(rest, workers, cost.seconds, fixed, cost.items, cost.size)
        step = chunks_together(rest, workers, worst, fixed, cost.items, cost.size)
        return min(rest, fixed * step)

    def step_of(self, items: int) -> int:
        """Return how many of a chunk's `items` begin together, if the others can be reclaimed."""
        if items == 1 or self.rules.at_once:
            return 0
        if self.rules.timeout is not None:
            return 1
        return at_a_time(items, self.cost.seconds, self.rules.chunksize)

    def next_item(self) -> int:
        """Return the item that is dispatched next, if any is."""
        return self.requeued[0][0] if self.requeued else self.cursor

    def waiting(self) -> int:
        """Return how many items wait to be dispatched."""
        if not self.requeued:
            return max(0, self.end - self.cursor)
        requeued = sum(max(0, min(stop, self.end) - start) for start, stop, _ in self.requeued)
        return max(0, self.end - self.cursor) + requeued

    def seconds_waiting(self) -> float | None:
        """Return how long the waiting items will take; None: only one waits, or it is unknown."""
        waiting = self.waiting()
        seconds = self.cost.at_worst()
        return None if waiting <= 1 or seconds is None else seconds * waiting

    def unfinished(self) -> bool:
        """Return whether a wanted result, or the end of the input, is still to come."""
        if self.state == OPEN or self.cursor < self.end or (self.requeued and self.waiting()):
            return True
        if self.delayed and any(item < self.end for item in self.delayed):
            return True
        if not self.in_flight:
            return False
        return any(chunk.next < min(chunk.stop, self.end) for chunk in self.in_flight)

    def has_begun(self) -> bool:
        """Return whether any item may have begun."""
        begun = self.in_flight or self.tried or self.failed is not None
        return bool(begun) or self.waiting() < self.end

    def kills(self) -> bool:
        """Return whether workers that run unwanted items of it are killed, if they can be."""
        return self.state == KILLING or (self.rules.stop and self.state < FINISHED)

    def requeue(self, start: int, stop: int, tries: int) -> None:
        """Let items be dispatched again, before any later ones."""
        if self.requeued is None:
            self.requeued = []
        heapq.heappush(self.requeued, (start, stop, tries))

    def add_in_flight(self, chunk: "Chunk") -> None:
        """Note that a worker holds a chunk."""
        if self.in_flight is None:
            self.in_flight = set()
        self.in_flight.add(chunk)

    def remove_in_flight(self, chunk: "Chunk") -> None:
        """Note that no worker holds a chunk any more."""
        if self.in_flight is not None:
            self.in_flight.discard(chunk)


class Worker:
    """A worker: its state, and the chunks that it holds."""

    __slots__ = (
        "_max_chunks",
        "can_reclaim_chunks",
        "can_reclaim_items",
        "check_at",
        "chunks",
        "id",
        "leaving",
        "ready",
        "replace",
        "since",
        "state",
        "taken",
    )

    def __init__(self, id: int, max_chunks: int | None = None) -> None:
        self.id = id
        self._max_chunks = max_chunks  # how many it may run before it is replaced
        self.state: int = STARTING  # see `worker_states`
        self.leaving = False  # its state is `STOPPING` or a later one: it gets no more chunks
        self.ready = False  # its process was ready for work at some time
        self.chunks: deque[Chunk] = deque()
        self.since = 0.0  # when its first chunk began; inf: nothing behind it is to be reclaimed
        self.taken = 0  # how many chunks were ever sent to it
        self.replace = False  # it is to be replaced, however many chunks it has run
        self.can_reclaim_chunks = False  # chunks that have not begun can be reclaimed
        self.can_reclaim_items = False  # so can the items of a chunk that have not begun
        self.check_at: float | None = None  # when `Deadlines` looks at it next

    def needs_replacement(self) -> bool:
        """Return whether it is to be replaced when it has finished what it holds."""
        return self.replace or (self._max_chunks is not None and self.taken >= self._max_chunks)

    def holds_more(self) -> bool:
        """Return whether it may hold items that have not begun."""
        return len(self.chunks) > 1 or (bool(self.chunks) and self.chunks[0].step > 0)


def load_of(chunk: Chunk) -> tuple[float, float]:
    """Return the seconds that a chunk takes at worst (infinite: unknown), and its bytes."""
    cost, items = chunk.job.cost, chunk.stop - chunk.next
    each = cost.at_worst()
    return inf if each is None or cost.items < TRUSTED_ITEMS else each * items, cost.size * items
