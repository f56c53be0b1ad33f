"""Many plain values as one value that ``marshal`` writes and reads quickly.

A plain scalar, or a short tuple of plain scalars, travels as it is. Many ints or many floats travel
as the words of a typed array, and a range as three ints. Many short strings travel as one string.
Many rows of one length travel as their cells, if all cells have one type.
"""

from __future__ import annotations

import struct
from itertools import chain

from .segments import LARGE

TYPE_CHECKING = False  # `typing` is not imported here: see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final, Literal, TypeAlias

    # The first word of a message says what its parts are, and the type of an entry what the entry
    # is, at run time only. No type can express that, so the reader gives a type to each part that
    # it takes.
    Entry: TypeAlias = Any
    # Entries as they travel: a list; the words of a typed array; strings joined into one; width and
    # cells of rows; or start, stop and step of a range.
    Packed: TypeAlias = (
        list[Entry]
        | tuple[Literal["i", "q", "d"], bytes]
        | tuple[Literal["s"], str | bytes]
        | tuple[Literal["t"], tuple[int, "Packed"]]
        | tuple[int, int, int]
    )


# marshal gives back objects of exactly these types. It would turn a bytearray into bytes, so the
# code tests the type and does not just try.
PLAIN: frozenset[type] = frozenset({int, float, bool, str, bytes, complex, type(None)})
_LONG: frozenset[type] = frozenset({bytes, str})  # the plain types whose values may be large

# The types whose values travel as an array of 64-bit words if there are many, with the format of a
# word. marshal would look up each object among those it has written, which takes ten times as long.
ARRAY_FORMATS: Final[dict[type, Literal["q", "d"]]] = {int: "q", float: "d"}
_WORTH_AN_ARRAY = 16  # how many values make an array worth its cost
# The formats that are tried for an array, the smallest first.
_WORDS: dict[type, tuple[Literal["i", "q", "d"], ...]] = {int: ("i", "q"), float: ("d",)}
_SHORT = 64  # strings travel as one if their mean length is no more than this, in characters
# The types of values that travel in bulk if all have the same type. The test looks each type up in
# a set. Counting types with `==` would believe a metaclass that says its class equals another.
_IN_BULK: dict[type, frozenset[type]] = {
    kind: frozenset({kind}) for kind in (int, float, str, bytes, tuple)
}
_LONGEST_PLAIN_TUPLE = 16  # longer tuples gain little over pickle, and testing them would cost more


def is_plain(value: object) -> bool:
    """Return whether `value` may be an entry as it is.

    >>> is_plain(3), is_plain((1, "a")), is_plain([1])
    (True, True, False)
    """
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind is not tuple:  # a named tuple, whose exact type is another, is not plain
        return False
    row: Any = value
    return len(row) <= _LONGEST_PLAIN_TUPLE and PLAIN.issuperset(map(type, row))


def packed(values: Sequence[object]) -> Packed | None:
    """Return `values` as they travel if all are plain, or None; quick for many of one type.

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
    """Return many values of one type as they travel, or None if not all are plain."""
    for word in _WORDS.get(kind, ()):
        try:
            return word, struct.pack(f"{len(values)}{word}", *values)
        except struct.error:  # an int has more bits than a word of this format
            continue
    if kind in _WORDS:
        return list(values)
    if kind is tuple:
        return _packed_rows(values)
    size = sum(map(len, values))
    # Only short strings are joined: marshal writes an object that occurs often only once, and a
    # joined text has it each time.
    if size <= min(LARGE, _SHORT * len(values)):
        zero = "\0" if kind is str else b"\0"
        joined: Any = zero.join(values)
        if joined.count(zero) == len(values) - 1:
            return "s", joined
    return None if size >= LARGE and max(map(len, values)) >= LARGE else list(values)


def _packed_rows(rows: Sequence[tuple[object, ...]]) -> Packed | None:
    """Return tuples as they travel, or None if not all are plain.

    Many tuples of one length travel as their cells if all cells have one type. With several types,
    putting the rows together again would take longer than marshal takes for the rows.
    """
    kinds, width = set(map(type, rows[0])), len(rows[0])
    if not PLAIN.issuperset(kinds):
        return None  # one tuple that is not plain is enough: the others need no test
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
    """Return whether a plain value is so large that it should travel in a segment."""
    text: Any = value
    return type(value) in _LONG and len(text) >= LARGE
