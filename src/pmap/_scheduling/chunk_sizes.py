"""How many items go into the next chunk, by the seconds and bytes measured for earlier items.

If the caller gives no `chunksize`, the first chunks are single items. Each later chunk gets as many
items as take about `TARGET` seconds, by the measured cost of the job's items. A chunk gets no more
than its share of the items that are left (guided self-scheduling: Polychronopoulos and Kuck, IEEE
Trans. Computers C-36, 1987, which gives each free worker a fixed fraction of the rest, so that
chunks shrink towards the end). And a chunk carries no more than about `MOST_BYTES`, by the measured
bytes of items and their results.
"""

from math import sqrt

# Seconds of work that each chunk costs the caller, which sends the chunk and receives the results.
# On the machine where pmap was built this took 0.1 to 0.15 ms.
_MESSAGE = 0.0001
# Seconds that a chunk should take, if pmap chooses the size of chunks. With many workers
# `target_of` makes chunks longer.
TARGET = 0.02
# Seconds that a chunk should take at least, if pmap chooses the size of chunks. Near the end of a
# job, shorter chunks would cost more time in messages than they save by a better balance between
# workers.
LEAST = 0.0005
# Where an executor or a cluster places the chunks, the overhead of a chunk is known. A chunk then
# takes about this many times as long as the overhead, but no more than `_LONGEST` seconds: a whole
# chunk is lost with the node that runs it, and the end of a call waits for the last chunk.
_OVERHEADS = 8
_LONGEST = 2.0
# The items and results of one chunk have at most this many bytes. A worker takes a few milliseconds
# to load and to send so many bytes, so the cost of a message is small beside that. The caller and
# the worker each hold that many bytes for each chunk in progress.
MOST_BYTES = 1 << 24
# Where the caller chose the `chunksize`, several chunks may travel in one message. Together the
# chunks of a message should take at most this many seconds. To send a message takes a twentieth of
# this time, and an idle worker waits no longer than this for items.
_TOGETHER = 0.002
# A job of at most this many items may count as short. A short job is sent as one chunk. The items
# of that chunk begin one by one, and each item can be taken back and given to another worker until
# the item begins. Before each item the worker takes 1 us to check whether the item was taken back.
_MOST_SHORT = 64
# The first chunk for a worker has at most this many items if only the cost of an earlier job is
# known. Before each group of `_FEW_TOGETHER` items the worker takes 1 us to check whether the group
# was taken back. In a chunk of this size, the checks take as long together as the messages of the
# smaller chunks that it replaces.
_MOST_EXPECTED = 1 << 12
# Several chunks may travel in one message if they have at most this many bytes together. Larger
# chunks gain nothing by sharing a message.
_SMALL = 1 << 16
# A chunk has at most this many items. While the caller writes a larger chunk, other workers would
# wait for their next chunk. The results of this many items, if small, still fit in one message
# (`journal.ARRAY_SLOTS`). And a list of so many results is so small that malloc does not map new
# memory for each list: with chunks of 16,000 items a `pmap` of 1e6 ints took half as many page
# faults again.
_MOST_ITEMS = 8_000
_SHARES = 2  # a chunk has at most 1 / (`_SHARES` * workers) of the items that are left
# Seconds that a part of a chunk should take. A part is a group of items that begin together: once
# the part has begun, none of its items can be taken back from the worker.
_PART = 0.001
# A part of a chunk, whose items begin together, has at most this many items, even if earlier items
# were quick, because later ones may be slow. Before each part the worker takes 1 us to check
# whether the part was taken back, a twentieth of the time that 256 of the quickest items take.
_MOST_TOGETHER = 256
# A part of a chunk has at most this many items where the caller chose the `chunksize`, or while the
# cost of an item is not known yet.
_FEW_TOGETHER = 16
_TRUST = 4  # a chunk has at most this many times as many items as were measured before
# For each worker a stream reads this many chunks ahead of its consumer: one chunk that runs, one
# that waits behind it, and two whose results are on the way to the consumer or wait for it.
_AHEAD = 4
# A stream reads at most this many items ahead by itself: more would take memory, and would not make
# the stream faster.
_MOST_AHEAD = 1 << 14
# At most this many of a job's first items may be slower than the later ones, because they import
# modules.
_COLD = 32
# The weight of the newest measurement in the running mean. The mean has to follow the cost of
# items, which may change along the input.
_GROWTH = 0.5


