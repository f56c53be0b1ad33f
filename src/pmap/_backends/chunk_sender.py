"""Sends chunks to worker processes: items as bytes, large buffers in shared-memory segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from .._transport import protocol
from .._transport.framing import frame, frame_of_entries
from .._transport.packing import packed
from .._transport.segment_pool import KEPT, FreeSegments, LentSegments
from .._transport.values import Attachments, encode
from .sent_chunk import SentChunk
from .ties import ties

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .._jobs.work import Work
    from .._transport.environment import Environment
    from .._transport.packing import Entry
    from .._transport.segments import Segment
    from .connection import Connection

# If this many bytes wait to be sent, they are sent at once, so that the worker can begin, and not
# only with the next chunk.
_AT_ONCE = 1 << 13
# At most this many shared-memory segments with large arguments may be lent to one worker at a time.
# The caller uses such a segment again when the worker has given it back.
_MOST_LENT = 16


class ChunkSender:
    """Sends chunks of items to the workers of one pool; the description of the call goes first.

    Attributes:
        has_lent: whether a shared-memory segment has carried arguments since the last
            `release_segments`.
    """

    def __init__(self, limited: Callable[[Environment], Environment]) -> None:
        """Begin without shared memory.

        `limited`: a function that returns an environment with the limits of a worker, such as on
        threads, added.
        """
        self._limited = limited
        self._free_segments = FreeSegments()
        self.has_lent = False

    def send(self, to: Connection, work: Work, start: int, stop: int, step: int) -> None:
        """Send a worker the items `start` to `stop` - 1 of a call; `step` is as in `Backend.send`.

        If the worker does not have the call spec yet (the function, the names that it uses, the
        options), the call spec is sent first.
        """
        spec = work.spec
        assert spec is not None, "it was not packed"
        definitions, held = to.definitions, to.held
        if definitions.ties is not ties():
            definitions.send_ties()
        if spec.number not in definitions.told:
            definitions.introduce(spec, self._limited(spec.environment))
        gone = to.reader.gone()
        # The worker has sent results in these pieces of shared memory, and the caller uses them no
        # more. This message tells the worker that it may use them again.
        if gone:
            to.outbox.write(frame(protocol.make_back(gone)))
        held.serial += 1
        items = work.call.items[start:stop]
        entries = packed(items)
        if entries is None:
            self._send_encoded(to, work, start, items, step)
            return
        chunk: protocol.Chunk
        chunk = protocol.CHUNK, spec.number, held.serial, entries, step, start
        try:
            message = frame(chunk)
        except ValueError:
            # `marshal`, which writes plain items, cannot write so large a message.
            self._send_encoded(to, work, start, items, step)
            return
        held.chunks.append(SentChunk(held.serial, work, start, stop - start, len(message)))
        to.outbox.write(message)
        if len(message) >= _AT_ONCE:
            to.outbox.flush()

    def _send_encoded(
        self, to: Connection, work: Work, start: int, items: Sequence[object], step: int
    ) -> None:
        """Send a chunk with items that must be pickled, or with large items."""
        spec = work.spec
        assert spec is not None, "it was not packed"
        attachments = Attachments(lambda buffers: self._lend(to, buffers))
        entries = _encoded(work, start, items, attachments)
        if len(spec.needs.names) > to.definitions.told[spec.number]:
            to.definitions.send_more_names(spec)
        serial = to.held.serial

        def make(entries: list[Entry]) -> protocol.Chunk:
            return protocol.CHUNK, spec.number, serial, entries, step, start

        message = frame_of_entries(make, entries)
        size = len(message) + attachments.size
        to.held.chunks.append(SentChunk(serial, work, start, len(items), size))
        to.outbox.write(message, attachments.segments)

    def _lend(self, to: Connection, buffers: Sequence[Buffer]) -> Segment | None:
        """Return a shared-memory segment that holds `buffers`, or None if none can be made.

        If the segment is lent, the worker gives it back as soon as nothing in the worker refers to
        it.
        """
        segment = to.lent_segments.written(buffers)
        self.has_lent = self.has_lent or segment is not None
        return segment

    def lent_segments(self) -> LentSegments:
        """Return a new object that lends shared-memory segments of the caller to one new worker."""
        return LentSegments(self._free_segments, KEPT, _MOST_LENT)

    def release_segments(self, connections: Iterable[Connection]) -> None:
        """Release all shared-memory segments that the caller keeps for a second use.

        The objects that kept them are replaced, and not emptied: this process may be a fork, made
        while another thread was changing these objects.
        """
        self.has_lent = False
        self._free_segments = FreeSegments()
        for connection in connections:
            connection.lent_segments = self.lent_segments()


def _encoded(
    work: Work, start: int, items: Sequence[object], attachments: Attachments
) -> list[Entry]:
    """Return what the message contains for each item: a plain value or a pickle.

    For an item that cannot be pickled, the list has an empty entry, and `work.unsent` has the
    error.
    """
    entries: list[Entry] = []
    assert work.spec is not None, "it was not packed"
    needs = work.spec.needs
    for index, item in enumerate(items, start):
        try:
            entries.append(encode(item, attachments=attachments, role=needs))
        except BaseException as error:
            # To pickle an item runs the user's code, which may raise anything.
            work.note_unsent(index, item, error)
            entries.append([])
    return entries
