"""Many plain values as one value that ``marshal`` writes and reads quickly.

A plain scalar, or a short tuple of plain scalars, travels as it is. Many ints or many floats travel
as a list that `marshal` has written, or as the words of a typed array; a range travels as three
ints. Many short strings travel as one string. Many rows (short tuples) of one length travel as
their columns, each packed by its own type.
"""

from __future__ import annotations

import marshal
import struct
from itertools import chain
from operator import itemgetter

from .segments import LARGE

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final, Literal, TypeAlias

    # One value in a message, pickled or plain (see the module `values`). Its form is known only at
    # run time, so no annotation can state it: the code that reads it gives each part a type.
    Entry: TypeAlias = Any
    # Many message entries, in the form in which they are sent: a list; format and words of a typed
    # array; a list as `marshal` has written it; strings joined into one; columns of rows; or start,
    # stop and step of a range.
    Packed: TypeAlias = (
        list[Entry]
        | tuple[Literal["q", "d", "m"], bytes]
        | tuple[Literal["s"], str | bytes]
        | tuple[Literal["c"], list["Packed"]]
        | tuple[int, int, int]
    )


# The plain types, which marshal writes and reads back as the same type. The type of a value is
# always tested, because marshal would silently turn a bytearray into bytes.
PLAIN: frozenset[type] = frozenset({int, float, bool, str, bytes, complex, type(None)})
_LONG: frozenset[type] = frozenset({bytes, str})  # the plain types whose values may be large

# The types whose values are sent as a typed array of 64-bit words if there are many values, with
# the format of a word. As a list these values would take ten times as long: marshal would look up
# each object among the objects that marshal has written.
ARRAY_FORMATS: Final[dict[type, Literal["q", "d"]]] = {int: "q", float: "d"}
# Fewer values than this are sent as a list: a search for a quicker form would take longer.
_MANY = 16
# How version 2 of marshal's format writes an int of 32 bits and a float: the tag, and how many
# bytes the tag and the value have together.
_TAGS: dict[type, tuple[bytes, int]] = {int: (b"i", 5), float: (b"g", 9)}
_LISTS: frozenset[type] = frozenset({list, tuple})
# How many bytes version 2 of marshal's format has before the values of a list or tuple.
_HEAD = 5
_SOME = 8  # one of this many strings is measured, to estimate the lengths of all
_SHORT = 64  # strings are joined into one if their mean length is at most this many characters
# The types of values that are sent together in one quick form if all values have the same type. The
# test looks up the type of each value in a set. A test with `==` alone would be wrong if a
# metaclass says that a class of its own equals one of these types.
_IN_BULK: dict[type, frozenset[type]] = {
    kind: frozenset({kind}) for kind in (int, float, str, bytes, tuple)
}
# A tuple of more values than this is always pickled: to test all its values would take as long as
# to pickle it.
_LONGEST_PLAIN_TUPLE = 16


def is_plain(value: object) -> bool:
    """Return whether `value` is sent as it is: a plain scalar, or a tuple of plain scalars.

    >>> is_plain(3), is_plain((1, "a")), is_plain([1])
    (True, True, False)
    """
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind is not tuple:  # tuples of a subclass, such as named tuples, are not plain
        return False
    row: Any = value
    return len(row) <= _LONGEST_PLAIN_TUPLE and PLAIN.issuperset(map(type, row))