class CostMeter:
    """The running estimate of the seconds and the bytes that one item of a job takes."""

    __slots__ = ("elapsed", "items", "seconds", "size")

    def __init__(self) -> None:
        self.items = 0
        self.elapsed = 0.0  # seconds that all measured items have taken together
        self.seconds: float | None = None  # estimated seconds of one item; None: nothing measured
        self.size = 0.0  # estimated bytes of one item and its result

    def measured(self, items: int, elapsed: float, size: int = 0) -> None:
        """Record that `items` items took `elapsed` seconds together, and `size` bytes."""
        if items <= 0:
            return
        # If an item has more bytes than the running mean, its size replaces the mean at once: too
        # many bytes in a chunk do more harm than too many messages.
        self.size += _GROWTH * (size / items - self.size)
        self.size = max(self.size, size / items)
        self.items += items
        self.elapsed += elapsed
        each = elapsed / items
        if self.seconds is None or (self.items <= _COLD and each < self.seconds / 2):
            # The first items are slow, because they import modules and fill caches. So while few
            # items are measured, a much lower cost replaces the estimate at once. Later a single
            # low cost may be chance.
            self.seconds = each
        else:
            self.seconds += _GROWTH * (each - self.seconds)

    def at_worst(self) -> float | None:
        """Return the estimated seconds of an item, or the mean of all items if that is more.

        Decisions that cannot be undone use this cost. The estimate alone is too small if the last
        item was quick by chance.
        """
        return self.seconds and max(self.seconds, self.elapsed / self.items)


def is_short(items: int, last: CostMeter) -> bool:
    """Return whether a job is probably so short that all its items are best sent as one chunk.

    `last` is the measured cost of the last job with the same function. If several workers shared a
    short job, the messages to them would take longer than the job. If the job turns out not to be
    short, the scheduler takes back the items that have not begun, about a millisecond after the
    first item began.
    """
    each = last.at_worst()
    if each is None or items > _MOST_SHORT:
        return False
    return each * items <= LEAST and last.size * items <= _SMALL


def is_quick(last: CostMeter) -> bool:
    """Return whether several items of a new job may begin together, because they are quick.

    `last` is the measured cost of the last job with the same function. No item of the new job has
    been measured yet.
    """
    each = last.at_worst()
    return each is not None and each * _FEW_TOGETHER <= _PART


def first_size(remaining: int, workers: int, last: CostMeter) -> int:
    """Return how many of `remaining` items a chunk gets before any item of its job is measured.

    `last` is the measured cost of the last job with the same function. Chunks of single items would
    wake each worker for next to nothing. If the items take longer this time, the scheduler reclaims
    those that have not begun, about a millisecond after the first item began.
    """
    wanted = chunk_size(remaining, workers, last.at_worst(), None, size=last.size)
    return min(wanted, _MOST_EXPECTED)


def target_of(workers: int) -> float:
    """Return how many seconds a chunk should take, so that the caller spends at most half its time.

    The caller spends its time on the messages of chunks. The more workers there are, the less often
    each worker may need a new chunk.
    """
    return max(TARGET, 2 * _MESSAGE * workers)


def least_of(left: float, target: float) -> float:
    """Return how many seconds a chunk should take at least, if the rest of the items take `left`.

    If there are workers enough, `left / s` chunks of `s` seconds cost the caller `left / s *
    _MESSAGE` seconds, and the call waits `s` seconds more for the last of these chunks. This sum is
    least if `s` is the square root of `left * _MESSAGE`. With few workers a chunk is longer than
    that anyway, until little is left.
    """
    return min(target, max(LEAST, sqrt(left * _MESSAGE)))


