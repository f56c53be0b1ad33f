"""Streams of items that run in this process have the length that is left of them."""

from operator import length_hint
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import pmap as door

serial = door.pmap.using(backend="serial")


@given(st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_a_stream_has_the_length_that_is_left(size: int, taken: int, sized: bool) -> None:
    items = [*range(size)]
    stream = serial.iter(abs, items if sized else iter(items))
    for number in range(min(size, taken)):
        assert length_hint(stream, -1) == size - number
        next(stream)
    left = size - min(size, taken)
    assert length_hint(stream, -1) == left
    assert hasattr(stream, "__len__") == sized
    some: Any = stream
    assert not sized or len(some) == left
    assert bool(some)
    assert [*stream] == items[size - left :]
    assert length_hint(stream, -1) == 0
    assert [*stream] == []
