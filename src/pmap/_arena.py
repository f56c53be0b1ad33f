"""The arena: memory that a worker shares with its caller, where results outlive the worker.

A result must be safe from the moment the next item begins, or else the death of one item would cost
its neighbours in the chunk; and a message for each item would make tiny items slow. So each result
is noted here as soon as it is there. Only if the worker dies does the caller read it.

The arena begins with `_WORDS` 64-bit words::

    SERIAL   of the chunk that has begun
    SENT     how many of its results were sent as messages before those noted here
    HOW      how those are noted: NOTHING, RECORDS, or the lane of ints or of floats
    COUNT    RECORDS: how many are whole; a lane: how many slots it has

*Records* are marshalled entries one behind the other; the count is raised when a record is whole.
A *lane* is an array of 64-bit slots, filled with a mark beforehand; writing a slot is one aligned
store, so it is either the mark or whole. The last slot that is not the mark is the last result.
Where a result happens to equal the mark (one in 2 ** 64) the reader may count one result too few,
and reports the item as lost, which is safe.

Each change is written so that a worker that dies between any two stores leaves less noted than it
had finished, never more and never something old.
"""

import io
import marshal
import mmap
import struct
from typing import Final

from ._wire import Entry

__all__ = ["LANES", "LANE_SLOTS", "Arena"]

_WORDS = 4
_SERIAL, _SENT, _HOW, _COUNT = range(_WORDS)
_NOTHING, _RECORDS, _INTS, _FLOATS = range(4)
_START = 8 * _WORDS

SIZE: Final = 1 << 16  # bytes: enough for some thousand small results between two messages
LANE_SLOTS: Final = (SIZE - _START) // 8

# A NaN that arithmetic does not make; as an int it is 0x7FF8_6D61_7021_6D61.
_MARK = struct.pack("<Q", 0x7FF86D6170216D61)
_MARKS = _MARK * LANE_SLOTS

# The types that have a lane, and the format of its slots.
LANES: Final[dict[type, str]] = {int: "q", float: "d"}
_HOW_OF = {"q": _INTS, "d": _FLOATS}
_FORMAT_OF = {_INTS: "q", _FLOATS: "d"}


class Arena:
    """One worker's arena, written by the worker and read by its caller."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._view = memoryview(memory)
        self._head = self._view[:_START].cast("Q")
        self._slots = {
            kind: self._view[_START : _START + 8 * LANE_SLOTS].cast(kind) for kind in _HOW_OF
        }

    def close(self) -> None:
        """Give the memory back."""
        for view in (*self._slots.values(), self._head, self._view):
            view.release()
        self._memory.close()

    # --- the worker's side ---------------------------------------------------------------------

    def begin(self, serial: int) -> None:
        """Note that the chunk `serial` has begun, and nothing of it is finished."""
        head = self._head
        head[_HOW] = _NOTHING  # first, or the old results would be taken for this chunk's
        head[_SENT] = 0
        head[_SERIAL] = serial

    def records(self, sent: int) -> None:
        """Note results as records from now on; `sent` of the chunk's were sent as messages."""
        head = self._head
        head[_HOW] = _NOTHING
        head[_SENT] = sent
        head[_COUNT] = 0
        head[_HOW] = _RECORDS
        self._memory.seek(_START)

    def record(self, data: bytes, count: int) -> bool:
        """Note a record, the one that makes them `count`; return whether there was room."""
        try:
            self._memory.write(data)
        except ValueError:
            return False
        self._head[_COUNT] = count
        return True

    def lane(self, kind: str, slots: int, sent: int) -> memoryview:
        """Note results in a lane of `slots` from now on; return the slots, to be written in order.

        `sent` of the chunk's results were sent as messages.
        """
        head = self._head
        head[_HOW] = _NOTHING
        head[_SENT] = sent
        self._view[_START : _START + 8 * slots] = _MARKS[: 8 * slots]
        head[_COUNT] = slots
        head[_HOW] = _HOW_OF[kind]
        return self._slots[kind]

    # --- the caller's side ---------------------------------------------------------------------

    def salvage(self, serial: int, received: int) -> tuple[bool, list[Entry]]:
        """Read what a dead worker left.

        Args:
            serial: of the chunk that it held first.
            received: how many results of that chunk came as messages.

        Returns:
            Whether the chunk had begun, and the results that were finished and not sent.
        """
        begun, sent, how, count = self._head
        if begun != serial:
            return False, []
        entries: list[Entry] = []
        if how == _RECORDS:
            records = io.BytesIO(self._view[_START:])
            entries = [marshal.load(records) for _ in range(count)]
        elif how in _FORMAT_OF:
            raw = self._view[_START : _START + 8 * count].tobytes()
            filled = count
            while filled and raw[8 * filled - 8 : 8 * filled] == _MARK:
                filled -= 1
            entries = memoryview(raw)[: 8 * filled].cast(_FORMAT_OF[how]).tolist()
        # It may have died between sending results and noting that they were sent.
        return True, entries[max(0, received - sent) :]
