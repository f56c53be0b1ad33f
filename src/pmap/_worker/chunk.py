"""How a worker runs a chunk, the items that one message has brought, and notes each result.

The worker notes each result in the result journal, memory that it shares with its caller, before
the next item begins. Where the system has no shared memory for this, the worker sends each result
to the caller as a message of its own.
"""

from __future__ import annotations

import marshal
import sys
from itertools import islice
from time import perf_counter

from .._transport.journal import ARRAY_SLOTS
from .._transport.light_stdlib import get_ident
from .._transport.packing import ARRAY_FORMATS
from .._transport.randomness import seeded
from .item import BadArgumentError, failure, load_argument
from .traces import traces

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any, Literal, NoReturn, TypeAlias

    from .._transport.journal import ResultJournal
    from .._transport.light_stdlib import Context
    from .._transport.packing import Entry
    from .coroutines import AtOnce
    from .function import ReceivedSpec
    from .item import ItemRunner

    # Results of a chunk that are not sent yet: a list of pickled or plain values, or the format and
    # the bytes of a typed array.
    Unsent: TypeAlias = list[Entry] | tuple[Literal["q", "d"], bytes]


# If results of a worker in the caller's process have waited for this many seconds, they are sent
# before the next item begins.
_MOMENT = 0.01


class Chunk:
    """One chunk of items that a worker runs; it notes each result in the result journal."""

    def __init__(
        self,
        spec: ReceivedSpec,
        entries: Sequence[Entry],
        step: int,
        journal: ResultJournal,
        items: ItemRunner,
        send: Callable[[Unsent], None],
        needs_replacement: Callable[[], bool],
    ) -> None:
        """Make the chunk ready to run.

        Args:
            spec: what the worker was told of the call, with the call's function.
            entries: the message entries of the items: one pickled or plain value for each item.
            step: how many items begin together; 0: all items began with the chunk.
            journal: the result journal, memory shared with the caller, in which results are noted.
            items: runs one item after the other.
            send: sends results to the caller while the chunk goes on.
            needs_replacement: returns whether the worker process is to be replaced.
        """
        self._spec = spec
        self._entries = entries
        self._journal = journal
        self._items = items
        self._send = send
        self._needs_replacement = needs_replacement
        # A pickled value is a list, and a plain value is no list. So if there is no list among the
        # items, all items are plain.
        kind: type[object] = type(entries)
        self._plain = kind is not list or list not in set(map(type, entries))
        self._step = step
        if spec.timeout is not None and not spec.at_once:
            self._step = 1
        self._begun = 0 if self._step else len(entries)
        # How many results of the chunk were sent as messages; they are those of its first items.
        self.sent = 0
        # Whether the worker is to run no more items of the chunk.
        self._enough = False

    def _goes_on(self, number: int) -> bool:
        """Return whether the item at index `number` of the chunk may run.

        If the item may run, note that it begins, together with the next `step` - 1 items. If the
        item may not run, the caller has taken it back to give it to another worker.
        """
        if number >= self._begun:
            begun = min(number + self._step, len(self._entries))
            if not self._journal.turn(begun):
                self._enough = True
                return False
            self._begun = begun
        return True

    def run(self, call: Callable[[object], object]) -> Unsent:
        """Run all items of the chunk; return the results that were not sent yet."""
        spec = self._spec
        results: Unsent
        while True:
            array_format = (
                None
                if spec.mixed or spec.array_type is None
                else ARRAY_FORMATS.get(spec.array_type)
            )
            if array_format is None:
                results, failed = self._in_records(call)
            else:
                results, failed = self._in_array(call, array_format)
            count = len(results[1]) // 8 if isinstance(results, tuple) else len(results)
            if (failed and spec.stop) or self._enough or self.sent + count >= len(self._entries):
                return results
            self._send(results)
            self.sent += count

    def _in_records(self, call: Callable[[object], object]) -> tuple[list[Entry], bool]:
        """Run items, and note each result in the result journal, pickled or plain (as a record).

        Stop when the journal is full, when a result cannot be noted, when the call or the worker is
        to end, or when the first result shows that a typed array may hold the results.
        """
        spec, record, pack = self._spec, self._journal.record, marshal.dumps
        run = self._items.run
        self._journal.records(self.sent)
        results: list[Entry] = []
        for number, entry in enumerate(islice(self._entries, self.sent, None), self.sent):
            if number >= self._begun and not self._goes_on(number):
                break
            result, failed = run(spec, call, entry)
            results.append(result)
            if self._needs_replacement():
                self._enough = True
                return results, failed
            # The result is in shared memory of its own, so it cannot be noted in the result
            # journal.
            if self._items.attachments.segments:
                return results, failed
            try:
                noted = record(pack(result), len(results))
            except ValueError:  # `marshal` cannot write a result of this size
                noted = False
            if (failed and spec.stop) or not noted:
                return results, failed
            if not spec.mixed:
                if spec.array_type is not None or type(result) not in ARRAY_FORMATS:
                    spec.mixed = True
                else:
                    spec.array_type = type(result)
                    return results, failed
        return results, False

    def _in_array(
        self, call: Callable[[object], object], array_format: Literal["q", "d"]
    ) -> tuple[Unsent, bool]:
        """Run items whose results are all ints or all floats; note the results in a typed array.

        This is the quickest way to note results: an item costs only the call of the function, a
        test of the type of its result, and one store. A result of another type ends the loop,
        because the array cannot hold it.
        """
        spec = self._spec
        kind = spec.array_type
        entries = self._entries[self.sent : self.sent + ARRAY_SLOTS]
        # The array takes values of one type only. Each value is tested before it is stored, but no
        # annotation can say that, so the type is `Any`.
        slots: Any = self._journal.typed_array(array_format, len(entries), self.sent)
        run = call if self._plain else _loading(call)
        noticed = traces
        index = 0
        result: object = None
        extra: list[Entry] = []
        failed = False
        try:
            while index < len(entries) and not extra and self._goes_on(self.sent + index):
                # The items that begin together run in an inner loop that does nothing else, and so
                # is quick.
                start, stop = index, self._begun - self.sent
                part = entries[start:stop]
                if isinstance(part, memoryview):
                    # Only a part of the items become Python objects at a time: so many that they
                    # fit into the processor's cache.
                    part = part.tolist()
                for index, entry in enumerate(part, start):
                    result = run(entry)
                    if noticed:
                        self._items.tidy()
                    if type(result) is not kind:
                        spec.mixed = True
                        other, failed = self._items.encoded(spec, result)
                        extra = [other]
                        break
                    slots[index] = result
                else:
                    index += 1
        except BaseException as error:  # whatever an item raises is its outcome
            if noticed:
                self._items.tidy()
            # The result is an int that is too large for the array. It is the result of the item
            # that ran last: that of an earlier item would have raised this exception before.
            if _too_large(result):
                spec.mixed = True
                extra = [result]
            else:
                extra, failed = [failure(error)], True
        if not extra:
            return (array_format, slots[:index].tobytes()), False
        return [*slots[:index].tolist(), *extra], failed


