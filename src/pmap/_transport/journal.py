"""The result journal: memory that a worker shares with its caller, and that outlives the worker.

A result must be safe from the moment the next item begins, or else the death of one item would cost
its neighbours in the chunk. A message for each item would make it safe, and would make small items
slow. So the worker notes each result here as soon as it has it. The caller reads the journal only
if the worker dies.

The journal begins with `_WORDS` 64-bit words::

    AT       the serial of the chunk that has begun; and how many of its items have begun, or ALL
             if they begin together
    SENT     how many results of the chunk the worker sent as messages before those noted here
    HOW      how the results are noted: NOTHING, RECORDS, or a typed array of ints or of floats
    COUNT    RECORDS: how many are whole; a typed array: how many slots it has
    MARK     the value of an empty slot of a typed array
    SINCE    when the last items began, as a double
    HALT     the caller wants no other item to begin; or OVERSIZE: the worker ended itself
    BACK     the chunks that the caller wants back: serials after the one that has begun
    TAKEN    the same value, once the caller has taken these chunks
    KEEP     how many items of the chunk before these the worker may run

SINCE and HALT serve calls whose items have a time limit. Behind the journal there are `STACK` bytes
in which a worker writes its stack when it is ended.

*Records* are marshalled entries, one behind the other. The worker raises the count when a record is
whole. A *typed array* has 64-bit slots that are filled with the mark beforehand. Writing a slot is
one aligned store, so a slot holds either the mark or a whole result. The last slot that does not
hold the mark is the last result. The mark is drawn at random for each journal, so a function
returns it only by a chance of 1 in 2 ** 64.

The stores are ordered so that a worker that dies between any two of them leaves fewer results noted
than it had finished, never more, and no result of an older chunk.
"""

from __future__ import annotations

import io
import marshal
import mmap
import os
import sys
from time import monotonic, sleep

from .light_stdlib import allocate_lock

TYPE_CHECKING = False  # `typing` is not imported here: see `light_stdlib`
if TYPE_CHECKING:
    from typing import Final, Literal

    from .packing import Entry

_WORDS = 10
_AT, _SENT, _HOW, _COUNT, _MARK, _SINCE, _HALT, _BACK, _TAKEN, _KEEP = range(_WORDS)
_NOTHING, _RECORDS, _INTS, _FLOATS = range(4)
_START = 8 * _WORDS
_ALL = (1 << 32) - 1  # this value in AT and KEEP stands for all items of the chunk
# This value in HALT says that the worker ended itself because it took too much memory.
_OVERSIZE = 2

SIZE: Final = 1 << 16  # bytes; enough for some thousand small results between two messages
STACK: Final = 1 << 13  # bytes behind the journal, in which the worker writes its stack
ARRAY_SLOTS: Final = (SIZE - _START) // 8


