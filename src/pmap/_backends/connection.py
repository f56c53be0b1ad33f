"""One worker, as the caller knows it: its socket, what it was told, and the chunks it holds."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING

from .._transport import protocol
from .._transport.descriptors import Descriptor
from .._transport.framing import FrameReader, NotAMessage, frame, frame_of_entries, send_batch
from .._transport.light_stdlib import receive_with_fds, socket
from .._transport.packing import unpacked
from .._transport.segments import A_DESCRIPTOR, MOST, Segment
from .boot import keep, mark_of, release
from .launch import is_alive
from .protocol import ResultsArrived
from .results import open_entries
from .ties import NO_TIES, Ties, ties

if TYPE_CHECKING:
    from .._jobs.work import CallSpec, Work
    from .._transport.by_value.baseline import Baseline
    from .._transport.by_value.names import Needs
    from .._transport.by_value.sent_names import Unit
    from .._transport.environment import Environment
    from .._transport.framing import Message
    from .._transport.journal import ResultJournal
    from .._transport.packing import Entry, Packed
    from .._transport.segment_pool import LentSegments
    from .launch import Handle
    from .poller import Poller
    from .template_client import Template

# Bytes read or written at a time: enough to keep the calls few, and below the size from which
# malloc maps memory anew for each buffer (three system calls more for each message).
PIECE = 1 << 16
# Seconds beyond the limit that coroutines get to end by themselves.
_GRACE = 1.0
_TOO_MANY_REFS: int | None = getattr(errno, "ETOOMANYREFS", None)


class Sent:
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
        """Take in that the worker has only so many items of it."""
        if items < self.items:  # it may be asked for again, and have none
            self.size = self.size * items // self.items
            self.items = items


class Connection:
    """What is known of one worker, and what goes to it and comes from it."""

    def __init__(
        self,
        number: int,
        sock: socket,
        handle: Handle,
        journal: ResultJournal | None,
        environment: Environment | None,
        lent_segments: LentSegments,
        baseline: Baseline,
        slot: int,
        poller: Poller[Connection | Template],
        to_flush: dict[int, Connection],
    ) -> None:
        """Watch a worker that was started.

        Args:
            number: the worker's.
            sock: our end of its socket.
            handle: its process.
            journal: the memory that is shared with it, if there is any.
            environment: the surroundings that it begins with.
            lent_segments: what it has of our memory for large arguments.
            baseline: what it has of the caller's names from its beginning.
            slot: from 1 on; no other worker of the pool has it now.
            poller: what waits for it.
            to_flush: where it puts itself while it has something to send.
        """
        self.number = number
        self.slot = slot
        self.sock = sock
        self.mark = mark_of(sock)
        self.handle = handle
        self.journal = journal
        self.lent_segments = lent_segments
        self.baseline = baseline
        self.environment = environment
        self.reader = FrameReader()
        self.chunks: deque[Sent] = deque()
        self.discarded: set[int] = set()  # serials of chunks that were taken back
        self.told: dict[int, int] = {}  # by the number of a call spec, how many names of it
        self.units: set[int] = set()
        self.ties: Ties | None = NO_TIES  # what it was told of
        self.serial = 0
        self.ended = False  # its socket is at its end
        self.answered = False  # it is a Python, and at our entry; where nothing else says so
        self.ready = False
        self.is_leaving = False  # it was told to go since the interpreter ends
        self.broken: Exception | None = None
        self.why = ""  # why it is of no use any more, though it lived
        self.hopeless = False  # and no other one would be
        self._begun = 0  # the serial of the chunk that has begun, where a message says so
        self._begun_at = 0.0  # when its last item did, as far as we know
        # What it did not take yet, and the descriptors that go along with the first bytes of it.
        self._outbox: deque[tuple[memoryview, list[Segment | Descriptor]]] = deque()
        self._blocked = False  # it takes no more for now: the outbox waits
        self._later = b""  # goes along with the next message
        self._poller = poller
        self._to_flush = to_flush
        poller.watch(sock, self)
        if handle.sentinel is not None:
            poller.watch(handle.sentinel, self)

    # --- what goes to it -----------------------------------------------------------------------

    def write(self, data: bytes, segments: list[Segment | Descriptor] | None = None) -> None:
        """Send `data` with the next flush, behind what was written before."""
        if self._later:
            data = self._later + data
            self._later = b""
        self._outbox.append((memoryview(data), segments or []))
        self._to_flush[self.number] = self

    def write_later(self, data: bytes) -> None:
        """Send `data` along with what is written next."""
        self._later += data

    def flush(self) -> None:
        """Send as much as the worker takes now; the rest goes when it takes more."""
        outbox = self._outbox
        if len(outbox) > 1 and _are_small(outbox):
            joined = b"".join([data for data, _ in outbox])  # one system call for all
            outbox.clear()
            outbox.append((memoryview(joined), []))
        try:
            while outbox:
                data, segments = outbox[0]
                if segments:
                    sent = send_batch(self.sock, data, [segment.fd for segment in segments])
                    segments = segments[MOST:]
                else:
                    sent = self.sock.send(data)
                if sent == len(data):
                    outbox.popleft()
                else:
                    outbox[0] = data[sent:], segments
        except BlockingIOError:
            pass
        except OSError as error:
            # ETOOMANYREFS: too many descriptors are under way, and the workers take them soon. Else
            # the worker is gone: reading its socket tells.
            if error.errno != _TOO_MANY_REFS:
                outbox.clear()
        if bool(outbox) != self._blocked and not self.ended:
            self._blocked = bool(outbox)
            self._poller.watch_writing(self.sock, self._blocked)

    def introduce(self, spec: CallSpec, environment: Environment) -> None:
        """Send the function, and what surrounds it."""
        self.send_units(spec.needs)
        self.told[spec.number] = len(spec.needs.names)
        names, units = self.baseline.names_of(spec.needs), tuple(spec.needs.units)
        new = None if environment == self.environment else environment
        self.environment = environment
        message = frame_of_entries(
            lambda payload: (
                protocol.CALL_SPEC,
                spec.number,
                payload,
                units,
                names,
                spec.variables,
                *spec.rules.for_worker(),
                new,
            ),
            [spec.payload.entry],
        )
        self.write(message, spec.payload.attachments)

    def tell_more(self, spec: CallSpec) -> None:
        """Send the names that the items of a call need besides."""
        self.send_units(spec.needs)
        names = self.baseline.names_of(spec.needs)
        self.told[spec.number] = len(spec.needs.names)
        self.write(frame((protocol.NEEDS, spec.number, tuple(spec.needs.units), names)))

    def send_units(self, needs: Needs) -> None:
        """Send what it does not know yet of what `needs` refers to."""
        for number, unit in needs.units.items():
            if number not in self.units:
                self.units.add(number)
                self._send_unit(unit)

    def _send_unit(self, unit: Unit) -> None:
        versions = tuple(unit.versions), tuple(unit.definitions), tuple(unit.primed)
        message = frame_of_entries(
            lambda payload: (protocol.UNIT, unit.number, payload, *versions), [unit.payload.entry]
        )
        self.write(message, unit.payload.attachments)

    def tell_ties(self) -> None:
        """Send what `multiprocessing` has here, unless the worker knows."""
        now = ties()
        if now is not self.ties:
            self.ties = now
            attachments: list[Segment | Descriptor] = []
            tracker: list[Entry] = []
            copy = now.tracker
            if copy is not None:
                attachments, tracker = [copy], [[b"", (A_DESCRIPTOR,), 0]]
            self.write(frame((protocol.TIES, now.key, tracker)), attachments)

    def forget_units(self, dead: set[int]) -> None:
        """Let it forget the units that nothing refers to any more."""
        gone = self.units & dead
        if gone:
            self.units -= gone
            self.write_later(frame((protocol.FORGET, tuple(gone))))

    def drop(self, spec: CallSpec) -> None:
        """Let it forget a call spec, if it was told of it."""
        if spec.number in self.told:
            del self.told[spec.number]
            message = frame((protocol.DROP, spec.number))
            # It may learn of it with the next message, unless it keeps much memory for it.
            if spec.payload.size > PIECE:
                self.write(message)
            else:
                self.write_later(message)

    def discard(self, work: Work) -> None:
        """Tell it that nobody wants what it has of a call."""
        serials = [sent.serial for sent in self.chunks if sent.work is work]
        self.write(frame((protocol.DISCARD, serials)))

    # --- what it does --------------------------------------------------------------------------

    def begun(self) -> int:
        """Return how many of its chunks have begun, at least."""
        if self.journal is None or len(self.chunks) <= 1:
            # One that is alone cannot be taken back: the worker may be reading it just now.
            return min(1, len(self.chunks))
        journal = self.journal
        return sum([1 for sent in self.chunks if journal.has_begun(sent.serial)])

    def finished_ahead(self, number: int) -> int:
        """Return how many items of a call it has finished and not sent; see `Backend`.

        Without a journal each result is a message of its own, and none is.
        """
        if self.journal is None:
            return 0
        try:
            sent = self.chunks[0]
        except IndexError:
            return 0
        if sent.work.number != number:
            return 0
        # In this order. More may be received meanwhile, and then this is too few.
        received = sent.received
        return max(0, min(self.journal.finished(sent.serial), sent.items) - received)

    def check_deadline(self, limit: float) -> tuple[float, bool] | None:
        """Return since when its item runs, and whether for too long; see `Backend`."""
        if not self.chunks:
            return None
        sent = self.chunks[0]
        if sent.work.call.rules.at_once:
            limit += _GRACE  # they end in time by themselves, unless one of them blocks the others
        if self.journal is not None:
            return self.journal.check_deadline(sent.serial, limit)
        if self._begun != sent.serial:
            return None
        # It cannot be held here: another item may begin in just this moment, and fall with it.
        return self._begun_at, monotonic() - self._begun_at >= limit

    def reclaim(self) -> tuple[int, int | None]:
        """Take back what it has not begun; see `Backend.reclaim`."""
        items: int | None = None
        if self.journal is not None and self.chunks:
            if len(self.chunks) == 1 and not self.journal.has_begun(self.chunks[0].serial):
                return 1, None  # it may be reading it just now: another one had to do so, too
            begun, kept = self.journal.reclaim(self.chunks[-1].serial)
            while self.chunks and self.chunks[-1].serial > begun:
                self.discarded.add(self.chunks.pop().serial)
            if self.chunks and self.chunks[-1].serial == begun and kept is not None:
                items = kept
                self.chunks[-1].keep(items)
        return len(self.chunks), items

    def begin(self, serial: int) -> None:
        """Take in that an item of a chunk begins, where it says so by a message."""
        self._begun, self._begun_at = serial, monotonic()

    # --- what comes from it --------------------------------------------------------------------

    def messages(self, to_the_end: bool) -> Iterator[Message]:
        """Return what it has sent by now, and notice its end.

        `to_the_end`: nothing more comes, but what is there is not left for the next poll.
        """
        while not self.ended:
            try:
                data, fds = receive_with_fds(self.sock, PIECE, MOST)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", None
            if not data:
                if is_alive(self.handle.pid):
                    self.why = "it lost its connection: something in it closed descriptors"
                self.hang_up()
                return
            try:
                yield from self.reader.feed(data, fds)
            except NotAMessage:
                self.why = "something in it wrote into its connection"
                self.hang_up()
                return
            if len(data) < PIECE and not to_the_end:
                return  # more, or the end, shows at the next poll: one system call saved

    def finished(
        self, results: Packed, last: bool, elapsed: float, replace: bool = False
    ) -> ResultsArrived:
        """Take in results of the first chunk that it holds."""
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
        sent.size += self.reader.size
        if last:
            self.chunks.popleft()
        return ResultsArrived(
            self.number, sent.work, start, values, failures, last, elapsed, replace, sent.size
        )

    def salvage(self) -> tuple[int, list[Entry]]:
        """Return how many items a dead worker had begun, and what it had finished but not sent."""
        if not self.chunks:
            return 0, []
        sent = self.chunks[0]
        if self.journal is None:
            left = sent.items - sent.received if sent.work.call.rules.at_once else 1
            return left if self._begun == sent.serial else 0, []
        begun, salvaged = self.journal.salvage(sent.serial, sent.received)
        left = sent.items - sent.received - len(salvaged)
        return (left if sent.work.call.rules.at_once else 1) if begun else 0, salvaged

    # --- its end -------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Listen to it no more."""
        self.ended = True
        self._poller.unwatch(self.sock)

    def close(self) -> None:
        """Give back what is kept for a worker that has ended."""
        self._to_flush.pop(self.number, None)
        if not self.ended:
            self.hang_up()
        if self.handle.sentinel is not None:
            self._poller.unwatch(self.handle.sentinel)
        self.handle.release()
        self.sock.close()
        if self.journal is not None:
            self.journal.close()

    def forsake(self) -> None:
        """End the worker where the program has closed the descriptors; its memory is kept."""
        release(self.sock, self.mark)
        self.handle.forsake()
        keep(self.journal)

    def disown(self) -> None:
        """Give back what a fork has of its parent's worker."""
        self.sock.close()
        self.handle.disown()
        self.handle.release()


def _are_small(outbox: deque[tuple[memoryview, list[Segment | Descriptor]]]) -> bool:
    """Return whether messages are small, and without segments."""
    size = 0
    for data, segments in outbox:
        size += len(data)
        if segments or size >= PIECE:
            return False
    return True
