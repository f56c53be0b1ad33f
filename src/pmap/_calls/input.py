"""The input of a stream: read bit by bit, and kept no longer than its items may be needed."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
    Sized,
)
from itertools import count, cycle, islice, repeat
from operator import length_hint
from time import perf_counter
from typing import overload

# Seconds after which reading pauses to look for results: long enough for some thousand items of a
# quick input, and too short for anybody to notice.
SLICE = 0.0005
_WEIGHT = 0.5  # of the newest measurement
_ENDLESS = count, cycle, repeat


class Window(Sequence[object]):
    """The items from `start` on that were read: a sequence that grows behind and shrinks in front.

    Indices are those of the whole input.
    """

    def __init__(self) -> None:
        self.start: int = 0
        self._items: list[object] = []
        self._gone = 0  # items at the head of the list that are of no use any more
        self._apart: dict[int, int] = {}  # released behind `start`: from where to where

    def __len__(self) -> int:
        return self.start + len(self._items) - self._gone

    def extend(self, items: Iterable[object]) -> None:
        """Add what was read."""
        self._items += items

    def release(self, start: int, stop: int) -> None:
        """Forget the items `start` to `stop` - 1, as soon as those before are forgotten, too."""
        self._apart[start] = stop
        while self.start in self._apart:
            stop = self._apart.pop(self.start)
            self._gone += stop - self.start
            self.start = stop
        if self._gone * 2 > len(self._items):  # now and then, or each release would move the rest
            del self._items[: self._gone]
            self._gone = 0

    @overload
    def __getitem__(self, index: int) -> object: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[object]: ...
    def __getitem__(self, index: int | slice) -> object:
        shift = self._gone - self.start
        if isinstance(index, slice):
            return self._items[index.start + shift : index.stop + shift]
        if index < self.start:
            raise IndexError(index)
        return self._items[index + shift]


class _Pace:
    """How long reading an item takes, in seconds."""

    def __init__(self) -> None:
        self.seconds: float | None = None

    def read(self, items: int, elapsed: float) -> None:
        each = elapsed / max(1, items)
        if self.seconds is None:
            self.seconds = each
        else:
            self.seconds += _WEIGHT * (each - self.seconds)


def _left(iterable: object, read: int) -> int | None:
    """Return how many items an iterable still has of which `read` were read; None: who knows."""
    try:
        if isinstance(iterable, Sized):
            return max(0, len(iterable) - read)
        hint = length_hint(iterable, -1)
    except Exception:  # its own `__len__` may do anything, and nothing depends on this
        return None
    return None if hint < 0 else hint


class Input:
    """Iterables that are gone through side by side; `ended` when one has ended or raised."""

    def __init__(
        self, iterables: Sequence[Iterable[object]], item: Callable[[object], object] | None = None
    ) -> None:
        """Take the iterables; nothing is read.

        Args:
            iterables: one, whose elements are the items, or several, whose rows are.
            item: what makes an item of what is read; None: it is one.
        """
        self.ended: bool = False
        self.error: Exception | None = None  # what reading raised
        self.pace: _Pace = _Pace()
        self._iterables = iterables
        self._item = item
        self._opened: list[Iterator[object]] = []
        self._items: Iterator[object] | None = None

    @property
    def is_sized(self) -> bool:
        """Whether the input is one that `len` takes; no `len` is asked for it."""
        kinds = [isinstance(one, Sized) for one in self._iterables]
        endless = [isinstance(one, _ENDLESS) for one in self._iterables]
        return any(kinds) and all(map(max, kinds, endless))

    def left(self, read: int) -> int | None:
        """Return how many items are still to come, as far as the input says so.

        Nothing is read for it. `read`: how many were read.
        """
        if self.ended:
            return 0
        lengths = [_left(one, read) for one in self._iterables]
        known = [length for length in lengths if length is not None]
        for one, length in zip(self._iterables, lengths, strict=True):
            if length is None and not isinstance(one, _ENDLESS):
                return None  # it may be the shortest
        return min(known, default=None)

    def read(self, room: int) -> list[object]:
        """Read at most `room` items, and no longer than it takes to see that it takes long."""
        items: list[object] = []
        begin = perf_counter()
        until = begin + SLICE
        try:
            for item in islice(self._iterator(), room):
                items.append(item)
                if perf_counter() > until:
                    break
            else:
                self.ended = len(items) < room
        except Exception as error:
            self.ended = True
            self.error = error
        self.pace.read(len(items), perf_counter() - begin)
        return items

    def _iterator(self) -> Iterator[object]:
        if self._items is None:
            for iterable in self._iterables:
                self._opened.append(iter(iterable))
            if len(self._opened) == 1:
                self._items = self._opened[0]
            else:
                self._items = zip(*self._opened, strict=False)
            if self._item is not None:
                self._items = map(self._item, self._items)
        return self._items

    def close(self) -> None:
        """End the generators among the iterables. Anything else, a file say, is the user's."""
        self.ended = True
        for iterator in self._opened:
            if isinstance(iterator, Generator):
                iterator.close()


class AsyncInput:
    """An asynchronous iterable; `ended` when it has ended or raised."""

    def __init__(
        self, iterable: AsyncIterable[object], item: Callable[[object], object] | None = None
    ) -> None:
        """Take the iterable; nothing is read. `item` as for `Input`."""
        self.ended: bool = False
        self.error: Exception | None = None
        self.pace: _Pace = _Pace()
        self._iterable = iterable
        self._item = item
        self._items: AsyncIterator[object] | None = None

    @property
    def is_sized(self) -> bool:
        """Whether the input is one that `len` takes."""
        return isinstance(self._iterable, Sized)

    def left(self, read: int) -> int | None:
        """Return how many items are still to come, as far as the input says so."""
        return 0 if self.ended else _left(self._iterable, read)

    async def read(self, room: int) -> list[object]:
        """Read at most `room` items, and no longer than it takes to see that it takes long."""
        items: list[object] = []
        begin = perf_counter()
        try:
            if self._items is None:
                self._items = aiter(self._iterable)
            while len(items) < room:
                item = await anext(self._items)
                items.append(item if self._item is None else self._item(item))
                if perf_counter() > begin + SLICE:
                    break
        except StopAsyncIteration:
            self.ended = True
        except Exception as error:
            self.ended = True
            self.error = error
        self.pace.read(len(items), perf_counter() - begin)
        return items

    async def aclose(self) -> None:
        """End the iterable if it is a generator."""
        self.ended = True
        items: AsyncIterator[object] | AsyncGenerator[object, None] | None = self._items
        if isinstance(items, AsyncGenerator):
            await items.aclose()

    def close(self) -> None:
        """Read no more; its event loop ends the generator."""
        self.ended = True
