"""The result journal: memory of a worker and its caller, in which results outlive the worker.

A result must be safe from the moment the next item begins, or else the death of one item would cost
its neighbours in the chunk; and a message for each item would make tiny items slow. So each result
is noted here as soon as it is there. Only if the worker dies does the caller read it.

It begins with `_WORDS` 64-bit words::

    AT       which chunk has begun, its serial; and how many of its items, or ALL where they begin
             together
    SENT     how many of its results were sent as messages before those noted here
    HOW      how those are noted: NOTHING, RECORDS, or a typed array of ints or of floats
    COUNT    RECORDS: how many are whole; a typed array: how many slots it has
    MARK     what an empty slot of a typed array holds
    SINCE    when the last items began, as a double
    HALT     the caller wants that no other begins; or OVERSIZE: the worker ended itself
    BACK     which chunks the caller wants back: serials behind the one that has begun
    TAKEN    the same, when it has them
    KEEP     how many items of the chunk before those the worker may run

SINCE and HALT serve where items may not run for longer than some time. Behind all that, `STACK`
bytes are for what a worker can say of its stack when it is ended.

*Records* are marshalled entries one behind the other; the count is raised when a record is whole.
A *typed array* has 64-bit slots, filled with a mark beforehand; writing a slot is one aligned
store, so it is either the mark or whole. The last slot that is not the mark is the last result. The
mark is drawn at random for each journal: no function can return it but by a chance of 1 in 2 ** 64.

Each change is written so that a worker that dies between any two stores leaves less noted than it
had finished, never more and never something old.
"""

from __future__ import annotations

import io
import marshal
import mmap
import os
import sys
from time import monotonic, sleep

from .light_stdlib import allocate_lock

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing import Final, Literal

    from .packing import Entry

_WORDS = 10
_AT, _SENT, _HOW, _COUNT, _MARK, _SINCE, _HALT, _BACK, _TAKEN, _KEEP = range(_WORDS)
_NOTHING, _RECORDS, _INTS, _FLOATS = range(4)
_START = 8 * _WORDS
_ALL = (1 << 32) - 1  # of AT and KEEP
_OVERSIZE = 2  # for HALT

SIZE: Final = 1 << 16  # bytes: enough for some thousand small results between two messages
STACK: Final = 1 << 13  # bytes behind these
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
        self._marks = b""  # made when first needed

    def close(self) -> None:
        """Give the memory back."""
        self._ints.release()
        self._floats.release()
        self._head.release()
        self._times.release()
        self._view.release()
        self._memory.close()

    # --- the worker's side ---------------------------------------------------------------------

    def begin(self, serial: int, in_turn: bool) -> bool:
        """Note that the chunk `serial` has begun, and nothing of it is finished.

        `in_turn`: `turn` will say which items begin; else all of it counts as begun.

        Return False if the caller has taken it back. The caller sets BACK and then looks whether AT
        is still what it was, in a chunk before it; here AT is set and then BACK looked at. So one
        of the two sees the other, and a chunk is either taken back or run. If both do, the caller
        decides, in a moment: TAKEN, or BACK is again what it was.
        """
        head = self._head
        head[_HOW] = _NOTHING  # first, or the old results would be taken for this chunk's
        head[_SENT] = 0
        head[_AT] = serial << 32 | (
            0 if in_turn else _ALL
        )  # in one word: neither without the other
        _fence()
        while _is_in(serial, back := head[_BACK]):
            if head[_TAKEN] == back:
                return False
            sleep(0.0001)
        return True

    def turn(self, number: int) -> bool:
        """Note that the items of the chunk up to `number`, counted from 1, begin.

        Waits if none is to begin. Returns False if the caller has taken them back.

        The caller sets HALT, or KEEP and BACK, and then looks whether AT is still what it was;
        here AT is set and then these are looked at. So one of the two sees the other: no item
        that has begun just now is ended in place of the one before it, and each item is either
        taken back or run. If both see it, the caller decides in a moment, as in `begin`.
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
                head[_AT] = before  # they have not begun
                while head[_HALT]:  # until the caller ends this process, or thinks better of it
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
        """Note that the process ends itself because it takes too much memory."""
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
        """Note a record, the one that makes them `count`; return whether there was room."""
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

        `sent` of the chunk's results were sent as messages.
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
        """Return when the last item to begin of a chunk did so, and whether it is held.

        It is held, so that none begins behind it, if it runs for longer than `limit` seconds.

        Args:
            serial: of the chunk that the worker holds first.
            limit: in seconds.

        Returns:
            None if the chunk has not begun.
        """
        head = self._head
        while (at := head[_AT]) >> 32 == serial and at & _ALL:
            since = self._times[_SINCE]
            if head[_AT] != at:
                continue  # another one began between the two reads
            if monotonic() - since < limit:
                return since, False
            head[_HALT] = 1
            _fence()
            if head[_AT] == at:
                return since, True
            head[_HALT] = 0
        return None

    def reclaim(self, last: int) -> tuple[int, int | None]:
        """Take back all that has not begun of the chunks up to `last`.

        Returns:
            The serial of the last chunk that has begun, all behind which never will; and how many
            items of it have begun or will, None for all.
        """
        head = self._head
        while True:
            at, before = head[_AT], head[_BACK]
            serial = at >> 32
            if _is_in(serial, before) or before >> 32 == serial:
                # It is not through with what was taken back before: what is taken back now is that
                # and more, and what was kept then is kept still.
                begun, keep = before >> 32, head[_KEEP]
                last = max(last, before & _ALL)  # what was taken back stays so
            else:
                begun, keep = serial, at & _ALL
            if begun > last or (begun == last and keep == _ALL):
                return begun, None
            back = begun << 32 | last
            if back != before:
                head[_KEEP] = keep  # it is what it was, or says nothing until BACK does
                _fence()
                head[_BACK] = back  # in one word: it is there whole, or not
                _fence()
                if head[_AT] != at:
                    head[_BACK] = before  # what was taken back before stays so
                    continue
                head[_TAKEN] = back
            return begun, None if keep == _ALL else keep

    def has_begun(self, serial: int) -> bool:
        """Return whether a chunk has begun, or one behind it."""
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
        """Read what a dead worker left.

        Args:
            serial: of the chunk that it held first.
            received: how many results of that chunk came as messages.

        Returns:
            Whether an item that is not finished had begun, and the results that were finished and
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
        # It may have died between sending results and noting that they were sent.
        entries = entries[max(0, received - sent) :]
        return at & _ALL > received + len(entries), entries

    @property
    def oversize(self) -> bool:
        """Whether the worker ended itself because it took too much memory."""
        return self._head[_HALT] == _OVERSIZE

    def last_words(self) -> str:
        """Return what a worker said of its stack, or nothing."""
        text = bytes(self._view[SIZE:]).rstrip(b"\0").decode(errors="replace")
        _, _, current = text.partition("Current thread ")  # others may come before it
        _, _, stack = current.partition("(most recent call first):\n")
        return stack


def _is_in(serial: int, back: int) -> bool:
    """Return whether a chunk is among those that `back` says."""
    return back >> 32 < serial <= back & _ALL


def _fence() -> None:
    """Let no processor put what was stored before this behind what is loaded after it."""
    # To take a lock is an atomic exchange, which x86 takes for a fence. A new one each time: one
    # for all may be held where a signal's handler comes here again, or in a fork.
    allocate_lock().acquire()
