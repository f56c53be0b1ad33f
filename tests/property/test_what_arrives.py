"""Whatever value is sent, that is what arrives."""

import math
import struct
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from tests.property.plain_values import plain

from pmap._transport.framing import FrameReader, frame
from pmap._transport.values import encode, loads

values: st.SearchStrategy[object] = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=20).map(tuple), max_leaves=30
)


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal to the type and the sign of a zero; NaN is itself."""
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        rows: list[list[Any]] = [[*a], [*b]]
        return len(rows[0]) == len(rows[1]) and all(map(same, *rows))
    if type(a) is float:
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if type(a) is complex:
        return same(a.real, b.real) and same(a.imag, b.imag)
    return bool(a == b)


def through(value: object) -> object:
    """Return what arrives when `value` is sent in a message."""
    (message,) = FrameReader().feed(frame((7, encode(value))))
    entry: Any = message[1]
    if type(entry) is not list:
        return entry
    (data,) = cast("list[bytes]", entry)
    return loads(data)


@given(values)
def test_what_arrives_is_what_was_sent(value: object) -> None:
    assert same(through(value), value)
