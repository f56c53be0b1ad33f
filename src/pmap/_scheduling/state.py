"""The data of the scheduler: jobs, chunks and workers, and what can be computed from these data.

The classes are no dataclasses: the module `dataclasses` takes as long to import as all modules that
a first call of pmap needs.
"""

import heapq
from collections import deque
from collections.abc import Hashable
from math import inf
from typing import NamedTuple, TypeAlias

from .chunk_sizes import CostMeter, at_a_time, chunk_size, chunks_together, first_size
from .job_states import FAILING, FINISHED, KILLING, OPEN, RUNNING
from .run_rules import RunRules
from .worker_states import STARTING

# The measured cost of a job's items is trusted only if this many were measured: the first items may
# cost more or less than the others.
TRUSTED_ITEMS = 16

# A range of waiting items: the index of the first item, the index behind the last item, and how
# many workers have died with these items before any of the items had begun.
_Range: TypeAlias = tuple[int, int, int]


class SingleCall(NamedTuple):
    """A job of one item while it waits; its fields are those of `JobSubmitted`."""

    rules: RunRules
    like: Hashable


class Chunk:
    """A chunk that a worker holds: the items `start` to `stop` - 1 of a job."""

    __slots__ = ("job", "next", "start", "step", "stop", "tries")

    def __init__(self, job: "Job", start: int, stop: int, tries: int, step: int) -> None:
        self.job = job
        self.start = start
        self.stop = stop
        self.tries = tries  # how many workers died with the chunk without beginning it
        self.step = step  # how many items of the chunk begin together; 0 means all
        self.next = start  # the index of the first item of the chunk that is not finished


class Job:
    """A job, as the scheduler knows it: which of its items wait, run, have ended or failed."""

    # There may be millions of jobs, so collections that few jobs need are made only when needed.
    __slots__ = (
        "cost",
        "cursor",
        "delayed",
        "end",
        "expected",
        "failed",
        "id",
        "in_flight",
        "is_short",
        "queued",
        "requeued",
        "requeued_items",
        "rules",
        "state",
        "streams",
        "tried",
    )

    def __init__(self, id: int, size: int, rules: RunRules, open: bool, cost: CostMeter) -> None:
        self.id = id
        self.state: int = OPEN if open else RUNNING  # one of the states in the module `job_states`
        # Items from this index on are unwanted. It is the number of items, or the index of the
        # first failure.
        self.end = size
        self.rules = rules
        # Whether the call is a stream, whose consumer waits for each chunk of results.
        self.streams = open
        self.cost = cost
        # Whether the job is expected to be so short that it is sent as one chunk.
        self.is_short = False
        # The cost of the last job with the same function; None if that is not known or cannot be
        # relied on.
        self.expected: CostMeter | None = None
        self.cursor = 0  # the index of the first item that was never sent to a worker
        self.queued = 0  # how many entries of the scheduler's queue are for this job
        # A heap of ranges of items that are to be sent to workers again.
        self.requeued: list[_Range] | None = None
        self.requeued_items = 0  # how many items are in the ranges of `requeued`, wanted or not
        self.in_flight: set[Chunk] | None = None  # the chunks of this job that workers hold
        self.failed: int | None = None  # the index of the first item that has failed
        # For each failed item that is tried again: how often it has failed.
        self.tried: dict[int, int] | None = None
        # The items that may not be sent to a worker yet: failed items, until the delay before the
        # next try is over; and items that another process with the same checkpoint may be running.
        self.delayed: set[int] | None = None

    def take(self, workers: int, several: bool, overhead: float = 0.0) -> _Range | None:
        """Return the next range of items to send to a worker; the first items come first.

        If `several` is true, the range may be as long as several chunks of the caller's
        `chunksize`. `overhead` is the seconds that a chunk takes beside those of its items.
        """
        while self.requeued:
            start, stop, tries = heapq.heappop(self.requeued)
            self.requeued_items -= stop - start
            stop = min(stop, self.end)
            if start < stop:
                end = start + self._size(self.waiting() + stop - start, workers, several, overhead)
                if end < stop:
                    self.requeue(end, stop, 0)
                return start, min(stop, end), tries
        if self.cursor >= self.end:
            return None
        start = self.cursor
        rest = self.end - start
        size = 1 if rest == 1 else self._size(rest, workers, several, overhead)
        self.cursor = start + size
        return start, self.cursor, 0

    def _size(self, rest: int, workers: int, several: bool, overhead: float) -> int:
        """Return how many of `rest` waiting items go into the next chunk of this job."""
        cost, fixed = self.cost, self.rules.chunksize
        if rest == 1:
            return 1
        worst = cost.at_worst()
        if worst is None and self.is_short and several:
            return rest
        if worst is None and self.expected is not None and several:
            return first_size(rest, workers, self.expected)
        alone = not several or self.streams or self.rules.at_once or cost.items < TRUSTED_ITEMS
        if fixed is None or worst is None or alone:
            known = cost.seconds, fixed, cost.items, cost.size
            return chunk_size(rest, workers, *known, overhead)
        step = chunks_together(rest, workers, worst, fixed, cost.items, cost.size)
        return min(rest, fixed * step)

    def step_of(self, items: int) -> int:
        """Return how many items of a chunk begin together; 0 means all."""
        if items == 1 or self.rules.at_once:
            return 0
        if self.rules.timeout is not None or (self.is_short and self.cost.seconds is None):
            return 1
        return at_a_time(items, self.cost.seconds, self.rules.chunksize)

    def next_item(self) -> int:
        """Return the index of the item that is sent to a worker next, if any item waits."""
        return self.requeued[0][0] if self.requeued else self.cursor

    def waiting(self) -> int:
        """Return how many items wait to be sent to a worker."""
        if not self.requeued:
            return max(0, self.end - self.cursor)
        # In a job that collects failures all waiting items are wanted, so all requeued items count.
        if self.state < FAILING:
            return self.end - self.cursor + self.requeued_items
        requeued = sum(max(0, min(stop, self.end) - start) for start, stop, _ in self.requeued)
        return max(0, self.end - self.cursor) + requeued

    def seconds_waiting(self) -> float | None:
        """Return the seconds that the waiting items take together, by the measured cost.

        Return None if no cost is measured yet, or if at most one item waits.
        """
        waiting = self.waiting()
        seconds = self.cost.at_worst()
        return None if waiting <= 1 or seconds is None else seconds * waiting

    def unfinished(self) -> bool:
        """Return whether the job still waits for a wanted result, or for more input."""
        if self.state == OPEN or self.cursor < self.end or (self.requeued and self.waiting()):
            return True
        if self.delayed and any(item < self.end for item in self.delayed):
            return True
        if not self.in_flight:
            return False
        return any(chunk.next < min(chunk.stop, self.end) for chunk in self.in_flight)

    def has_begun(self) -> bool:
        """Return whether any item of the job may have begun."""
        begun = self.in_flight or self.tried or self.failed is not None
        return bool(begun) or self.waiting() < self.end

    def kills(self) -> bool:
        """Return whether workers that run unwanted items of the job are to be killed."""
        return self.state == KILLING or (self.rules.stop and self.state < FINISHED)

    def requeue(self, start: int, stop: int, tries: int) -> None:
        """Queue the items `start` to `stop` - 1 to be sent again, before all later items."""
        # Items are queued again because they were slow or lost. So the job is no longer expected to
        # be short, and its items are not sent in large first chunks any more.
        self.is_short = False
        self.expected = None
        if self.requeued is None:
            self.requeued = []
        heapq.heappush(self.requeued, (start, stop, tries))
        self.requeued_items += stop - start

    def add_in_flight(self, chunk: "Chunk") -> None:
        """Record that a worker holds the chunk of this job."""
        if self.in_flight is None:
            self.in_flight = set()
        self.in_flight.add(chunk)

    def remove_in_flight(self, chunk: "Chunk") -> None:
        """Record that a worker does not hold the chunk any more."""
        if self.in_flight is not None:
            self.in_flight.discard(chunk)


