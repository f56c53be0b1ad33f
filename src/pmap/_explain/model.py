"""Computes how long a call takes, from the cost of an item and the speed of the machine.

This is arithmetic only, from seconds to seconds.
"""

from heapq import heapreplace
from typing import NamedTuple

from .._scheduling.chunk_sizes import chunk_size

# The schedule is computed chunk by chunk if there are at most this many chunks; with more chunks
# that would change little.
_MOST_CHUNKS = 5000
# Several workers are no gain if together they are not faster than one by this factor.
_NO_GAIN = 1.05


class ItemCost(NamedTuple):
    """What one item costs on average.

    Attributes:
        seconds: how many seconds the item runs in the serial loop.
        computing: how many of these seconds the item takes on a processor; if it has several
            threads, the sum over all of them.
        waiting: how many of these seconds the item waits for something other than a processor.
        lock: the share of `computing` in which the item holds the interpreter's lock, from 0 to 1.
        packing: seconds to pickle and load the item's argument and result.
        size: bytes of the item's argument and result.
    """

    seconds: float
    computing: float
    waiting: float
    lock: float = 1.0
    packing: float = 0.0
    size: float = 0.0

    def at_pace(self, factor: float) -> "ItemCost":
        """Return the cost of an item if its computing takes `factor` times as long."""
        ran = self.seconds - self.waiting
        return self._replace(seconds=ran * factor + self.waiting, computing=self.computing * factor)


class Overhead(NamedTuple):
    """What a pool costs besides the items: seconds for a call, and seconds for each item."""

    call: float
    item: float


class Workers(NamedTuple):
    """The workers of a pool, as numbers for the computation of a call's time.

    Attributes:
        limit: how many workers there may be.
        gain: how many times as fast as the caller all workers together compute.
        at_once: how many coroutines run in each worker at the same time.
    """

    limit: int
    gain: float
    at_once: int = 1


class Chunks(NamedTuple):
    """The chunks of a call, each of which is sent in one message.

    Attributes:
        sizes: how many items each of the first chunks has.
        more: how many more chunks there are; each is about as large as the last of `sizes`.
    """

    sizes: tuple[int, ...]
    more: int

    @property
    def total(self) -> int:
        """The number of chunks."""
        return len(self.sizes) + self.more


def chunks_of(
    items: int, workers: int, cost: float, fixed: int | None, size: float = 0.0
) -> Chunks:
    """Return the chunks into which the items of a call are divided.

    Args:
        items: how many items there are.
        workers: how many workers there are.
        cost: seconds that one item takes.
        fixed: the `chunksize` that the caller asked for; None for an adaptive `chunksize`.
        size: bytes of an item and its result.
    """
    sizes: list[int] = []
    remaining, measured = items, 0
    while remaining > 0 and len(sizes) < _MOST_CHUNKS:
        # When a worker gets its first chunk, pmap does not know yet how long an item takes.
        known = cost if len(sizes) >= workers else None
        sizes.append(chunk_size(remaining, workers, known, fixed, measured, size))
        remaining -= sizes[-1]
        measured += sizes[-1]
    return Chunks(tuple(sizes), -(-remaining // sizes[-1]) if sizes else 0)


def serial_seconds(items: int, cost: ItemCost) -> float:
    """Return how many seconds the serial loop takes."""
    return items * cost.seconds


def process_seconds(
    items: int, cost: ItemCost, workers: Workers, overhead: Overhead, chunks: Chunks
) -> float:
    """Return how many seconds the call takes with worker processes that have started already."""
    beyond = overhead.call + items * (overhead.item + cost.packing)
    return beyond + _laid_out(items, chunks, cost, workers)


def thread_seconds(
    items: int, cost: ItemCost, workers: Workers, overhead: Overhead, chunks: Chunks
) -> float:
    """Return how many seconds the call takes with threads."""
    beyond = overhead.call + items * overhead.item
    # Only one thread at a time can hold the interpreter's lock.
    locked = items * cost.computing * cost.lock
    return beyond + max(locked, _laid_out(items, chunks, cost, workers))


def _laid_out(items: int, chunks: Chunks, cost: ItemCost, workers: Workers) -> float:
    """Return when the last worker finishes, if each takes its next chunk as soon as it is free."""
    count = max(1, min(workers.limit, chunks.total))
    # An item takes longer while several workers compute at the same time.
    slower = count / _gain(workers, count)
    computing = max((cost.seconds - cost.waiting) * min(1.0, slower), cost.computing * slower)
    each = computing + cost.waiting / workers.at_once
    if chunks.more:
        return items * each / count
    free = [0.0] * count
    for chunk in chunks.sizes:
        heapreplace(free, free[0] + chunk * each)
    return max(free)


def _gain(workers: Workers, count: int) -> float:
    """Return how many times as fast as the caller `count` of the workers compute together."""
    return max(1e-9, 1 + (workers.gain - 1) * (count - 1) / max(1, workers.limit - 1))


def break_even(items: int, cost: ItemCost, workers: Workers, overhead: Overhead) -> float | None:
    """Return how many seconds an item must take for worker processes to be faster than a loop.

    Return None if they are never faster, because all together compute no faster than one.
    """
    waits = cost.waiting / (cost.computing + cost.waiting) if cost.computing + cost.waiting else 0
    count = max(1, min(workers.limit, items))
    # The seconds that the parallel call takes for each second that an item takes in the loop.
    left = (1 - waits) / _gain(workers, count) + waits / (count * workers.at_once)
    if left * _NO_GAIN >= 1:
        return None
    each = overhead.item + cost.packing + overhead.call / max(1, items)
    return each / (1 - left)
