"""Shared-memory segments that are used again: a sender lends them, the receiver returns them.

To get new pages of memory takes longer than to copy data into pages, so a sender keeps some
segments. When nothing in the receiving process refers to a segment any more, the receiver tells the
sender so, by the number that the sender gave the segment. Then the sender may use the segment
again.
"""

from __future__ import annotations

from itertools import count

from .segments import Segment, most_at_once, room_for, write_into

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from typing_extensions import Buffer


# How many bytes of shared memory that is not in use are kept to be used again: so many by the
# caller, and so many by all its workers together. That is enough for some dozens of large arrays,
# and about a hundredth of a machine's memory.
KEPT: Final = 1 << 28

# A receiver may keep shared memory for ever. After this many requests for more that the sender had
# to refuse, the sender no longer expects back what it lent first.
_MOST_REFUSED = 16


class FreeSegments:
    """The segments (pieces of shared memory) of a sender that no receiver uses at the moment.

    The segment used last is at the end of the list. Each line of the code leaves the list in a
    correct state: between any two lines a signal handler may raise an exception, or another thread
    may fork.
    """

    def __init__(self) -> None:
        self._free: list[Segment] = []

    @property
    def size(self) -> int:
        """How many bytes the free segments have together."""
        return sum([segment.size for segment in self._free])

    def written(self, buffers: Sequence[Buffer]) -> Segment | None:
        """Return a segment (shared memory) that holds `buffers`.

        The result is None if the system has no segment for them.
        """
        return write_into(self._take(room_for(buffers)), buffers)

    def _take(self, size: int) -> Segment | None:
        # The best choice is the smallest segment that is at least as large as `size`, and at most
        # twice as large. If there is no such segment, take the largest of the smaller segments,
        # which has the most pages already.
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
        """Add a segment, which no process uses any more, to the free segments."""
        self._free.append(segment)

    def shrink(self, room: int, most: int) -> None:
        """Free the segments used longest ago, down to `room` bytes and `most` segments in all."""
        while self._free and (len(self._free) > most or self.size > room):
            self._free.pop(0)


def _size(segment: Segment) -> int:
    return segment.size


_numbers = count(1)


class LentSegments:
    """The segments (pieces of shared memory) that a sender has lent to one receiver.

    A segment comes back when nothing in the receiving process refers to the segment any more.
    """

    def __init__(self, free_segments: FreeSegments, room: int, most: int) -> None:
        """Begin without lent segments.

        Args:
            free_segments: where segments come from and go back to; the segments lent to other
                receivers may come from there, too.
            room: bytes that the segments lent to this receiver and the free segments may have
                together.
            most: how many segments this receiver may have. `most_at_once` limits the number of its
                segments and of the free segments together.
        """
        self._free_segments = free_segments
        self._room = room
        self._most = most
        self._lent: dict[int, Segment] = {}  # the segments that are lent, by their numbers
        # How many requests for shared memory were refused since the sender last gave up memory that
        # it had lent.
        self._refused = 0

    def written(self, buffers: Sequence[Buffer]) -> Segment | None:
        """Return a segment that holds `buffers`, or None if the system has no segment for them.

        If the segment is lent, it has a number, and the receiver returns this number when the
        receiver no longer uses the segment. A segment with the number 0 belongs to the receiver.
        """
        segment = self._free_segments.written(buffers)
        if segment is not None:
            segment.number = 0
            if self._make_room(segment.size) and segment.keep():
                segment.number = next(_numbers)
                self._lent[segment.number] = segment
        return segment

    def _make_room(self, size: int) -> bool:
        """Return whether a segment of `size` bytes may be lent.

        If it may be lent, release free segments to make room for the lent one.
        """
        lent = self._lent
        left = self._room - size - self._bytes_lent()
        most = most_at_once()
        if len(lent) < min(self._most, most) and left >= 0:
            self._free_segments.shrink(left, most - len(lent) - 1)
            return True
        # The receiver may return shared memory soon, and memory that was used before is better than
        # new memory. So the new memory is not lent. But a receiver may keep what was lent for as
        # long as it lives. So after `_MOST_REFUSED` refusals the memory that was lent first belongs
        # to the receiver.
        self._refused += 1
        if self._refused > _MOST_REFUSED and lent:
            self._refused = 0
            del lent[next(iter(lent))]
        return False

    def _bytes_lent(self) -> int:
        return sum([segment.size for segment in self._lent.values()])

    def back(self, numbers: Sequence[int]) -> None:
        """Take back the segments with these numbers, which the receiver uses no more."""
        for number in numbers:
            # None: the sender has stopped to expect this memory back, and the receiver keeps it.
            segment = self._lent.pop(number, None)
            if segment is not None:
                self._free_segments.put(segment)
        left = self._room - self._bytes_lent()
        self._free_segments.shrink(left, most_at_once() - len(self._lent))
