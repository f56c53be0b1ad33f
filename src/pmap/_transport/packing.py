"""Many plain values as one value that ``marshal`` writes and reads quickly.

A plain scalar, or a short tuple of them, travels as it is. Many ints, or many floats, travel as the
words of a typed array, and a range as three ints; many short strings travel as one string, and many
rows of one length as their cells, where all cells have one type.
"""

from __future__ import annotations

import struct
from itertools import chain

from .segments import LARGE

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final, Literal, TypeAlias

    # What stands in a message is known from its first word, and what an entry is from its own type,
    # at run time only: no type can say it, so each end names and types the parts as it takes them.
    Entry: TypeAlias = Any
    # Entries as they travel: a list, the words of a typed array, strings in one, width and cells of
    # rows, or start, stop and step of a range.
    Packed: TypeAlias = (
        list[Entry]
        | tuple[Literal["i", "q", "d"], bytes]
        | tuple[Literal["s"], str | bytes]
        | tuple[Literal["t"], tuple[int, "Packed"]]
        | tuple[int, int, int]
    )


# marshal gives back exactly these, by exact type; it would turn a bytearray into bytes, so the
# test is by type and never by trying.
PLAIN: frozenset[type] = frozenset({int, float, bool, str, bytes, complex, type(None)})
_LONG: frozenset[type] = frozenset({bytes, str})  # those of them that may be large

# The types of which many travel as an array of 64-bit words, and the format of one: marshal would
# look each object up among those that it has written, which takes ten times as long.
ARRAY_FORMATS: Final[dict[type, Literal["q", "d"]]] = {int: "q", float: "d"}
_WORTH_AN_ARRAY = 16  # so many are worth it
# The words that items are tried to travel as, the smallest first.
_WORDS: dict[type, tuple[Literal["i", "q", "d"], ...]] = {int: ("i", "q"), float: ("d",)}
_SHORT = 64  # characters of strings that travel as one, in the mean
# What travels in bulk where all are of one type. A set asks for identity, where to count the types
# would be to believe a metaclass that says that its class equals another.
_IN_BULK: dict[type, frozenset[type]] = {
    kind: frozenset({kind}) for kind in (int, float, str, bytes, tuple)
}
_LONGEST_PLAIN_TUPLE = 16  # longer ones gain little over pickle, and the test would cost more


def is_plain(value: object) -> bool:
    """Return whether `value` may be an entry as it is.

    >>> is_plain(3), is_plain((1, "a")), is_plain([1])
    (True, True, False)
    """
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind is not tuple:  # by exact type: a named tuple is not plain
        return False
    row: Any = value
    return len(row) <= _LONGEST_PLAIN_TUPLE and PLAIN.issuperset(map(type, row))


def packed(values: Sequence[object]) -> Packed | None:
    """Return `values` as they travel if all are plain, or None; quick for many of one kind.

    >>> packed([3, "a"]), packed(range(5)), packed([[1]])
    ([3, 'a'], (0, 5, 1), None)
    """
    if isinstance(values, range):
        return values.start, values.stop, values.step
    if len(values) == 1:
        return list(values) if is_plain(values[0]) and not is_long(values[0]) else None
    if len(values) >= _WORTH_AN_ARRAY:
        one = type(values[0])
        only = _IN_BULK.get(one)
        if only is not None and only.issuperset(map(type, values)):
            return _packed_alike(one, values)
    kinds = set(map(type, values))
    if PLAIN.issuperset(kinds):
        long: Any = values
        if kinds and kinds <= _LONG and max(map(len, long)) >= LARGE:
            return None
        return list(values)
    rows: Any = values
    return _packed_rows(rows) if kinds == {tuple} else None


def _packed_alike(kind: type, values: Any) -> Packed | None:
    """Return many values of one kind as they travel, or None if not all are plain."""
    for word in _WORDS.get(kind, ()):
        try:
            return word, struct.pack(f"{len(values)}{word}", *values)
        except struct.error:  # an int has more bits than that
            continue
    if kind in _WORDS:
        return list(values)
    if kind is tuple:
        return _packed_rows(values)
    size = sum(map(len, values))
    # marshal would send one that stands there often only once: short ones only.
    if size <= min(LARGE, _SHORT * len(values)):
        zero = "\0" if kind is str else b"\0"
        joined: Any = zero.join(values)
        if joined.count(zero) == len(values) - 1:
            return "s", joined
    return None if size >= LARGE and max(map(len, values)) >= LARGE else list(values)


def _packed_rows(rows: Sequence[tuple[object, ...]]) -> Packed | None:
    """Return tuples as they travel, or None if not all are plain.

    Many of one length travel as their cells where these have one type: of several types, to put the
    rows together again takes longer than marshal takes for them.
    """
    kinds, width = set(map(type, rows[0])), len(rows[0])
    if not PLAIN.issuperset(kinds):
        return None  # the others need not be looked at
    alike = len(rows) >= _WORTH_AN_ARRAY and len(kinds) == 1 and width <= _LONGEST_PLAIN_TUPLE
    if alike and list(map(len, rows)).count(width) == len(rows):
        cells = packed(list(chain.from_iterable(rows)))
        if not isinstance(cells, list):
            return None if cells is None else ("t", (width, cells))
        return list(rows)
    if max(map(len, rows)) <= _LONGEST_PLAIN_TUPLE and PLAIN.issuperset(
        map(type, chain.from_iterable(rows))
    ):
        return list(rows)
    return None


def unpacked(values: Packed) -> list[Entry] | range | memoryview[int] | memoryview[float]:
    """Return what `packed` was given: as a list, a range, or a view of a typed array."""
    if isinstance(values, list):
        return values
    if len(values) == 3:
        return range(*values)
    if values[0] == "t":
        width, packed_cells = values[1]
        flat = unpacked(packed_cells)
        cells = iter(flat.tolist() if isinstance(flat, memoryview) else flat)
        return list(zip(*[cells] * width, strict=True))
    if values[0] == "s":
        joined = values[1]
        return joined.split("\0") if isinstance(joined, str) else joined.split(b"\0")
    view = memoryview(values[1])
    return view.cast(values[0])


def is_long(value: object) -> bool:
    """Return whether a plain value is one that had better travel in a segment."""
    text: Any = value
    return type(value) in _LONG and len(text) >= LARGE
