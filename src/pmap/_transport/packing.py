"""Many plain values as one value that ``marshal`` writes and reads quickly.

A plain scalar, or a short tuple of plain scalars, travels as it is. Many ints or many floats travel
as the words of a typed array, and a range as three ints. Many short strings travel as one string.
Many rows (short tuples) of one length travel as their cells, if all cells have one type.
"""

from __future__ import annotations

import struct
from itertools import chain

from .segments import LARGE

TYPE_CHECKING = False  # this module does not import `typing`: see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final, Literal, TypeAlias

    # A message entry: one pickled or plain value (see `values`). Only at run time the type of an
    # entry says what the entry is. No annotation can express that, so the code that reads an entry
    # gives a type to each part that it takes.
    Entry: TypeAlias = Any
    # Message entries as they travel: a list; format and words of a typed array; strings joined into
    # one; width and cells of rows; or start, stop and step of a range.
    Packed: TypeAlias = (
        list[Entry]
        | tuple[Literal["i", "q", "d"], bytes]
        | tuple[Literal["s"], str | bytes]
        | tuple[Literal["t"], tuple[int, "Packed"]]
        | tuple[int, int, int]
    )


# The plain types: marshal reads an object of one of these types back as an object of the same type.
# The code tests the type and does not just try marshal, which would turn a bytearray into bytes.
PLAIN: frozenset[type] = frozenset({int, float, bool, str, bytes, complex, type(None)})
_LONG: frozenset[type] = frozenset({bytes, str})  # the plain types whose values may be large

# The types whose values travel as a typed array of 64-bit words if there are many values, with the
# format of a word. As a list they would take ten times as long: marshal would look up each object
# among the objects that it has written.
ARRAY_FORMATS: Final[dict[type, Literal["q", "d"]]] = {int: "q", float: "d"}
_WORTH_AN_ARRAY = 16  # so many values make a typed array worth its cost
# The formats of words that are tried for a typed array, the smallest first.
_WORDS: dict[type, tuple[Literal["i", "q", "d"], ...]] = {int: ("i", "q"), float: ("d",)}
_SHORT = 64  # strings are joined into one if their mean length is at most so many characters
# The types of values that travel in bulk if all values have the same type. The test looks the type
# of each value up in a set. A test with `==` would believe a metaclass that says that its class
# equals another class.
_IN_BULK: dict[type, frozenset[type]] = {
    kind: frozenset({kind}) for kind in (int, float, str, bytes, tuple)
}
# A tuple of at most so many values may be plain. A longer tuple would gain little over pickle, and
# the test of its values would take longer.
_LONGEST_PLAIN_TUPLE = 16


def is_plain(value: object) -> bool:
    """Return whether `value` may be a message entry as it is: a plain scalar, or a tuple of them.

    >>> is_plain(3), is_plain((1, "a")), is_plain([1])
    (True, True, False)
    """
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind is not tuple:  # a named tuple has a type of its own, and is not plain
        return False
    row: Any = value
    return len(row) <= _LONGEST_PLAIN_TUPLE and PLAIN.issuperset(map(type, row))


def packed(values: Sequence[object]) -> Packed | None:
    """Return `values` as they travel if all values are plain, else None.

    Many values of one type take the least time.

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
    """Return many values of one type as they travel, or None if not all values are plain."""
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
    # Only short strings are joined: marshal writes a string object that occurs several times only
    # once, but the joined string contains the text of the object each time.
    if size <= min(LARGE, _SHORT * len(values)):
        zero = "\0" if kind is str else b"\0"
        joined: Any = zero.join(values)
        if joined.count(zero) == len(values) - 1:
            return "s", joined
    return None if size >= LARGE and max(map(len, values)) >= LARGE else list(values)


def _packed_rows(rows: Sequence[tuple[object, ...]]) -> Packed | None:
    """Return tuples as they travel, or None if not all tuples are plain.

    Many tuples of one length travel as their cells if all cells have one type. With cells of
    several types, putting the tuples together again would take longer than marshal takes for the
    tuples.
    """
    kinds, width = set(map(type, rows[0])), len(rows[0])
    if not PLAIN.issuperset(kinds):
        return None  # the first tuple is not plain, so the other tuples need no test
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
    """Return the values that `packed` was given: as a list, a range, or a view of a typed array."""
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
    """Return whether a plain value is so large that it should travel in a shared-memory segment."""
    text: Any = value
    return type(value) in _LONG and len(text) >= LARGE
