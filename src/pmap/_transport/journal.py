"""The result journal: memory that a worker shares with its caller, and that outlives the worker.

A chunk is what a worker gets at once: several items. If an item kills its worker, the results of
the items before it must not be lost. A message for each result would save them, but make small
items slow. So the worker notes each result in the result journal as soon as it has the result. The
caller reads the results from the journal only if the worker dies.

The result journal begins with `_WORDS` 64-bit words::

    AT       the serial of the chunk that has begun; and how many of its items have begun, or ALL
             if all items of the chunk begin together
    SENT     how many results of the chunk the worker sent as messages before the noted results
    HOW      how the results are noted: NOTHING, RECORDS, or a typed array of ints or of floats
    COUNT    RECORDS: how many records are whole; a typed array: how many slots the array has
    MARK     the value of an empty slot of a typed array
    SINCE    when the last items began, as a double
    HALT     the caller wants no other item to begin; or OVERSIZE: the worker ended itself
    BACK     the chunks that the caller wants to take back: the serial of the chunk that has begun,
             and the last serial to take back
    TAKEN    the same value as BACK, once the caller has taken these chunks back
    KEEP     how many of the first items of the chunk in AT the worker may run

SINCE and HALT serve calls whose items have a time limit; HALT also serves the memory limit. Behind
the result journal there are `STACK` bytes in which a worker writes its stack when it is ended.

*Records* are message entries (pickled or plain values) that marshal has written, one behind the
other. The worker raises COUNT when a record is whole. A *typed array* has 64-bit slots, and the
worker fills all slots with the mark beforehand. To write a slot is one aligned store, so a slot
holds either the mark or a whole result. The last slot that does not hold the mark is the last
result. The mark is drawn at random for each journal, so the chance that a function returns the mark
is 1 in 2 ** 64.

The worker's stores are ordered. So if the worker dies between any two stores, the journal never has
more results than the worker had finished (but may have fewer), and no result of an older chunk.
"""

from __future__ import annotations

import io
import marshal
import mmap
import os
import sys
from time import monotonic, sleep

from .light_stdlib import allocate_lock, receive_with_fds

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Literal

    from .light_stdlib import socket
    from .packing import Entry

_WORDS = 10
_AT, _SENT, _HOW, _COUNT, _MARK, _SINCE, _HALT, _BACK, _TAKEN, _KEEP = range(_WORDS)
_NOTHING, _RECORDS, _INTS, _FLOATS = range(4)
_START = 8 * _WORDS
# In a word of the journal that has a number of items, this value means all items of the chunk.
_ALL = (1 << 32) - 1
# A worker that ends itself because it took too much memory writes this value into the journal's
# word HALT.
_OVERSIZE = 2

# How many bytes the result journal has: enough for some thousand small results between messages.
SIZE: Final = 1 << 16
# How many bytes the shared memory has behind the result journal; there the worker writes its stack.
STACK: Final = 1 << 13
ARRAY_SLOTS: Final = (SIZE - _START) // 8