class ResultJournal:
    """One worker's journal, written by the worker and read by its caller."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._view = memoryview(memory)
        self._head = self._view[:_START].cast("Q")
        self._times = self._view[:_START].cast("d")
        self._ints = self._view[_START : _START + 8 * ARRAY_SLOTS].cast("q")
        self._floats = self._view[_START : _START + 8 * ARRAY_SLOTS].cast("d")
        self._marks = b""  # the contents of an empty typed array; made when first needed

    def close(self) -> None:
        """Release the memory."""
        self._ints.release()
        self._floats.release()
        self._head.release()
        self._times.release()
        self._view.release()
        self._memory.close()

    # --- the worker's side ---------------------------------------------------------------------

    def begin(self, serial: int, in_turn: bool) -> bool:
        """Note that the chunk `serial` has begun and that none of its items is finished.

        If `in_turn`, `turn` will say which items begin; otherwise all items of the chunk count as
        begun.

        Return False if the caller has reclaimed the chunk. The caller sets BACK and then reads
        whether AT still has its earlier value, which names an earlier chunk. The worker sets AT and
        then reads BACK. So one of the two sees the store of the other, and each chunk is either
        reclaimed or run. If both see it, the caller decides within a moment: it sets TAKEN, or sets
        BACK to its earlier value.
        """
        head = self._head
        # This store comes first, or the old results would be taken for those of this chunk.
        head[_HOW] = _NOTHING
        head[_SENT] = 0
        # One store writes serial and number, so the caller never reads one without the other.
        head[_AT] = serial << 32 | (0 if in_turn else _ALL)
        _fence()
        while _is_in(serial, back := head[_BACK]):
            if head[_TAKEN] == back:
                return False
            sleep(0.0001)
        return True

    def turn(self, number: int) -> bool:
        """Note that the items of the chunk up to `number`, counted from 1, begin.

        Wait while the caller wants no item to begin. Return False if the caller has reclaimed these
        items.

        The caller sets HALT, or KEEP and BACK, and then reads whether AT still has its earlier
        value. The worker sets AT and then reads these words. So one of the two sees the store of
        the other: the caller never ends an item that has just begun in place of the one before it,
        and each item is either reclaimed or run. If both see it, the caller decides within a
        moment, as in `begin`.
        """
        head = self._head
        before = head[_AT]
        serial = before >> 32
        while True:
            self._times[_SINCE] = monotonic()
            head[_AT] = serial << 32 | number
            _fence()
            back = head[_BACK]
            if head[_HALT]:
                head[_AT] = before  # the items have not begun after all
                while head[_HALT]:  # wait until the caller ends this process, or resets HALT
                    sleep(0.001)
            elif back >> 32 != serial:
                return True
            else:
                _fence()
                if number <= head[_KEEP]:
                    return True
                if head[_TAKEN] == back:
                    head[_AT] = before
                    return False
                sleep(0.0001)

    def note_oversize(self) -> None:
        """Note that this process ends itself because it takes too much memory."""
        self._head[_HALT] = _OVERSIZE

    def records(self, sent: int) -> None:
        """Note results as records from now on; `sent` of the chunk's were sent as messages."""
        head = self._head
        head[_HOW] = _NOTHING
        head[_SENT] = sent
        head[_COUNT] = 0
        head[_HOW] = _RECORDS
        self._memory.seek(_START)

    def record(self, data: bytes, count: int) -> bool:
        """Note a record, number `count` of those noted; return False if there is no room."""
        memory = self._memory
        if memory.tell() + len(data) > SIZE:
            return False
        memory.write(data)
        self._head[_COUNT] = count
        return True

    def typed_array(
        self, kind: Literal["q", "d"], slots: int, sent: int
    ) -> memoryview[int] | memoryview[float]:
        """Note results in a typed array of `slots` from now on; return it, to be written in order.

        `sent` results of the chunk were sent as messages.
        """
        head = self._head
        head[_HOW] = _NOTHING
        head[_SENT] = sent
        if not self._marks:
            mark = os.urandom(8)
            head[_MARK] = int.from_bytes(mark, sys.byteorder)
            self._marks = mark * ARRAY_SLOTS
        self._view[_START : _START + 8 * slots] = self._marks[: 8 * slots]
        head[_COUNT] = slots
        head[_HOW] = _INTS if kind == "q" else _FLOATS
        return self._ints if kind == "q" else self._floats

    # --- the caller's side ---------------------------------------------------------------------

    def check_deadline(self, serial: int, limit: float) -> tuple[float, bool] | None:
        """Return when the item that began last did so, and whether the worker is held.

        If that item has run for `limit` seconds, the worker is held: it begins no further item.

        Args:
            serial: of the first chunk that the worker holds.
            limit: in seconds.

        Returns:
            None if the chunk has not begun.
        """
        head = self._head
        while (at := head[_AT]) >> 32 == serial and at & _ALL:
            since = self._times[_SINCE]
            if head[_AT] != at:
                continue  # another item began between the two reads
            if monotonic() - since < limit:
                return since, False
            head[_HALT] = 1
            _fence()
            if head[_AT] == at:
                return since, True
            head[_HALT] = 0
        return None

    def reclaim(self, last: int) -> tuple[int, int | None]:
        """Reclaim all items that have not begun, of all chunks up to the serial `last`.

        Returns:
            The serial of the last chunk that has begun; no chunk after it will begin. And how many
            items of that chunk have begun or may still begin; None for all.
        """
        head = self._head
        while True:
            at, before = head[_AT], head[_BACK]
            serial = at >> 32
            if _is_in(serial, before) or before >> 32 == serial:
                # The worker has not passed the last reclaim yet. This reclaim extends it: what was
                # reclaimed then stays reclaimed, and the worker may still run what it was allowed
                # to run then.
                begun, keep = before >> 32, head[_KEEP]
                # An earlier reclaim may reach further than this one.
                last = max(last, before & _ALL)
            else:
                begun, keep = serial, at & _ALL
            if begun > last or (begun == last and keep == _ALL):
                return begun, None
            back = begun << 32 | last
            if back != before:
                # The value is the same, or the worker does not read it before BACK changes.
                head[_KEEP] = keep
                _fence()
                head[_BACK] = back  # one store: the worker reads the whole value or none of it
                _fence()
                if head[_AT] != at:
                    head[_BACK] = before  # what was reclaimed earlier stays reclaimed
                    continue
                head[_TAKEN] = back
            return begun, None if keep == _ALL else keep

    def has_begun(self, serial: int) -> bool:
        """Return whether the chunk `serial`, or a later one, has begun."""
        return self._head[_AT] >> 32 >= serial

    def finished(self, serial: int) -> int:
        """Return how many items of a chunk are finished, or less; 0 where another one runs.

        Any thread of the caller may ask at any time: while the worker writes, and while another
        thread closes this. So it makes no view of the memory, which could not be closed then.
        """
        head = self._head
        try:
            at, sent, how, count = head[_AT], head[_SENT], head[_HOW], head[_COUNT]
            noted = 0
            if how == _RECORDS:
                noted = count
            elif how in (_INTS, _FLOATS):
                noted = self._filled(count)
            # If results were sent between these reads, and others are noted now, `count` is of one
            # of the two and `sent` perhaps of the other.
            _fence()
            same = head[_AT] >> 32 == at >> 32 == serial and head[_SENT] == sent
            return sent + noted if same and head[_HOW] == how else 0
        except (ValueError, IndexError):  # it is closed, or an item has written into it
            return 0

    def _filled(self, slots: int) -> int:
        """Return how many slots of the typed array are filled: the first ones."""
        mark = self._head[_MARK]
        mark -= (mark >> 63) << 64  # as the ints have it, which have a sign
        low, high = 0, slots
        while low < high:
            middle = (low + high) // 2
            if self._ints[middle] == mark:
                high = middle
            else:
                low = middle + 1
        return low

    def salvage(self, serial: int, received: int) -> tuple[bool, list[Entry]]:
        """Read what a dead worker has noted.

        Args:
            serial: of the first chunk that the worker held.
            received: how many results of that chunk came as messages.

        Returns:
            Whether an item had begun and was not finished; and the results that were finished and
            not sent.
        """
        at, sent, how, count, mark, *_ = self._head
        if at >> 32 != serial:
            return False, []
        entries: list[Entry] = []
        if how == _RECORDS:
            records = io.BytesIO(self._view[_START:])
            entries = [marshal.load(records) for _ in range(count)]
        elif how in (_INTS, _FLOATS):
            slots = self._view[_START : _START + 8 * count].cast("Q").tolist()
            while slots and slots[-1] == mark:
                slots.pop()
            array = self._ints if how == _INTS else self._floats
            entries = list(array[: len(slots)])
        # The worker may have died after it sent results and before it noted that they were sent.
        entries = entries[max(0, received - sent) :]
        return at & _ALL > received + len(entries), entries

    @property
    def oversize(self) -> bool:
        """Whether the worker ended itself because it took too much memory."""
        return self._head[_HALT] == _OVERSIZE

    def last_words(self) -> str:
        """Return the stack that the worker wrote when it was ended, or an empty text."""
        text = bytes(self._view[SIZE:]).rstrip(b"\0").decode(errors="replace")
        # The stacks of other threads may come before it.
        _, _, current = text.partition("Current thread ")
        _, _, stack = current.partition("(most recent call first):\n")
        return stack


def _is_in(serial: int, back: int) -> bool:
    """Return whether the chunk `serial` is among those that `back`, a value of BACK, names."""
    return back >> 32 < serial <= back & _ALL


def _fence() -> None:
    """Keep the processor from making loads after this call before stores that come before it."""
    # Acquiring a lock is an atomic exchange, which is a fence on x86. Each call makes a new lock: a
    # shared one could be held when a signal handler calls this function again, or in a forked
    # process.
    allocate_lock().acquire()
