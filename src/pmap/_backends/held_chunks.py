"""The chunks that one worker process holds: which have begun, can be reclaimed, are finished."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from .._transport.packing import unpacked
from .._transport.times import unpack_times
from .protocol import ResultsArrived
from .results import open_entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._jobs.work import Work
    from .._transport.journal import ResultJournal
    from .._transport.packing import Entry, Packed

# Seconds after the time limit of an item in which coroutines may still end by themselves, before
# the caller ends their worker.
_GRACE = 1.0


class SentChunk:
    """A chunk that a worker holds.

    Attributes:
        serial: the number of the chunk among all that the worker was sent.
        work: the call of the chunk.
        start: the index of the first item in the call.
        items: how many items the worker is to run.
        received: how many results have come.
        size: bytes of the chunk and of the results that have come.
    """

    __slots__ = ("items", "received", "serial", "size", "start", "work")

    def __init__(self, serial: int, work: Work, start: int, items: int, size: int) -> None:
        self.serial = serial
        self.work = work
        self.start = start
        self.items = items
        self.received = 0
        self.size = size

    def keep(self, items: int) -> None:
        """Record that the worker runs only the first `items` items of the chunk."""
        # A chunk may be reclaimed twice and have no items left: then nothing is divided by zero.
        if items < self.items:
            self.size = self.size * items // self.items
            self.items = items


class HeldChunks:
    """The chunks that a worker holds, in the order in which it runs them.

    Attributes:
        chunks: the chunks for which results are to come. If the worker has begun some of them,
            these are the first ones.
        discarded: the serial numbers of chunks that were reclaimed; the worker still answers each
            of these with a message, which has no results.
        serial: the serial number of the newest chunk.
    """

    __slots__ = ("_begun", "_begun_at", "_journal", "_number", "chunks", "discarded", "serial")

    def __init__(self, number: int, journal: ResultJournal | None) -> None:
        """Start with no chunks.

        Args:
            number: the number of the worker.
            journal: the result journal that the worker shares with the caller; None: none.
        """
        self._number = number
        self._journal = journal
        self.chunks: deque[SentChunk] = deque()
        self.discarded: set[int] = set()
        self.serial = 0
        # Without a result journal the worker sends a message when it begins an item. These are the
        # serial number of the chunk in the last such message, and when the message came.
        self._begun = 0
        self._begun_at = 0.0

    def begun(self) -> int:
        """Return how many chunks the worker has begun, at least."""
        if self._journal is None or len(self.chunks) <= 1:
            # A single chunk counts as begun: the worker may be reading it at this moment.
            return min(1, len(self.chunks))
        journal = self._journal
        return sum([1 for sent in self.chunks if journal.has_begun(sent.serial)])

    def finished_ahead(self, number: int) -> int:
        """Return how many items of a call the worker has finished without sending the results.

        `number` is the number of the call. Any thread may call this method. Without a result
        journal the worker sends each result in a message of its own, so the method returns 0. See
        `Backend.finished_ahead`.
        """
        if self._journal is None:
            return 0
        try:
            sent = self.chunks[0]
        except IndexError:
            return 0
        if sent.work.number != number:
            return 0
        # `received` is read before the result journal: if results arrive between the two reads, the
        # count is too low, and never too high.
        received = sent.received
        return max(0, min(self._journal.finished(sent.serial), sent.items) - received)

    def check_deadline(self, limit: float) -> tuple[float, bool] | None:
        """Return since when an item runs, and whether the item is overdue.

        See `Backend.check_deadline`.
        """
        if not self.chunks:
            return None
        sent = self.chunks[0]
        if sent.work.call.rules.at_once:
            # The items are coroutines, which end in time by themselves, unless one of the
            # coroutines blocks the event loop.
            limit += _GRACE
        if self._journal is not None:
            return self._journal.check_deadline(sent.serial, limit)
        if self._begun != sent.serial:
            return None
        # Without a result journal the worker cannot be held: it may begin another item at this
        # moment, and that item is then lost with the worker.
        return self._begun_at, monotonic() - self._begun_at >= limit

    def reclaim(self) -> tuple[int, int | None]:
        """Reclaim the chunks and items that the worker has not begun; see `Backend.reclaim`."""
        items: int | None = None
        if self._journal is not None and self.chunks:
            if len(self.chunks) == 1 and not self._journal.has_begun(self.chunks[0].serial):
                # A single chunk that has not begun stays: the worker may be reading the chunk at
                # this moment, and another worker would have to read the chunk anew.
                return 1, None
            begun, kept = self._journal.reclaim(self.chunks[-1].serial)
            while self.chunks and self.chunks[-1].serial > begun:
                self.discarded.add(self.chunks.pop().serial)
            if self.chunks and self.chunks[-1].serial == begun and kept is not None:
                items = kept
                self.chunks[-1].keep(items)
        return len(self.chunks), items

    def begin(self, serial: int) -> None:
        """Record that an item of a chunk begins, as a message of the worker says.

        Only a worker without a result journal sends such messages.
        """
        self._begun, self._begun_at = serial, monotonic()

    def finish(
        self,
        results: Packed,
        last: bool,
        elapsed: float,
        replace: bool = False,
        size: int = 0,
        times: Sequence[bytes] = (),
    ) -> ResultsArrived:
        """Return the event for results of the first chunk.

        Args:
            results: the results as the worker has sent them, or as its result journal had them.
            last: whether the worker is done with the chunk.
            elapsed: seconds that the whole chunk took.
            replace: whether the worker is to be replaced.
            size: bytes of the message that carried these results, with its segments.
            times: the word of the message that has the times of the items; empty: it has none.
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
        event = ResultsArrived(
            self._number, sent.work, start, values, failures, last, elapsed, replace, sent.size
        )
        return event._replace(times=unpack_times(times[0])) if times else event

    def salvage(self) -> tuple[int, list[Entry]]:
        """Return how many unfinished items a dead worker had begun, and its unsent results.

        The results are message entries from the worker's result journal.
        """
        if not self.chunks:
            return 0, []
        sent = self.chunks[0]
        if self._journal is None:
            left = sent.items - sent.received if sent.work.call.rules.at_once else 1
            return left if self._begun == sent.serial else 0, []
        begun, salvaged = self._journal.salvage(sent.serial, sent.received)
        left = sent.items - sent.received - len(salvaged)
        return (left if sent.work.call.rules.at_once else 1) if begun else 0, salvaged
