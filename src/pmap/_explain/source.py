"""Chooses the items that a trial runs; reads no more of the input than this needs."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import length_hint
from typing import Protocol, TypeGuard

MOST = 1000  # a trial has at most this many items
# The golden ratio. The fractional parts of its multiples are always spread evenly over 0 to 1.
_SPREAD = 0.6180339887498949


class Source(Protocol):
    """The input of a call for a trial, in which a few items are run and measured."""

    @property
    def length(self) -> int | None:
        """The number of items of the input; None if it is not known."""
        ...

    @property
    def consumed(self) -> int:
        """The number of items that were read from an iterator, which does not give them again."""
        ...

    def take(self, count: int) -> list[tuple[int, object]]:
        """Return at most `count` further items for the trial, each with its index."""
        ...


def places(length: int) -> Iterator[int]:
    """Yield different indices below `length`; those yielded so far are always spread evenly.

    >>> list(places(5))
    [0, 3, 1, 4, 2]
    """
    seen: set[int] = set()
    number = 0
    while len(seen) < min(length, MOST):
        place = int(number * _SPREAD % 1 * length)
        number += 1
        if place not in seen:
            seen.add(place)
            yield place


class _Spread:
    """Takes items from all parts of the given sequences, by their indices."""

    consumed = 0

    def __init__(self, sequences: list[Sequence[object]], rows: bool) -> None:
        self.length = min(map(len, sequences))
        self._sequences = sequences
        self._rows = rows
        self._places = places(self.length)

    def take(self, count: int) -> list[tuple[int, object]]:
        return [(place, self._item(place)) for place in islice(self._places, count)]

    def _item(self, place: int) -> object:
        if self._rows:
            return tuple([sequence[place] for sequence in self._sequences])
        return self._sequences[0][place]


class _First:
    """Takes the first items of iterables without indices."""

    def __init__(self, iterables: list[Iterable[object]], rows: bool) -> None:
        self.consumed = 0
        self._read = 0
        hints = [_length_of(iterable) for iterable in iterables]
        known = [hint for hint in hints if hint is not None]
        self.length = min(known) if len(known) == len(hints) else None
        iterators = [iter(iterable) for iterable in iterables]
        self._is_gone = any(map(_is_itself, iterators, iterables))
        self._items: Iterator[object] = zip(*iterators, strict=False) if rows else iterators[0]
        self._numbered = enumerate(islice(self._items, MOST))

    def take(self, count: int) -> list[tuple[int, object]]:
        taken = list(islice(self._numbered, count))
        if self._is_gone:
            self.consumed += len(taken)
        self._read += len(taken)
        if len(taken) < count and self._read < MOST:
            self.length = self._read  # the input has ended: its length is the number of items read
        return taken


def _is_itself(iterator: object, iterable: object) -> bool:
    return iterator is iterable


def _length_of(iterable: object) -> int | None:
    try:
        hint = length_hint(iterable, -1)
    except Exception:  # a user's `__len__` may raise anything; the length is then unknown
        return None
    return None if hint < 0 else hint


def _is_sequence(iterable: object) -> TypeGuard[Sequence[object]]:
    """Return whether the items of an iterable can be read by their indices."""
    # A Series of pandas does not count, because its indices are not positions. NumPy's arrays are
    # not of the class `Sequence`, but they have indices.
    return isinstance(iterable, Sequence) or (
        type(iterable).__module__ == "numpy" and getattr(iterable, "ndim", 0) > 0
    )


def source_of(given: list[Iterable[object]]) -> Source:
    """Return a source of the items; with several iterables, an item has an element of each."""
    rows = len(given) > 1
    sequences = [iterable for iterable in given if _is_sequence(iterable)]
    if len(sequences) == len(given):
        return _Spread(sequences, rows)
    return _First(given, rows)
