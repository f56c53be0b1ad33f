"""The chunks that one worker holds: what has begun, what can be reclaimed, what is finished."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from .._transport.packing import unpacked
from .protocol import ResultsArrived
from .results import open_entries

if TYPE_CHECKING:
    from .._jobs.work import Work
    from .._transport.journal import ResultJournal
    from .._transport.packing import Entry, Packed

# Seconds beyond the limit of an item in which coroutines may end by themselves.
_GRACE = 1.0


class SentChunk:
    """A chunk that a worker holds."""

    __slots__ = ("items", "received", "serial", "size", "start", "work")

    def __init__(self, serial: int, work: Work, start: int, items: int, size: int) -> None:
        self.serial = serial
        self.work = work
        self.start = start
        self.items = items
        self.received = 0
        self.size = size  # bytes, there and back

    def keep(self, items: int) -> None:
        """Note that the worker runs only the first `items` items of it."""
        if items < self.items:  # it may be asked for again, and have none
            self.size = self.size * items // self.items
            self.items = items


class HeldChunks:
    """The chunks that a worker holds, in the order in which it runs them.

    Attributes:
        chunks: those that the worker is to answer. It has begun none but the first ones.
        discarded: serials of chunks that were reclaimed; the worker answers them without results.
        serial: that of the newest chunk.
    """

    __slots__ = ("_begun", "_begun_at", "_journal", "_number", "chunks", "discarded", "serial")

    def __init__(self, number: int, journal: ResultJournal | None) -> None:
        """Make those of worker `number`, which shares `journal` with us if there is one."""
        self._number = number
        self._journal = journal
        self.chunks: deque[SentChunk] = deque()
        self.discarded: set[int] = set()
        self.serial = 0
        self._begun = 0  # the serial of the chunk that has begun, where a message says so
        self._begun_at = 0.0  # when its last item began, as far as we know

    def begun(self) -> int:
        """Return how many of the chunks have begun, at least."""
        if self._journal is None or len(self.chunks) <= 1:
            # A single chunk cannot be reclaimed: the worker may be reading it at this moment.
            return min(1, len(self.chunks))
        journal = self._journal
        return sum([1 for sent in self.chunks if journal.has_begun(sent.serial)])

    def finished_ahead(self, number: int) -> int:
        """Return how many items of a call the worker has finished and not sent; see `Backend`.

        Any thread may call it. Without a journal each result is a message of its own: 0.
        """
        if self._journal is None:
            return 0
        try:
            sent = self.chunks[0]
        except IndexError:
            return 0
        if sent.work.number != number:
            return 0
        # In this order: more may be received meanwhile, and then the count is too low, not too
        # high.
        received = sent.received
        return max(0, min(self._journal.finished(sent.serial), sent.items) - received)

    def check_deadline(self, limit: float) -> tuple[float, bool] | None:
        """Return since when an item runs, and whether it is held; see `Backend.check_deadline`."""
        if not self.chunks:
            return None
        sent = self.chunks[0]
        if sent.work.call.rules.at_once:
            limit += _GRACE  # they end in time by themselves, unless one of them blocks the others
        if self._journal is not None:
            return self._journal.check_deadline(sent.serial, limit)
        if self._begun != sent.serial:
            return None
        # Without a journal it cannot be held: another item may begin at this very moment, and is
        # then lost with the worker.
        return self._begun_at, monotonic() - self._begun_at >= limit

    def reclaim(self) -> tuple[int, int | None]:
        """Reclaim what the worker has not begun; see `Backend.reclaim`."""
        items: int | None = None
        if self._journal is not None and self.chunks:
            if len(self.chunks) == 1 and not self._journal.has_begun(self.chunks[0].serial):
                # The worker may be reading it at this moment; another one would have to do so, too.
                return 1, None
            begun, kept = self._journal.reclaim(self.chunks[-1].serial)
            while self.chunks and self.chunks[-1].serial > begun:
                self.discarded.add(self.chunks.pop().serial)
            if self.chunks and self.chunks[-1].serial == begun and kept is not None:
                items = kept
                self.chunks[-1].keep(items)
        return len(self.chunks), items

    def begin(self, serial: int) -> None:
        """Note that an item of a chunk begins, where the worker says so by a message."""
        self._begun, self._begun_at = serial, monotonic()

    def finish(
        self,
        results: Packed,
        last: bool,
        elapsed: float,
        replace: bool = False,
        size: int = 0,
    ) -> ResultsArrived:
        """Return the event for results of the first chunk.

        Args:
            results: what the worker sent, or what its journal had.
            last: whether the worker is done with the chunk.
            elapsed: seconds that the whole chunk took.
            replace: whether the worker is to be replaced.
            size: bytes that these results took.
        """
        sent = self.chunks[0]
        start = sent.start + sent.received
        values: list[object]
        failures: dict[int, Exception] = {}
        if isinstance(results, list):
            values, failures = open_entries(sent.work, start, results)
        else:
            opened = unpacked(results)
            entries: list[Entry] = opened.tolist() if isinstance(opened, memoryview) else [*opened]
            values = entries
        sent.received += len(values)
        sent.size += size
        if last:
            self.chunks.popleft()
        return ResultsArrived(
            self._number, sent.work, start, values, failures, last, elapsed, replace, sent.size
        )

    def salvage(self) -> tuple[int, list[Entry]]:
        """Return how many items a dead worker had begun, and results that it had not sent."""
        if not self.chunks:
            return 0, []
        sent = self.chunks[0]
        if self._journal is None:
            left = sent.items - sent.received if sent.work.call.rules.at_once else 1
            return left if self._begun == sent.serial else 0, []
        begun, salvaged = self._journal.salvage(sent.serial, sent.received)
        left = sent.items - sent.received - len(salvaged)
        return (left if sent.work.call.rules.at_once else 1) if begun else 0, salvaged