def packed(values: Sequence[object]) -> Packed | None:
    """Return `values` in the quickest form for sending them; None if not all are plain.

    Many values of one type take the least time.

    >>> packed([3, "a"]), packed(range(5)), packed([[1]])
    ([3, 'a'], (0, 5, 1), None)
    """
    if isinstance(values, range):
        return values.start, values.stop, values.step
    if len(values) == 1:
        return list(values) if is_plain(values[0]) and not is_long(values[0]) else None
    if len(values) >= _MANY:
        one = type(values[0])
        # If the first, middle and last value differ in type, the values are mixed. Then `marshal`
        # is not tried, because it would write some of the values before it fails.
        if one in _TAGS and one is type(values[-1]) and one is type(values[len(values) // 2]):
            numbers = _packed_numbers(one, values)
            if numbers is not None:
                return numbers
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


def _packed_numbers(kind: type, values: Any) -> Packed | None:
    """Return many values as `marshal` writes them, if all are ints of 32 bits, or all floats.

    The length of what `marshal` has written, and the tags in it, show whether all values are such.
    The first tag is at a known place; where a tag says "int", the next one is five bytes behind it.
    So if the tags at all these places say "int", all values are ints. `marshal` takes no subclass
    of int or float.
    """
    if type(values) not in _LISTS:
        return None  # `marshal` writes any other sequence, such as an array, as its bytes
    tag, size = _TAGS[kind]
    try:
        data = marshal.dumps(values, 2)
    except ValueError:  # some value has a type that `marshal` does not know
        return None
    known = len(data) == _HEAD + size * len(values)
    return ("m", data) if known and data[_HEAD::size].count(tag) == len(values) else None


def _packed_alike(kind: type, values: Any) -> Packed | None:
    """Return many values of one type in a form for sending; None if not all are plain."""
    if kind is int:
        try:
            return "q", struct.pack(f"{len(values)}q", *values)
        except struct.error:  # some int needs more than 64 bits
            return list(values)
    if kind is float:
        return list(values)  # these floats are in no list or tuple, as `_packed_numbers` wants
    if kind is tuple:
        return _packed_rows(values)
    most = min(LARGE, _SHORT * len(values))
    # Only short strings are joined: marshal writes a string object that occurs several times only
    # once, but the joined string contains the text of the object each time. Whether all strings are
    # short is estimated from some of them, because to measure each string would take as long as to
    # join all.
    if sum(map(len, values[::_SOME])) <= most // _SOME:
        zero = "\0" if kind is str else b"\0"
        joined: Any = zero.join(values)
        if len(joined) - len(values) < most and joined.count(zero) == len(values) - 1:
            return "s", joined
    return None if max(map(len, values)) >= LARGE else list(values)


def _packed_rows(rows: Sequence[tuple[object, ...]]) -> Packed | None:
    """Return tuples in a form for sending; None if not all tuples are plain.

    Many tuples of one length are sent as their columns.
    """
    width = len(rows[0])
    if not PLAIN.issuperset(map(type, rows[0])):
        return None  # the first tuple is not plain, so none of the others need be looked at
    many = len(rows) >= _MANY and 0 < width <= _LONGEST_PLAIN_TUPLE
    if many and list(map(len, rows)).count(width) == len(rows):
        return _packed_columns(rows, width)
    if max(map(len, rows)) <= _LONGEST_PLAIN_TUPLE and PLAIN.issuperset(
        map(type, chain.from_iterable(rows))
    ):
        return list(rows)
    return None


def _packed_columns(rows: Sequence[tuple[object, ...]], width: int) -> Packed | None:
    """Return tuples of the length `width` as their columns.

    None if a cell is not plain, or is long.
    """
    columns: list[Packed] = []
    for at in range(width):
        # No cell of a column may be a tuple. `_packed_rows` has tested the first cell of each
        # column; in `packed`, a tuple further down differs in type from the first cell, and is
        # refused.
        cells = packed(list(map(itemgetter(at), rows)))
        if cells is None:
            return None
        columns.append(cells)
    return "c", columns


def unpacked(values: Packed) -> list[Entry] | range | memoryview[int] | memoryview[float]:
    """Return the values that `packed` was given: as a list, a range, or a view of a typed array."""
    if isinstance(values, list):
        return values
    if len(values) == 3:
        return range(*values)
    if values[0] == "m":
        numbers: list[Entry] | tuple[Entry, ...] = marshal.loads(values[1])
        return numbers if isinstance(numbers, list) else list(numbers)
    if values[0] == "c":
        return list(zip(*map(unpacked, values[1]), strict=True))
    if values[0] == "s":
        joined = values[1]
        return joined.split("\0") if isinstance(joined, str) else joined.split(b"\0")
    view = memoryview(values[1])
    return view.cast(values[0])


def is_long(value: object) -> bool:
    """Return whether a text or bytes object is so large that it is sent in shared memory."""
    text: Any = value
    return type(value) in _LONG and len(text) >= LARGE