class Worker:
    """A worker: its state, and the chunks that the worker holds."""

    __slots__ = (
        "_max_chunks",
        "can_reclaim_chunks",
        "can_reclaim_items",
        "check_at",
        "chunks",
        "id",
        "leaving",
        "one_ahead",
        "ready",
        "replace",
        "since",
        "state",
        "taken",
    )

    def __init__(self, id: int, max_chunks: int | None = None) -> None:
        self.id = id
        # How many chunks the worker may run before it is replaced; None: no limit.
        self._max_chunks = max_chunks
        self.state: int = STARTING  # one of the states in the module `worker_states`
        # Whether the state is `STOPPING` or a later one: then the worker is sent no more chunks.
        self.leaving = False
        # Whether the worker has ever been ready, so that its start has succeeded.
        self.ready = False
        self.chunks: deque[Chunk] = deque()
        # When the worker began its first chunk. Infinite if the worker is not to be asked for items
        # while it runs that chunk.
        self.since = 0.0
        self.taken = 0  # how many chunks the worker was sent, without those that were taken back
        self.replace = False  # whether the worker is to be replaced, however many chunks it has run
        # Whether chunks that the worker has not begun can be taken back.
        self.can_reclaim_chunks = False
        # Whether single items can be taken back from a chunk that the worker has begun.
        self.can_reclaim_items = False
        # Whether the worker is to hold a chunk besides the one that runs (`prefetch.AHEAD_BELOW`).
        self.one_ahead = False
        # The time at which to check whether the worker's item runs for too long; None: no check is
        # needed.
        self.check_at: float | None = None

    def needs_replacement(self) -> bool:
        """Return whether the worker is to be replaced when it has finished its chunks."""
        return self.replace or (self._max_chunks is not None and self.taken >= self._max_chunks)

    def holds_more(self) -> bool:
        """Return whether the worker may hold items that it has not begun."""
        return len(self.chunks) > 1 or (bool(self.chunks) and self.chunks[0].step > 0)


def load_of(chunk: Chunk, trusted: int = TRUSTED_ITEMS) -> tuple[float, float]:
    """Return the seconds that a chunk takes at worst, and the bytes of its items and results.

    The seconds are infinite if fewer than `trusted` items of the job were measured, or none.
    """
    cost, items = chunk.job.cost, chunk.stop - chunk.next
    each = cost.at_worst()
    return inf if each is None or cost.items < trusted else each * items, cost.size * items
