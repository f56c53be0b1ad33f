"""The items of a call are those of the serial loop, whatever its iterables are."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.calls.callables import double

from pmap._calls.call import Kind, each


@given(st.lists(st.integers()))
def test_one_iterable_is_each(xs: list[int]) -> None:
    for given_xs in (xs, tuple(xs), iter(xs), dict.fromkeys(xs)):
        call = each("pmap", double, (given_xs,))
        assert call.kind is Kind.EACH
        assert list(call.items) == (list(dict.fromkeys(xs)) if isinstance(given_xs, dict) else xs)


@given(st.lists(st.lists(st.integers()), min_size=2, max_size=8))
def test_several_iterables_end_with_the_shortest(iterables: list[list[int]]) -> None:
    call = each("pmap", max, tuple(iter(xs) for xs in iterables))
    assert call.kind is Kind.STAR
    assert call.items == list(zip(*iterables, strict=False))
