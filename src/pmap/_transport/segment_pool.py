"""Segments that are used again: lent to a receiver, and free when it has let them go.

New pages of memory cost more than the copy into them, so a sender keeps some segments. The receiver
says, by a number that is the sender's, when nothing there refers to a segment any more.
"""

from __future__ import annotations

from itertools import count

from .segments import Segment, most_at_once, room_for, write_into

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from typing_extensions import Buffer


# Bytes of segments that a pool keeps to use them again, at most: so many of the caller, and so many
# of its workers together. Some dozens of large arrays, or a hundredth of a machine's memory.
KEPT: Final = 1 << 28

_MOST_REFUSED = 16  # segments that are not lent while all that may be are


class FreeSegments:
    """A sender's segments that nobody uses just now, the one that was used last at the end.

    The list is all that is known of them, and each line leaves it whole: a signal's exception may
    strike between any two, and another thread fork.
    """

    def __init__(self) -> None:
        """Make an empty one."""
        self._free: list[Segment] = []

    @property
    def size(self) -> int:
        """How many bytes they have."""
        return sum([segment.size for segment in self._free])

    def written(self, buffers: Sequence[Buffer]) -> Segment | None:
        """Return a segment that holds `buffers`, or None where none can be had."""
        return write_into(self._take(room_for(buffers)), buffers)

    def _take(self, size: int) -> Segment | None:
        # A little larger is better than smaller; else the largest of these has most of the pages.
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
        """Take a segment back, which nobody has mapped any more."""
        self._free.append(segment)

    def shrink(self, room: int, most: int) -> None:
        """Give those back that were not used for longest: keep `room` bytes, and `most` of them."""
        while self._free and (len(self._free) > most or self.size > room):
            self._free.pop(0)


def _size(segment: Segment) -> int:
    return segment.size


_numbers = count(1)


class LentSegments:
    """Segments that one receiver has, and that come back when nothing there refers to them."""

    def __init__(self, free_segments: FreeSegments, room: int, most: int) -> None:
        """Lend nothing yet.

        Args:
            free_segments: where they come from and go back to; others may use it, too.
            room: bytes of those that this receiver has and of the free ones, at most.
            most: how many this receiver may have; `most_at_once` limits these and the others.
        """
        self._free_segments = free_segments
        self._room = room
        self._most = most
        self._lent: dict[int, Segment] = {}  # by number
        self._refused = 0  # for want of room, since that was last made

    def written(self, buffers: Sequence[Buffer]) -> Segment | None:
        """Return a segment that holds `buffers`, or None where none can be had.

        The receiver is to say its number when it is through with it; if that is 0, it need not.
        """
        segment = self._free_segments.written(buffers)
        if segment is not None:
            segment.number = 0
            if self._make_room(segment.size) and segment.keep():
                segment.number = next(_numbers)
                self._lent[segment.number] = segment
        return segment

    def _make_room(self, size: int) -> bool:
        """Return whether one more of `size` may be lent; gives free ones back to make room."""
        lent = self._lent
        left = self._room - size - self._bytes_lent()
        most = most_at_once()
        if len(lent) < min(self._most, most) and left >= 0:
            self._free_segments.shrink(left, most - len(lent) - 1)
            return True
        # All of them may come back at once, and those that were used before are the better ones.
        # But a receiver may keep some for as long as it lives: what it has had for longest is its
        # own, when it was asked often enough.
        self._refused += 1
        if self._refused > _MOST_REFUSED and lent:
            self._refused = 0
            del lent[next(iter(lent))]
        return False

    def _bytes_lent(self) -> int:
        return sum([segment.size for segment in self._lent.values()])

    def back(self, numbers: Sequence[int]) -> None:
        """Take in which segments the receiver is through with."""
        for number in numbers:
            segment = self._lent.pop(number, None)  # None: it is not waited for any more
            if segment is not None:
                self._free_segments.put(segment)
        left = self._room - self._bytes_lent()
        self._free_segments.shrink(left, most_at_once() - len(self._lent))
