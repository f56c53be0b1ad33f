"""The chunks that one worker process holds: which it has begun, which it can give back."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from .._transport.packing import unpacked
from .._transport.times import unpack_times
from .finished_calls import FinishedCalls
from .protocol import ResultsArrived
from .results import open_entries
from .sent_chunk import SentChunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._jobs.work import Work
    from .._transport.journal import ResultJournal
    from .._transport.packing import Entry, Packed

# A coroutine whose time limit is over may still end by itself within this many seconds, before the
# caller ends its worker process.
_GRACE = 1.0


class HeldChunks:
    """The chunks that a worker holds, in the order in which it runs them.

    Attributes:
        chunks: the chunks whose results have not all come. Those that the worker has begun are the
            first ones.
        calls: takes the results of calls of one item, to hand over many at a time.
        discarded: the serial numbers of chunks that were taken back from the worker; the worker
            still answers each of these with a message, which has no results.
        serial: the serial number of the newest chunk.
    """

    __slots__ = (
        "_begun",
        "_begun_at",
        "_journal",
        "_number",
        "calls",
        "chunks",
        "discarded",
        "serial",
    )

    def __init__(self, number: int, journal: ResultJournal | None) -> None:
        """Begin without chunks, for the worker `number`.

        `journal`: the memory that the worker shares with the caller, and in which it notes each
        result; None if there is none.
        """
        self._number = number
        self._journal = journal
        self.chunks: deque[SentChunk] = deque()
        self.calls = FinishedCalls(number, self.chunks)
        self.discarded: set[int] = set()
        self.serial = 0
        # Only a worker that shares no memory with the caller sends a message when it begins an
        # item. These attributes have the chunk's number in the last such message, and the time at
        # which it came.
        self._begun = 0
        self._begun_at = 0.0

    def begun(self) -> int:
        """Return how many chunks the worker has begun; at least so many, if that is not known."""
        if self._journal is None or len(self.chunks) <= 1:
            # A single chunk counts as begun, because the worker may be reading it now.
            return min(1, len(self.chunks))
        journal = self._journal
        return sum([1 for sent in self.chunks if journal.has_begun(sent.serial)])

    def finished_ahead(self, number: int) -> int:
        """Return how many items of a call have ended in the worker without a result being sent.

        `number` is the number of the call. Any thread may call this method. The worker notes
        finished items in memory that it shares with the caller. Without such memory the worker
        sends each result at once, so the method returns 0.
        """
        if self._journal is None:
            return 0
        try:
            sent = self.chunks[0]
        except IndexError:
            return 0
        if sent.work.number != number:
            return 0
        # The number of results that have come is read before the number that the worker has noted.
        # So results that come in between make the difference too low, but never too high.
        received = sent.received
        return max(0, min(self._journal.finished(sent.serial), sent.items) - received)

    def check_deadline(self, limit: float) -> tuple[float, bool] | None:
        """Return when the running item began, and whether it has run for `limit` seconds.

        Return None if no item runs. If the item has run for `limit` seconds, the worker is kept
        from beginning another one.
        """
        if not self.chunks:
            return None
        sent = self.chunks[0]
        if sent.work.call.rules.at_once:
            # The items are coroutines. Each of them ends in time by itself, unless one of them
            # blocks the event loop.
            limit += _GRACE
        if self._journal is not None:
            return self._journal.check_deadline(sent.serial, limit)
        if self._begun != sent.serial:
            return None
        # A worker without shared memory cannot be kept from beginning another item. If it begins
        # one at this moment, the item is lost when the worker is killed.
        return self._begun_at, monotonic() - self._begun_at >= limit

    def reclaim(self) -> tuple[int, int | None]:
        """Take back the chunks and items that the worker has not begun.

        Return how many chunks the worker keeps, and how many items of the last of these chunks. The
        second value is None if the worker keeps all items of that chunk.
        """
        items: int | None = None
        if self._journal is not None and self.chunks:
            if len(self.chunks) == 1 and not self._journal.has_begun(self.chunks[0].serial):
                # The worker has a single chunk, and has not begun it. The worker keeps this chunk:
                # it may be reading the chunk at this moment, and another worker would have to read
                # it once more.
                return 1, None
            begun, kept = self._journal.reclaim(self.chunks[-1].serial)
            while self.chunks and self.chunks[-1].serial > begun:
                self.discarded.add(self.chunks.pop().serial)
            if self.chunks and self.chunks[-1].serial == begun and kept is not None:
                items = kept
                self.chunks[-1].keep(items)
        return len(self.chunks), items

    def stop_begun(self, work: Work) -> None:
        """If the worker runs a chunk of the call `work`, let no further item of it begin."""
        if self._journal is not None and self.chunks and self.chunks[0].work is work:
            self._journal.reclaim(self.chunks[0].serial)

    def reclaim_all(self) -> None:
        """Let no further item of any chunk begin; this is for a worker that cannot be killed.

        If an item of the worker ran for too long, the worker was kept from beginning another one.
        That is not necessary any more, because no items are left to begin.
        """
        if self._journal is not None and self.chunks:
            self._journal.reclaim(self.chunks[-1].serial)
            self._journal.release()

    def begin(self, serial: int) -> None:
        """Record that an item of the chunk `serial` begins, as the worker has told in a message.

        Only a worker that shares no memory with the caller sends such messages.
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
        """Return the event with the results that have come of the worker's first chunk.

        Args:
            results: the results as the worker has sent them, or as the caller has read them from
                the shared memory.
            last: whether these are the last results of the chunk.
            elapsed: seconds that the whole chunk took.
            replace: whether the worker is to be replaced by a new one.
            size: bytes of the message with these results, and of the shared memory that came with
                the message.
            times: the part of the message that has the begin and the end of each item; empty if the
                items are not timed.
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

        The results are read from the memory that the worker shared with the caller.
        """
        if not self.chunks:
            return 0, []
        sent = self.chunks[0]
        if self._journal is None:
            left = sent.items - sent.received if sent.work.call.rules.at_once else 1
            return left if self._begun == sent.serial else 0, []
        begun, salvaged = self._journal.salvage(sent.serial, sent.received)
        left = sent.items - sent.received - len(salvaged)
        lost = self._journal.lost(sent.serial, sent.received)
        if lost:
            # Some results were lost on their way, and the journal only has later ones. The items of
            # the lost results have run. So they count as begun, and run again only if the call asks
            # for retries.
            return min(sent.items - sent.received, lost + len(salvaged) + begun), []
        return (left if sent.work.call.rules.at_once else 1) if begun else 0, salvaged
