"""The input of a stream, which is read piece by piece; items stay while they may be needed."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    MappingView,
    Sequence,
    Sized,
)
from collections.abc import (
    Set as AbstractSet,
)
from itertools import count, cycle, islice, repeat
from operator import length_hint
from time import perf_counter
from typing import overload

# While a stream reads its input, it pauses after this many seconds to look for results. In this
# time it can read some thousand items of a quick input, and a user does not notice the delay.
SLICE = 0.0005
_WEIGHT = 0.5  # the weight of the newest measurement in the running estimate of `_Pace`
_ENDLESS = count, cycle, repeat
_COLLECTIONS = Sequence, AbstractSet, Mapping, MappingView


class Window(Sequence[object]):
    """A sequence of the items that were read from the input and may still be needed.

    Items are added at the end of the sequence and released at its front. An index is a position in
    the whole input; `start` is the index of the first item that is kept.
    """

    def __init__(self) -> None:
        self.start: int = 0
        self._items: list[object] = []
        self._gone = 0  # how many items at the front of the list are not needed any more
        # Ranges of released items that stay in the list, because earlier items are still needed. A
        # range is the index of its first item, and the index behind its last item.
        self._apart: dict[int, int] = {}

    def __len__(self) -> int:
        return self.start + len(self._items) - self._gone

    def extend(self, items: Iterable[object]) -> None:
        """Add items that were read from the input."""
        self._items += items

    def release(self, start: int, stop: int) -> None:
        """Release the items `start` to `stop` - 1, as soon as all items before are released."""
        self._apart[start] = stop
        while self.start in self._apart:
            stop = self._apart.pop(self.start)
            self._gone += stop - self.start
            self.start = stop
        # The list is not cut at each call, because cutting it at its front moves all other items.
        if self._gone * 2 > len(self._items):
            del self._items[: self._gone]
            self._gone = 0

    def unreleased(self) -> list[tuple[int, int]]:
        """Return the ranges of items that are still needed: first index, index behind the last."""
        ranges: list[tuple[int, int]] = []
        start = self.start
        for gone, stop in sorted(self._apart.items()):
            if start < gone:
                ranges.append((start, gone))
            start = stop
        if start < len(self):
            ranges.append((start, len(self)))
        return ranges

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
    """The running estimate of how many seconds it takes to read one item."""

    def __init__(self) -> None:
        self.seconds: float | None = None

    def read(self, items: int, elapsed: float) -> None:
        each = elapsed / max(1, items)
        if self.seconds is None:
            self.seconds = each
        else:
            self.seconds += _WEIGHT * (each - self.seconds)


def _is_reliable(iterable: object) -> bool:
    """Return whether pmap can rely on the length that an iterable tells, if it tells one.

    A wrong length does harm: ``list(stream)`` takes memory for as many results as the stream says.
    ``map`` never asks its input for a length, so a class that tells a wrong length works with
    ``map``, and has to work here, too. pmap relies on the types of Python itself, on collections
    and on arrays.
    """
    kind = type(iterable)
    return (
        kind.__module__ in {"builtins", "itertools"}
        or isinstance(iterable, _COLLECTIONS)
        or hasattr(kind, "__array__")
    )


def _left(iterable: object, read: int, only_reliable: bool) -> int | None:
    """Return how many items an iterable has left after `read` were read; None if unknown."""
    if only_reliable and not _is_reliable(iterable):
        return None
    try:
        if isinstance(iterable, Sized):
            return max(0, len(iterable) - read)
        hint = length_hint(iterable, -1)
    except Exception:  # a user's `__len__` may raise anything; then no length is shown
        return None
    return None if hint < 0 else hint


class Input:
    """The input of a stream: iterables that are read together; an item has one element of each.

    `ended` is true when one of the iterables has ended, or has raised an exception.
    """

    def __init__(
        self, iterables: Sequence[Iterable[object]], item: Callable[[object], object] | None = None
    ) -> None:
        """Begin without reading anything.

        Args:
            iterables: one iterable, whose elements are the items; or several, and each item is then
                a tuple of one element of each.
            item: a function that makes an item from such an element or tuple; None if the element
                or tuple itself is the item.
        """
        self.ended: bool = False
        self.error: Exception | None = None  # the exception that an iterable has raised
        self.pace: _Pace = _Pace()
        self._iterables = iterables
        self._item = item
        self._opened: list[Iterator[object]] = []
        self._items: Iterator[object] | None = None

    @property
    def is_sized(self) -> bool:
        """Whether lengths tell the number of items; this property does not call `len`.

        At least one iterable must have a length, and each other one has a length or is endless.
        """
        kinds = [isinstance(one, Sized) and _is_reliable(one) for one in self._iterables]
        endless = [isinstance(one, _ENDLESS) for one in self._iterables]
        return any(kinds) and all(map(max, kinds, endless))

    def left(self, read: int, *, only_reliable: bool) -> int | None:
        """Return how many items are left after `read` were read; this reads nothing.

        Args:
            read: how many items were read.
            only_reliable: whether to leave out iterables whose length may be wrong.

        Returns:
            None if that is not known.
        """
        if self.ended:
            return 0
        lengths = [_left(one, read, only_reliable) for one in self._iterables]
        known = [length for length in lengths if length is not None]
        for one, length in zip(self._iterables, lengths, strict=True):
            if length is None and not isinstance(one, _ENDLESS):
                return None  # the length of this iterable is unknown, and it may be the shortest
        return min(known, default=None)

    def read(self, room: int) -> list[object]:
        """Read at most `room` items, for at most `SLICE` seconds, and return them."""
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
        """Close the generators among the iterables. The user closes all others, such as files."""
        self.ended = True
        for iterator in self._opened:
            if isinstance(iterator, Generator):
                iterator.close()


class AsyncInput:
    """An asynchronous iterable as the input of a stream.

    `ended` is true when the iterable has ended, or has raised an exception.
    """

    def __init__(
        self, iterable: AsyncIterable[object], item: Callable[[object], object] | None = None
    ) -> None:
        """Begin without reading anything; `item` has the same meaning as in `Input`."""
        self.ended: bool = False
        self.error: Exception | None = None
        self.pace: _Pace = _Pace()
        self._iterable = iterable
        self._item = item
        self._items: AsyncIterator[object] | None = None

    @property
    def is_sized(self) -> bool:
        """Whether the asynchronous iterable has a length."""
        return isinstance(self._iterable, Sized) and _is_reliable(self._iterable)

    def left(self, read: int, *, only_reliable: bool) -> int | None:
        """Return how many items are left after `read` were read, as `Input.left` does."""
        return 0 if self.ended else _left(self._iterable, read, only_reliable)

    async def read(self, room: int) -> list[object]:
        """Read at most `room` items, for about `SLICE` seconds, and return them."""
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
        """Stop reading; if the iterable is an asynchronous generator, close it."""
        self.ended = True
        items: AsyncIterator[object] | AsyncGenerator[object, None] | None = self._items
        if isinstance(items, AsyncGenerator):
            await items.aclose()

    def close(self) -> None:
        """Stop reading the input.

        If the input is an asynchronous generator, the event loop will close the generator.
        """
        self.ended = True