class EagerChunk(Chunk):
    """A chunk whose results are sent before the next item begins, if they have waited for a moment.

    Workers that share the caller's process run such chunks. These workers are never killed. So
    nobody reads results from the journals of these workers when a call is cancelled, and a chunk
    may end late.
    """

    _sent_at = 0.0  # the time at which results were last sent, or were about to be sent

    def _goes_on(self, number: int) -> bool:
        now = perf_counter()
        if number > self.sent and now - self._sent_at > _MOMENT:
            self._sent_at = now
            return False  # `run` now sends the results so far, and then runs this item
        return super()._goes_on(number)


def _loading(call: Callable[[object], object]) -> Callable[[object], object]:
    return lambda entry: call(load_argument(entry) if type(entry) is list else entry)


def _too_large(result: object) -> bool:
    return type(result) is int and not -(1 << 63) <= result < 1 << 63


def with_seeds(
    seed: int, call: Callable[[object], object], entries: Sequence[Entry], start: int
) -> Callable[[int], object]:
    """Return the function that runs the item at an index of a chunk, with its own random numbers.

    Args:
        seed: the seed of the call.
        call: the user's function, which takes one item.
        entries: the items: one pickled or plain value each.
        start: the index, in the whole call, of the chunk's first item.
    """

    def run(index: int) -> object:
        entry = entries[index]
        item = load_argument(entry) if type(entry) is list else entry
        return seeded(seed, start + index, lambda: call(item))

    return run


def at_once(
    coroutine: Callable[[object], Any],
    entries: Sequence[Entry],
    context: Context | None,
    timeout: float | None,
) -> AtOnce:
    """Return an object that runs the items of a chunk as coroutines, all at the same time.

    An item whose argument cannot be loaded becomes a coroutine that raises the error.
    """
    from .coroutines import AtOnce

    def start(entry: Entry) -> Callable[[], Any]:
        async def fail(error: Exception) -> NoReturn:
            raise error

        try:
            item = load_argument(entry) if type(entry) is list else entry
        except BadArgumentError as error:
            bad = error
            return lambda: fail(bad)
        return lambda: coroutine(item)

    return AtOnce([start(entry) for entry in entries], context, timeout)


def run_without_journal(
    spec: ReceivedSpec,
    entries: Sequence[Entry],
    items: ItemRunner,
    call: Callable[[object], object],
    send: Callable[[Unsent], None],
    begin: Callable[[], object],
    needs_replacement: Callable[[], bool],
) -> list[Entry]:
    """Run the items of a chunk in a worker that shares no memory with its caller.

    Each result is sent as a message of its own before the next item begins. Return what was not
    sent: the last result.

    `begin`: tells the caller that an item begins; called only if the items have a time limit.
    """
    results: list[Entry] = []
    for number, entry in enumerate(entries):  # noqa: B007  # pyright: ignore[reportUnusedVariable]  # see `running_item`
        if results:
            send(results)  # each result is sent before the next item begins
        if spec.timeout is not None and not spec.at_once:
            begin()
        result, failed = items.run(spec, call, entry)
        results = [result]
        if (failed and spec.stop) or needs_replacement():
            break
    return results


# Names of functions of this package whose local variable `number` is the index of the item that
# runs. `running_item` looks for them on the stack.
_NUMBERED = frozenset({"_in_records", "run_without_journal", "_outcome"})


def running_item(thread: int) -> int | None:
    """Return the index, in its chunk, of the item that runs in a thread, or None.

    `thread` is the identifier of a thread of this process. The index is read from the stack of this
    thread: noting the index before each item would take as long as a quick item.
    """
    here = thread == get_ident()
    frame: FrameType | None = sys._getframe() if here else sys._current_frames().get(thread)
    alone = None
    while frame is not None:
        if frame.f_globals.get("__package__") == __package__:
            name = frame.f_code.co_name
            if name == "_in_array":
                sent: int = frame.f_locals["self"].sent
                index: int = frame.f_locals["index"]
                return sent + index
            if name in _NUMBERED:
                number: int = frame.f_locals["number"]
                return number
            if name == "run":
                # `run` is on the stack, but no function that has the index of the item. So the
                # chunk has one item.
                alone = 0
        frame = frame.f_back
    return alone