class ResultJournal:
    """The result journal of one worker, which the worker writes and its caller reads."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._view = memoryview(memory)
        self._head = self._view[:_START].cast("Q")
        self._times = self._view[:_START].cast("d")
        self._ints = self._view[_START : _START + 8 * ARRAY_SLOTS].cast("q")
        self._floats = self._view[_START : _START + 8 * ARRAY_SLOTS].cast("d")
        # The bytes of an empty typed array: each slot (64 bits for one result) has the mark, the
        # value that stands for "no result". Made when the worker first needs a typed array.
        self._marks = b""

    def close(self) -> None:
        """Release the memory of the result journal."""
        self._ints.release()
        self._floats.release()
        self._head.release()
        self._times.release()
        self._view.release()
        self._memory.close()

    # --- what the worker calls -----------------------------------------------------------------

    def begin(self, serial: int, in_turn: bool) -> bool:
        """Record that the worker begins a chunk, whose number is `serial`.

        If `in_turn` is true, the worker calls the method `turn` before items begin; otherwise all
        items of the chunk count as begun now.

        Return False if the caller has taken the chunk back. The caller sets BACK and then reads
        whether AT still has its earlier value, which names an earlier chunk. The worker sets AT and
        then reads BACK. So at least one of the two processes sees the store of the other, and each
        chunk is either taken back or run. If each process sees the other's store, the caller
        decides within a moment: it sets TAKEN, or sets BACK to its earlier value.
        """
        head = self._head
        # HOW says in which form results are noted, and AT which chunk has begun. HOW is written
        # first. Otherwise the caller could take the old chunk's results for results of this chunk.
        head[_HOW] = _NOTHING
        head[_SENT] = 0
        # The number of the chunk and the number of items are written by one store, so the caller
        # never reads an old number together with a new one.
        head[_AT] = serial << 32 | (0 if in_turn else _ALL)
        _fence()
        while _is_in(serial, back := head[_BACK]):
            if head[_TAKEN] == back:
                return False
            sleep(0.0001)
        return True

    def turn(self, number: int) -> bool:
        """Record that the first `number` items of the chunk have begun.

        (AT, BACK, HALT and KEEP are words of the result journal: see the top of this module.) Wait
        while the caller wants no item to begin. Return False if the caller has taken back the items
        that were to begin.

        The caller sets HALT, or KEEP and BACK, and then reads whether AT still has its earlier
        value. The worker sets AT and then reads HALT, BACK and KEEP. So at least one of the two
        processes sees the store of the other. Therefore a caller that ends the worker because an
        item has run for too long never hits the next item; and each item is either taken back or
        run. If each process sees the other's store, the caller decides within a moment, as in
        `begin`.
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
                head[_AT] = before  # the items do not begin, so the note of their begin is undone
                # Wait until the caller either ends this process or lets this process go on.
                while head[_HALT]:
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
        """Record that this worker process ends itself because it takes too much memory."""
        self._head[_HALT] = _OVERSIZE

    def records(self, sent: int) -> None:
        """From now on, note results as records (pickled or plain values).

        `sent`: how many results of the chunk were sent as messages before.
        """
        head = self._head
        head[_HOW] = _NOTHING
        head[_SENT] = sent
        head[_COUNT] = 0
        head[_HOW] = _RECORDS
        self._memory.seek(_START)

    def record(self, data: bytes, count: int) -> bool:
        """Write the record `data`, the `count`-th one. Return False if there is no room for it."""
        memory = self._memory
        if memory.tell() + len(data) > SIZE:
            return False
        memory.write(data)
        self._head[_COUNT] = count
        return True

    def typed_array(
        self, kind: Literal["q", "d"], slots: int, sent: int
    ) -> memoryview[int] | memoryview[float]:
        """From now on, note results in a typed array (of ints or of floats), which is returned.

        Args:
            kind: "q" for an array of ints, "d" for an array of floats.
            slots: how many places for results the array has.
            sent: how many results of the chunk were sent as messages before.
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

    # --- what the caller calls -----------------------------------------------------------------

    def check_deadline(self, serial: int, limit: float) -> tuple[float, bool] | None:
        """Return when the last item began, and whether it has run for `limit` seconds.

        If it has, the journal tells the worker to begin no further item.

        Args:
            serial: the number of the first chunk that the worker has.
            limit: the time limit of an item, in seconds.

        Returns:
            None if no item of the chunk has begun.
        """
        head = self._head
        while (at := head[_AT]) >> 32 == serial and at & _ALL:
            since = self._times[_SINCE]
            if head[_AT] != at:
                # Another item has begun while this thread read two words of the journal, so it
                # reads them again.
                continue
            if monotonic() - since < limit:
                return since, False
            head[_HALT] = 1
            _fence()
            if head[_AT] == at:
                return since, True
            head[_HALT] = 0
        return None

    def release(self) -> None:
        """Let a worker that waits in the method `turn` go on with the items that it still has."""
        self._head[_HALT] = 0

    def reclaim(self, last: int) -> tuple[int, int | None]:
        """Take back all items that have not begun, of all chunks up to the number `last`.

        Returns:
            The number of the last chunk that has begun, and how many items of that chunk the worker
            keeps (None: all of them). No later chunk up to the number `last` will begin.
        """
        head = self._head
        while True:
            at, before = head[_AT], head[_BACK]
            serial = at >> 32
            if _is_in(serial, before) or before >> 32 == serial:
                # The worker has not answered an earlier request yet, and this request extends it.
                # The worker may run the items that the earlier request left to it, and no others.
                begun, keep = before >> 32, head[_KEEP]
                # An earlier request may have taken back chunks beyond `last`; these stay taken
                # back.
                last = max(last, before & _ALL)
            else:
                begun, keep = serial, at & _ALL
            if begun > last or (begun == last and keep == _ALL):
                return begun, None
            back = begun << 32 | last
            if back != before:
                # KEEP says how many items the worker keeps, BACK which chunks are taken back. KEEP
                # is written first: the worker reads it as soon as it sees that BACK has changed.
                head[_KEEP] = keep
                _fence()
                # The word BACK of the journal has two numbers. One store writes both, so the worker
                # never reads an old number together with a new one.
                head[_BACK] = back
                _fence()
                if head[_AT] != at:
                    # The worker has begun the items after all, so the request is undone.
                    head[_BACK] = before
                    continue
                head[_TAKEN] = back
            return begun, None if keep == _ALL else keep

    def has_begun(self, serial: int) -> bool:
        """Return whether the chunk with this number, or a later one, has begun."""
        return self._head[_AT] >> 32 >= serial

    def finished(self, serial: int) -> int:
        """Return a lower bound of the number of finished items in the chunk number `serial`.

        Return 0 if the worker runs another chunk. Any thread of the caller may call this method at
        any time: while the worker writes, and while another thread closes the result journal. So
        the method makes no view of the memory: with a view, the memory could not be closed.
        """
        head = self._head
        try:
            at, sent, how, count = head[_AT], head[_SENT], head[_HOW], head[_COUNT]
            noted = 0
            if how == _RECORDS:
                noted = count
            elif how in (_INTS, _FLOATS):
                noted = self._filled(count)
            # If the worker has sent results between the reads above, and notes other results now,
            # `sent` and `noted` may not belong together. To notice that, the words are read again
            # below.
            _fence()
            same = head[_AT] >> 32 == at >> 32 == serial and head[_SENT] == sent
            return sent + noted if same and head[_HOW] == how else 0
        except (ValueError, IndexError):
            # Another thread has unmapped the memory, or code of the user has written into the
            # memory.
            return 0

    def _filled(self, slots: int) -> int:
        """Return how many results are in the typed array, whose slots the worker fills in order."""
        mark = self._head[_MARK]
        # MARK is read as an unsigned number, and the slots of the array as signed numbers, so the
        # mark is converted here.
        mark -= (mark >> 63) << 64
        low, high = 0, slots
        while low < high:
            middle = (low + high) // 2
            if self._ints[middle] == mark:
                high = middle
            else:
                low = middle + 1
        return low

    def salvage(self, serial: int, received: int) -> tuple[bool, list[Entry]]:
        """Read the results that a dead worker has noted.

        Args:
            serial: the number of the first chunk that the worker had.
            received: how many results of this chunk came as messages.

        Returns:
            Whether an item had begun and was not finished; and the noted results that did not come
            as messages.
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
        # The worker may die after it has sent results, and before the journal says that it has. So
        # the results that have arrived as messages are skipped here.
        entries = entries[max(0, received - sent) :]
        return at & _ALL > received + len(entries), entries

    def lost(self, serial: int, received: int) -> int:
        """Return how many results of a chunk the worker has sent and the caller has not received.

        When Windows ends a process, it may drop what the process has sent and nobody has read yet.
        """
        at, sent, *_ = self._head
        return max(0, sent - received) if at >> 32 == serial else 0

    @property
    def oversize(self) -> bool:
        """Whether the worker ended itself because it took too much memory."""
        return self._head[_HALT] == _OVERSIZE

    def last_words(self) -> str:
        """Return the stack that the worker wrote when it crashed or was ended, or an empty text."""
        text = bytes(self._view[SIZE:]).rstrip(b"\0").decode(errors="replace")
        # Several threads may have written their stacks. That of the thread that crashed begins with
        # the words "Current thread".
        _, _, current = text.partition("Current thread ")
        _, _, stack = current.partition("(most recent call first):\n")
        return stack


def receive_journal(
    sock: socket, write_stack_at_crash: Callable[[int], object]
) -> ResultJournal | None:
    """Return the result journal that the caller shares with this new worker, or None.

    The caller has sent the journal's memory through the socket `sock`: see `send_journal` of
    `_backends`.
    """
    data, fds = receive_with_fds(sock, 4)
    size = int.from_bytes(data, "little")
    if fds:
        (fd,) = fds
        journal = ResultJournal(mmap.mmap(fd, size))
        # The caller reads the memory behind the journal, where the stack is written.
        write_stack_at_crash(fd)
        return journal
    if sys.platform == "win32" and size:
        from .named_memory import receive

        memory = receive(sock, size)
        return None if memory is None else ResultJournal(memory)
    return None


def _is_in(serial: int, back: int) -> bool:
    """Return whether the caller's request `back` takes back the chunk with the number `serial`."""
    return back >> 32 < serial <= back & _ALL


def _fence() -> None:
    """Act as a memory barrier: loads after this call happen after the stores before this call."""
    # On x86, an atomic exchange keeps loads and stores in this order, and acquiring a lock does
    # such an exchange. Each call makes a new lock, because a shared lock could be held when a
    # signal handler calls this function again, or in a forked process.
    allocate_lock().acquire()
