"""Which items a trial takes: spread over the whole input."""

from hypothesis import given
from hypothesis import strategies as st

from pmap._explain.source import MOST, places


@given(st.integers(1, 5000))
def test_places_differ_and_are_spread(length: int) -> None:
    found = list(places(length))
    assert len(set(found)) == len(found) == min(length, MOST)
    assert all(0 <= place < length for place in found)
    # Of the first few, no two are in the same part of the input.
    few = min(8, length)
    assert len({place * 4 // length for place in found[:few]}) == min(4, few)
