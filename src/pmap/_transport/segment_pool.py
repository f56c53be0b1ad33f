"""Segments that are used again: lent to a receiver, and free once the receiver returns them.

New pages of memory cost more than the copy into them, so a sender keeps some segments. When nothing
in the receiver refers to a segment any more, the receiver says so, by the number that the sender
gave the segment.
"""

from __future__ import annotations

from itertools import count

from .segments import Segment, most_at_once, room_for, write_into

TYPE_CHECKING = False  # `typing` is not imported here: see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from typing_extensions import Buffer


# Bytes of segments that a pool keeps for their next use, at most: so many at the caller, and so
# many in all its workers together. That is some dozens of large arrays, or a hundredth of a
# machine's memory.
KEPT: Final = 1 << 28

_MOST_REFUSED = 16  # after so many refusals to lend a segment, the oldest lent one is given up


class FreeSegments:
    """A sender's segments that nobody uses now; the one that was used last is at the end.

    The list is all that is known of them, and each line leaves it whole: a signal's exception may
    strike between any two lines, and another thread may fork there.
    """

    def __init__(self) -> None:
        """Start with no segment."""
        self._free: list[Segment] = []

    @property
    def size(self) -> int:
        """How many bytes the segments have."""
        return sum([segment.size for segment in self._free])

    def written(self, buffers: Sequence[Buffer]) -> Segment | None:
        """Return a segment that holds `buffers`, or None where none can be had."""
        return write_into(self._take(room_for(buffers)), buffers)

    def _take(self, size: int) -> Segment | None:
        # A segment that is a little too large is the best choice. Else take the largest of the
        # smaller ones: it has the most pages already.
        while True:
            fitting = [one for one in self._free if size <= one.size <= 2 * size]
            smaller = [one for one in self._free if one.size < size]
            if not fitting and not smaller:
                return Segment.new()
            segment = min(fitting, key=_size) if fitting else max(smaller, key=_size)
            self._free.remove(segment)
            if segment.is_open():
                return segment

    def put(self, segment: Segment) -> None:
        """Add a segment that no process has mapped any more."""
        self._free.append(segment)

    def shrink(self, room: int, most: int) -> None:
        """Release the segments unused for longest; keep `room` bytes and `most` segments."""
        while self._free and (len(self._free) > most or self.size > room):
            self._free.pop(0)


def _size(segment: Segment) -> int:
    return segment.size


_numbers = count(1)


class LentSegments:
    """The segments that one receiver has; each comes back when nothing there refers to it."""

    def __init__(self, free_segments: FreeSegments, room: int, most: int) -> None:
        """Start with no segment lent.

        Args:
            free_segments: where segments come from and go back to; other receivers may share it.
            room: bytes that this receiver's segments and the free ones may have together.
            most: how many segments this receiver may have; `most_at_once` limits these and the free
                ones together.
        """
        self._free_segments = free_segments
        self._room = room
        self._most = most
        self._lent: dict[int, Segment] = {}  # the lent segments, by number
        self._refused = 0  # how many segments could not be lent since one was last given up

    def written(self, buffers: Sequence[Buffer]) -> Segment | None:
        """Return a segment that holds `buffers`, or None where none can be had.

        If the segment has a number, the receiver returns that number when it no longer uses the
        segment; with the number 0 it does not.
        """
        segment = self._free_segments.written(buffers)
        if segment is not None:
            segment.number = 0
            if self._make_room(segment.size) and segment.keep():
                segment.number = next(_numbers)
                self._lent[segment.number] = segment
        return segment

    def _make_room(self, size: int) -> bool:
        """Return whether a segment of `size` may be lent; release free ones to make room for it."""
        lent = self._lent
        left = self._room - size - self._bytes_lent()
        most = most_at_once()
        if len(lent) < min(self._most, most) and left >= 0:
            self._free_segments.shrink(left, most - len(lent) - 1)
            return True
        # All lent segments may come back at once, and segments that were used before are the better
        # ones. But a receiver may keep some of them for as long as it lives. After enough refusals
        # the one that it has had for longest no longer counts as lent: it is the receiver's own.
        self._refused += 1
        if self._refused > _MOST_REFUSED and lent:
            self._refused = 0
            del lent[next(iter(lent))]
        return False

    def _bytes_lent(self) -> int:
        return sum([segment.size for segment in self._lent.values()])

    def back(self, numbers: Sequence[int]) -> None:
        """Take back the segments with these numbers: the receiver no longer uses them."""
        for number in numbers:
            # If it is None, the sender has given this segment up.
            segment = self._lent.pop(number, None)
            if segment is not None:
                self._free_segments.put(segment)
        left = self._room - self._bytes_lent()
        self._free_segments.shrink(left, most_at_once() - len(self._lent))
