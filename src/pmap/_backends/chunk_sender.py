"""Sending chunks to workers: items as bytes, and large arguments in segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from .._errors import is_ctrl_c
from .._transport import protocol
from .._transport.framing import frame, frame_of_entries
from .._transport.packing import packed
from .._transport.segment_pool import KEPT, FreeSegments, LentSegments
from .._transport.values import Attachments, encode
from .held_chunks import SentChunk
from .ties import ties

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .._jobs.work import Work
    from .._transport.environment import Environment
    from .._transport.packing import Entry
    from .._transport.segments import Segment
    from .connection import Connection

# A chunk of so many bytes is sent before the next one is made: the worker need not wait for that.
_AT_ONCE = 1 << 13
# Segments that a worker may have at a time, of those that we use again.
_MOST_LENT = 16


class ChunkSender:
    """Sends chunks to the workers of one pool, after what they need to run them.

    Attributes:
        has_lent: whether a segment was lent, or is kept, since the last `release_segments`.
    """

    def __init__(self, limited: Callable[[Environment], Environment]) -> None:
        """Keep no segments yet; `limited`: gives an environment the limits of workers."""
        self._limited = limited
        self._free_segments = FreeSegments()
        self.has_lent = False

    def send(self, to: Connection, work: Work, start: int, stop: int, step: int) -> None:
        """Send items `start` to `stop` - 1 of a call; `step`: see `Backend.send`."""
        spec = work.spec
        assert spec is not None, "it was not packed"
        definitions, held = to.definitions, to.held
        if definitions.ties is not ties():
            definitions.send_ties()
        if spec.number not in definitions.told:
            definitions.introduce(spec, self._limited(spec.environment))
        gone = to.reader.gone()
        if gone:  # the worker may use the segments of these results again
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
        except ValueError:  # it is too large for marshal
            self._send_encoded(to, work, start, items, step)
            return
        held.chunks.append(SentChunk(held.serial, work, start, stop - start, len(message)))
        to.outbox.write(message)
        if len(message) >= _AT_ONCE:
            to.outbox.flush()

    def _send_encoded(
        self, to: Connection, work: Work, start: int, items: Sequence[object], step: int
    ) -> None:
        """Send items that are to be pickled, or that are large."""
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
        """Return a segment that holds `buffers`; it comes back when the worker is through."""
        segment = to.lent_segments.written(buffers)
        self.has_lent = self.has_lent or segment is not None
        return segment

    def lent_segments(self) -> LentSegments:
        """Return the segments of a new worker, which has none yet."""
        return LentSegments(self._free_segments, KEPT, _MOST_LENT)

    def release_segments(self, connections: Iterable[Connection]) -> None:
        """Give back all segments that are kept to use them again.

        New objects take the place of the old ones, in which nothing is changed: this process may be
        a fork that was made while another thread changed them.
        """
        self.has_lent = False
        self._free_segments = FreeSegments()
        for connection in connections:
            connection.lent_segments = self.lent_segments()


def _encoded(
    work: Work, start: int, items: Sequence[object], attachments: Attachments
) -> list[Entry]:
    """Return the entries of items; of one that cannot be pickled an empty one, noted in `work`."""
    entries: list[Entry] = []
    assert work.spec is not None, "it was not packed"
    needs = work.spec.needs
    for index, item in enumerate(items, start):
        try:
            entries.append(encode(item, attachments=attachments, role=needs))
        except BaseException as error:  # whatever the object's own pickling does
            if is_ctrl_c(error):
                raise
            work.unsent = work.unsent or {}
            work.unsent[index] = error, _where(item, error)
            entries.append([])
    return entries


def _where(item: object, error: BaseException) -> str:
    """Return in words which part of an item cannot be pickled, as far as that can be found."""
    if not isinstance(error, Exception):
        return ""
    from .._transport.by_value.blame import where_it_fails

    return where_it_fails(item, "the argument", error)
