"""How many items the next chunk gets: pure arithmetic on what the items cost so far.

With no `chunksize` given the first chunks are single items; from then on a chunk is sized to take
about `TARGET` seconds by the measured cost of its job's items, and never more than its share of
what is left (guided self-scheduling: Polychronopoulos and Kuck, IEEE Trans. Computers C-36, 1987,
which gives each free worker a fixed fraction of the rest, so that chunks shrink towards the end).
Nor does it carry more than about `MOST_BYTES`, by what items and their results took so far.
"""

TARGET = 0.02  # seconds; a message costs about 0.1 ms, so half a per cent of it
LEAST = 0.0005  # seconds; shorter chunks at the end would cost more in messages than they balance
# Bytes, there and back: a chunk of them takes a worker a few milliseconds to load and to send, so
# a message costs little beside it; and as many are held, here and there, for each chunk under way.
MOST_BYTES = 1 << 24
# Seconds that chunks of a size that the caller chose take, at most, which travel together: a
# message costs a twentieth of that, and a worker that is idle then waits no longer.
_TOGETHER = 0.002
_SMALL = 1 << 16  # bytes that they carry together, at most: large ones gain nothing
# Items in a chunk: of more the caller would be busy writing one while workers wait for the next. So
# many small results are one message (`journal.ARRAY_SLOTS`), and a list of them is below the size
# from which malloc maps memory anew each time: of 16,000 a map of 1e6 ints took half as many page
# faults again.
_MOST_ITEMS = 8_000
_SHARES = 2  # a free worker takes 1 / (2 * workers) of the rest
_PART = 0.001  # seconds; what begins together takes about as long
# Items that begin together, at most, however quick they are so far: the next ones may be slow. To
# ask about a part takes 1 us, so that is a twentieth of what the quickest take. Where the caller
# chose how many are in a chunk, or nothing is known, it is less of a hurry.
_MOST_TOGETHER = 256
_FEW_TOGETHER = 16
_TRUST = 4  # a chunk has at most so many times the items that were measured before
# How many chunks for each worker a stream reads ahead: one that runs, one that waits for it, and as
# many again that are on their way to the consumer or wait for a turn of its.
_AHEAD = 4
_MOST_AHEAD = 1 << 14  # items; a stream is to take little memory, and more would make it no faster
_COLD = 32  # items: so many may have paid for imports, or come right after one that did
_GROWTH = 0.5  # weight of the newest measurement: costs drift along an input


class CostMeter:
    """The running estimate of what one item of a job costs, in seconds, and takes, in bytes."""

    __slots__ = ("elapsed", "items", "seconds", "size")

    def __init__(self) -> None:
        self.items = 0
        self.elapsed = 0.0  # of all items together
        self.seconds: float | None = None
        self.size = 0.0  # of an item and its result

    def measured(self, items: int, elapsed: float, size: int = 0) -> None:
        """Take in that `items` items took `elapsed` seconds together, and `size` bytes."""
        if items <= 0:
            return
        # Greater ones are believed at once: too many bytes do more harm than too many messages.
        self.size += _GROWTH * (size / items - self.size)
        self.size = max(self.size, size / items)
        self.items += items
        self.elapsed += elapsed
        each = elapsed / items
        if self.seconds is None or (self.items <= _COLD and each < self.seconds / 2):
            # The first items pay for imports and cold caches: a much lower cost is believed at
            # once. Later it may be one item that was quick by chance, among slow ones.
            self.seconds = each
        else:
            self.seconds += _GROWTH * (each - self.seconds)

    def at_worst(self) -> float | None:
        """Return the estimate, or the mean of all items so far if that is more.

        For what cannot be taken back: the estimate is still small after a quick one by chance.
        """
        return self.seconds and max(self.seconds, self.elapsed / self.items)


def chunk_size(
    remaining: int,
    workers: int,
    cost: float | None,
    fixed: int | None,
    measured: int | None = None,
    size: float = 0.0,
) -> int:
    """Return how many of `remaining` items the next chunk gets, at least 1.

    Args:
        remaining: items that no worker has yet, at least 1.
        workers: how many workers there are or may be.
        cost: seconds per item as measured so far; None before the first measurement.
        fixed: the `chunksize` that the caller asked for; None for an adaptive one.
        measured: how many items `cost` is known of; None for enough.
        size: bytes that an item and its result take, as measured so far.
    """
    if fixed is not None:
        return min(fixed, remaining)
    if cost is None:
        return 1
    share = -(-remaining // (_SHARES * workers))
    wanted = share if cost * share <= TARGET else int(TARGET / cost)
    least = remaining if cost * remaining <= LEAST else int(LEAST / cost)
    # The first items may be no like the others: what one trivial item says is not believed of all.
    trusted = remaining if measured is None else _TRUST * measured
    return max(1, min(trusted, max(least, wanted), _MOST_ITEMS, _fitting(size, remaining)))


def chunks_together(
    remaining: int, workers: int, cost: float, fixed: int, measured: int, size: float = 0.0
) -> int:
    """Return how many chunks of a size that the caller chose are worth one message.

    Args:
        remaining: items that no worker has yet, at least 1.
        workers: how many workers there are or may be.
        cost: seconds per item, at worst.
        fixed: the `chunksize` that the caller asked for.
        measured: how many items `cost` is known of.
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
    """Return how many of the items of a chunk begin together, so that the others can be had back.

    As few as cost next to nothing to ask about.

    Args:
        items: of the chunk.
        cost: seconds per item as measured so far; None before the first measurement.
        fixed: the `chunksize` that the caller asked for; None for an adaptive one.

    Returns:
        0 where it is not worth it: they all begin together.
    """
    if fixed is not None and items > fixed:
        return fixed  # several chunks: what one of them does is nothing to the others
    few = _MOST_TOGETHER if fixed is None and cost is not None else _FEW_TOGETHER
    if cost is not None and cost * few > _PART:
        few = max(1, int(_PART / cost))
    return few if few < items else 0


def _fitting(size: float, most: int) -> int:
    """Return how many items of `size` bytes go in a chunk, of at most `most`."""
    return most if size * most <= MOST_BYTES else int(MOST_BYTES / size)


def worth_ahead(
    workers: int, cost: float | None, fixed: int | None, measured: int, size: float = 0.0
) -> int:
    """Return how many items a stream reads ahead of its consumer if it is told nothing.

    Args:
        workers: how many workers there may be.
        cost: seconds per item as measured so far; None before the first measurement.
        fixed: the `chunksize` that the caller asked for; None for an adaptive one.
        measured: how many items `cost` is known of.
        size: bytes that an item and its result take, as measured so far.
    """
    least = _AHEAD * workers * (fixed or 1)
    if cost is None:
        return least
    chunk = _MOST_ITEMS if cost * _MOST_ITEMS <= TARGET else int(TARGET / cost)
    chunk = min(chunk, _TRUST * measured, _fitting(size, _MOST_AHEAD))
    return max(least, min(_AHEAD * workers * chunk, _MOST_AHEAD))
