"""What the scheduler keeps of jobs, chunks and workers: plain state, and what follows from it.

No dataclasses: their module takes as long to import as all that a first call needs of pmap.
"""

import heapq
from collections import deque
from collections.abc import Hashable
from math import inf
from typing import NamedTuple, TypeAlias

from .chunk_sizes import CostMeter, at_a_time, chunk_size, chunks_together
from .run_rules import RunRules
from .worker_states import STARTING, STOPPING

# What items cost is believed when so many are measured: the first may be no like the others.
ENOUGH = 16

# Items start to stop - 1, and how often a worker died with it before it began.
_Range: TypeAlias = tuple[int, int, int]


class Said(NamedTuple):
    """What was said of a call of one item."""

    terms: RunRules
    like: Hashable


class Chunk:
    """Items of a job that a worker has."""

    __slots__ = ("job", "next", "start", "step", "stop", "tries")

    def __init__(self, job: "Job", start: int, stop: int, tries: int, step: int) -> None:
        self.job = job
        self.start = start
        self.stop = stop
        self.tries = tries  # workers that died with it before it began
        self.step = step  # so many items begin together; 0: all
        self.next = start  # the first item that is not finished


class Job:
    """What is known of a job, and which of its items wait."""

    # There may be millions that wait: what one needs only later is made then.
    __slots__ = (
        "cancelled",
        "cost",
        "cursor",
        "delayed",
        "end",
        "failed",
        "id",
        "in_flight",
        "open",
        "over",
        "queued",
        "requeued",
        "stop",
        "streams",
        "terms",
        "tried",
        "withdrawn",
    )

    def __init__(self, id: int, size: int, terms: RunRules, open: bool, cost: CostMeter) -> None:
        self.id = id
        self.end = size  # items from there on are not wanted: the size, or the first failure
        self.terms = terms
        self.open = open  # more may come
        self.stop = terms.stop
        self.streams = open  # somebody waits for each of its chunks
        self.cost = cost
        self.cursor = 0  # the first item that was never dispatched
        self.queued = 0  # how often it stands in the queue
        self.requeued: list[_Range] | None = None  # a heap
        self.in_flight: set[Chunk] | None = None  # what workers hold
        self.failed: int | None = None
        self.cancelled = False
        self.over = False
        self.tried: dict[int, int] | None = None  # items by how often they failed
        self.delayed: set[int] | None = None  # those of them that wait for their next try
        self.withdrawn = False  # it is cancelled if all that workers hold of it is taken back

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
                    self.put(end, stop, 0)
                return start, min(stop, end), tries
        if self.cursor >= self.end:
            return None
        start = self.cursor
        self.cursor = start + self._size(self.end - start, workers, several)
        return start, self.cursor, 0

    def _size(self, rest: int, workers: int, several: bool) -> int:
        """Return how many of `rest` items are dispatched next."""
        cost, fixed = self.cost, self.terms.chunksize
        if rest == 1:
            return 1
        worst = cost.at_worst()
        alone = not several or self.streams or self.terms.at_once or cost.items < ENOUGH
        if fixed is None or worst is None or alone:
            return chunk_size(rest, workers, cost.seconds, fixed, cost.items, cost.size)
        step = chunks_together(rest, workers, worst, fixed, cost.items, cost.size)
        return min(rest, fixed * step)

    def step(self, items: int) -> int:
        """Return how many items of a chunk begin together where others can be taken back."""
        if items == 1 or self.terms.at_once:
            return 0
        if self.terms.timeout is not None:
            return 1
        return at_a_time(items, self.cost.seconds, self.terms.chunksize)

    def next(self) -> int:
        """Return which item is dispatched next, if any."""
        return self.requeued[0][0] if self.requeued else self.cursor

    def waiting(self) -> int:
        """Return how many items wait to be dispatched."""
        if not self.requeued:
            return max(0, self.end - self.cursor)
        requeued = sum(max(0, min(stop, self.end) - start) for start, stop, _ in self.requeued)
        return max(0, self.end - self.cursor) + requeued

    def seconds(self) -> float | None:
        """Return how long the items that wait will take; None: it is one, or nothing is known."""
        waiting = self.waiting()
        seconds = self.cost.at_worst()
        return None if waiting <= 1 or seconds is None else seconds * waiting

    def unfinished(self) -> bool:
        """Return whether a result before the end, or the end itself, is still to come."""
        if self.open or self.cursor < self.end or (self.requeued and self.waiting()):
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

    def put(self, start: int, stop: int, tries: int) -> None:
        """Let items be dispatched again, before any later ones."""
        if self.requeued is None:
            self.requeued = []
        heapq.heappush(self.requeued, (start, stop, tries))

    def give(self, chunk: "Chunk") -> None:
        """Note that a worker holds a chunk."""
        if self.in_flight is None:
            self.in_flight = set()
        self.in_flight.add(chunk)

    def remove_in_flight(self, chunk: "Chunk") -> None:
        """Note that nobody holds a chunk any more."""
        if self.in_flight is not None:
            self.in_flight.discard(chunk)


class Worker:
    """What is known of a worker, and what it has."""

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
        self._max_chunks = max_chunks  # that it may run before it is replaced
        self.state: int = STARTING
        self.leaving = False  # it is on its way out, and takes nothing more: as its state says
        self.ready = False  # its process has begun to serve, whatever came of it
        self.chunks: deque[Chunk] = deque()
        self.since = 0.0  # when its first chunk began; inf: others are not taken back from it
        self.taken = 0  # chunks ever sent to it
        self.replace = False  # it is to be replaced, however many chunks it has run
        self.can_reclaim_chunks = False  # chunks that wait there can be taken back
        self.can_reclaim_items = False  # and what has not begun of one that has
        self.check_at: float | None = None  # when to see how long its item runs, or to end it

    def become(self, state: int) -> None:
        """Go over to another state; see `worker_states.TRANSITIONS`."""
        self.state = state
        self.leaving = state >= STOPPING

    def needs_replacement(self) -> bool:
        """Return whether it is to be replaced when it is done with what it has."""
        return self.replace or (self._max_chunks is not None and self.taken >= self._max_chunks)

    def holds_more(self) -> bool:
        """Return whether anything may wait behind what it runs."""
        return len(self.chunks) > 1 or (bool(self.chunks) and self.chunks[0].step > 0)


def load_of(chunk: Chunk) -> tuple[float, float]:
    """Return the seconds that a chunk will take, at worst, infinite if unknown, and its bytes."""
    cost, items = chunk.job.cost, chunk.stop - chunk.next
    each = cost.at_worst()
    return inf if each is None or cost.items < ENOUGH else each * items, cost.size * items
