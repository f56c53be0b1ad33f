"""One chunk on its way through a worker: its items run, and each result is noted at once.

Each result is noted in the journal (see `journal`) before the next item begins. Where such memory
cannot be had, each result is a message of its own.
"""

from __future__ import annotations

import marshal
import sys
from itertools import islice

from .._transport.journal import ARRAY_SLOTS
from .._transport.light_stdlib import get_ident
from .._transport.packing import ARRAY_FORMATS
from .._transport.randomness import seeded
from .item import BadArgumentError, failure, load_argument
from .traces import traces

TYPE_CHECKING = False  # see `light_stdlib`
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

    # Results of a chunk that are not sent yet: entries, or format and bytes of a typed array.
    Unsent: TypeAlias = list[Entry] | tuple[Literal["q", "d"], bytes]


class Chunk:
    """One chunk on its way, with a journal for its results."""

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
        """Make it ready to run.

        Args:
            spec: the function.
            entries: the items.
            step: how many of them begin together; 0: all began with the chunk.
            journal: where results are noted.
            items: runs each of them.
            send: sends results of a chunk that goes on.
            needs_replacement: whether the worker is to be replaced.
        """
        self._spec = spec
        self._entries = entries
        self._journal = journal
        self._items = items
        self._send = send
        self._needs_replacement = needs_replacement
        # Those that are pickled are lists.
        kind: type[object] = type(entries)
        self._plain = kind is not list or list not in set(map(type, entries))
        self._step = step
        if spec.timeout is not None and not spec.at_once:
            self._step = 1
        self._begun = 0 if self._step else len(entries)
        self.sent = 0  # results sent as messages; what runs is behind them
        self._enough = False  # no more items are to be run here

    def _goes_on(self, number: int) -> bool:
        """Return whether the item at `number` may run, and note that it begins, and some behind it.

        If not, the caller has taken it back.
        """
        if number >= self._begun:
            begun = min(number + self._step, len(self._entries))
            if not self._journal.turn(begun):
                self._enough = True
                return False
            self._begun = begun
        return True

    def run(self, call: Callable[[object], object]) -> Unsent:
        """Run all items; return the results that were not sent yet."""
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
        """Run items until the journal is full, or until the results fit into a typed array."""
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
            if self._items.attachments.segments:  # what is in a segment cannot be noted
                return results, failed
            try:
                noted = record(pack(result), len(results))
            except ValueError:  # it is too large for marshal
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
        """Run items whose results are all of one type, as fast as it goes.

        Per item no more than the call, a test of the type and one store.
        """
        spec = self._spec
        kind = spec.array_type
        entries = self._entries[self.sent : self.sent + ARRAY_SLOTS]
        # Any: the array takes values of its own type only; each value's type is tested before.
        slots: Any = self._journal.typed_array(array_format, len(entries), self.sent)
        run = call if self._plain else _loading(call)
        noticed = traces
        index = 0
        result: object = None
        extra: list[Entry] = []
        failed = False
        try:
            while index < len(entries) and not extra and self._goes_on(self.sent + index):
                # Those that begin together in a loop of their own, with nothing more in it.
                start, stop = index, self._begun - self.sent
                part = entries[start:stop]
                if isinstance(part, memoryview):
                    part = part.tolist()  # not of the whole chunk: these stay in the cache
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
        except BaseException as error:  # every way an item can end is an answer
            if noticed:
                self._items.tidy()
            if _too_large(result):  # of this item: one before it could not have been stored
                spec.mixed = True
                extra = [result]
            else:
                extra, failed = [failure(error)], True
        if not extra:
            return (array_format, slots[:index].tobytes()), False
        return [*slots[:index].tolist(), *extra], failed


def _loading(call: Callable[[object], object]) -> Callable[[object], object]:
    return lambda entry: call(load_argument(entry) if type(entry) is list else entry)


def _too_large(result: object) -> bool:
    return type(result) is int and not -(1 << 63) <= result < 1 << 63


def with_seeds(
    seed: int, call: Callable[[object], object], entries: Sequence[Entry], start: int
) -> Callable[[int], object]:
    """Return what runs the entry at an index, with random numbers of its own.

    `start`: the index of the first of them in the call.
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
    """Return the items of a chunk as coroutines that run at once."""
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
    """Run the items of a chunk, where each result is a message; return those not sent yet.

    `begin`: says that an item begins, where each may run for some time only.
    """
    results: list[Entry] = []
    for number, entry in enumerate(entries):  # noqa: B007  # pyright: ignore[reportUnusedVariable]  # see `running_item`
        if results:
            send(results)  # before the next item begins
        if spec.timeout is not None and not spec.at_once:
            begin()
        result, failed = items.run(spec, call, entry)
        results = [result]
        if (failed and spec.stop) or needs_replacement():
            break
    return results


# Functions of this package in which `number` is that of the item.
_NUMBERED = frozenset({"_in_records", "run_without_journal", "_outcome"})


def running_item(thread: int) -> int | None:
    """Return which item of its chunk runs in a thread of this process; None if none does.

    Read from the stack: to note it for each item would take as long as a quick one.
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
                alone = 0  # the only one of its chunk, unless there is more further up
        frame = frame.f_back
    return alone