def chunk_size(
    remaining: int,
    workers: int,
    cost: float | None,
    fixed: int | None,
    measured: int | None = None,
    size: float = 0.0,
    overhead: float = 0.0,
) -> int:
    """Return how many of `remaining` items the next chunk gets, at least 1.

    Args:
        remaining: items that no worker has yet, at least 1.
        workers: how many workers there are or may be.
        cost: seconds that one item takes, as measured so far; None before the first measurement.
        fixed: the `chunksize` that the caller asked for; None for an adaptive `chunksize`.
        measured: from how many items `cost` was measured; None if there are enough to trust it.
        size: bytes that an item and its result take, as measured so far.
        overhead: seconds that a chunk takes beside those of its items; 0 if that is very little.
    """
    if fixed is not None:
        return min(fixed, remaining)
    if cost is None:
        return 1
    share = -(-remaining // (_SHARES * workers))
    target = max(target_of(workers), min(_LONGEST, _OVERHEADS * overhead))
    wanted = share if cost * share <= target else int(target / cost)
    shortest = max(least_of(cost * remaining, target), min(_LONGEST, overhead))
    least = remaining if cost * remaining <= shortest else int(shortest / cost)
    # While few items are measured, a chunk has only a few times as many items: the later items may
    # differ from the measured ones.
    trusted = remaining if measured is None else _TRUST * measured
    # A chunk may have as many items as take `overhead` seconds, however few were measured. With
    # fewer, the overhead would take more time than the items.
    if overhead:
        placing = min(_LONGEST, overhead)
        trusted = max(trusted, remaining if cost * remaining <= placing else int(placing / cost))
    return max(1, min(trusted, max(least, wanted), _MOST_ITEMS, _fitting(size, remaining)))


def chunks_together(
    remaining: int, workers: int, cost: float, fixed: int, measured: int, size: float = 0.0
) -> int:
    """Return how many chunks of the caller's `chunksize` travel in one message.

    Args:
        remaining: items that no worker has yet, at least 1.
        workers: how many workers there are or may be.
        cost: seconds that one item takes at worst, as measured so far.
        fixed: the `chunksize` that the caller asked for.
        measured: from how many items `cost` was measured.
        size: bytes that an item and its result take, as measured so far.
    """
    chunks = -(-remaining // fixed)
    each = cost * fixed
    share = chunks // (_SHARES * workers)
    wanted = share if each * share <= _TOGETHER else int(_TOGETHER / each)
    least = chunks if each * chunks <= LEAST else int(LEAST / each)
    trusted = _TRUST * measured // fixed
    small = chunks if size * fixed * chunks <= _SMALL else int(_SMALL / (size * fixed))
    return max(1, min(trusted, max(least, wanted), small))


def at_a_time(items: int, cost: float | None, fixed: int | None) -> int:
    """Return how many items are in one part of a chunk; a worker runs part after part.

    The items of a part begin together. Items that have not begun can be taken back and given to
    other workers, so before each part the worker checks whether the part was taken back. A part is
    as small as possible, as long as this check takes next to no time beside the items of the part.

    Args:
        items: how many items the chunk has.
        cost: seconds that one item takes, as measured so far; None before the first measurement.
        fixed: the `chunksize` that the caller asked for; None for an adaptive `chunksize`.

    Returns:
        The size of a part; 0: the whole chunk is one part, because more would gain nothing.
    """
    # If the chunk stands for several chunks of the caller's `chunksize`, each of these is a part.
    if fixed is not None and items > fixed:
        return fixed
    few = _MOST_TOGETHER if fixed is None and cost is not None else _FEW_TOGETHER
    if cost is not None and cost * few > _PART:
        few = max(1, int(_PART / cost))
    return few if few < items else 0


def _fitting(size: float, most: int) -> int:
    """Return how many items fit in a chunk if each has `size` bytes; at most `most`."""
    return most if size * most <= MOST_BYTES else int(MOST_BYTES / size)


def worth_ahead(
    workers: int, cost: float | None, fixed: int | None, measured: int, size: float = 0.0
) -> int:
    """Return how many items a stream reads ahead of its consumer if no `buffersize` is given.

    Args:
        workers: how many workers there may be.
        cost: seconds that one item takes, as measured so far; None before the first measurement.
        fixed: the `chunksize` that the caller asked for; None for an adaptive `chunksize`.
        measured: from how many items `cost` was measured.
        size: bytes that an item and its result take, as measured so far.
    """
    least = _AHEAD * workers * (fixed or 1)
    if cost is None:
        return least
    chunk = _MOST_ITEMS if cost * _MOST_ITEMS <= TARGET else int(TARGET / cost)
    chunk = min(chunk, _TRUST * measured, _fitting(size, _MOST_AHEAD))
    return max(least, min(_AHEAD * workers * chunk, _MOST_AHEAD))
