"""The verbs on the serial backend, in this very process: what their serial twins return."""

from hypothesis import given
from hypothesis import strategies as st

from pmap import (
    papply,
    pmap,
    pstarmap,
)


def double(x: int) -> int:
    return 2 * x


@given(st.lists(st.integers()))
def test_results_are_those_of_the_serial_twins(xs: list[int]) -> None:
    assert pmap.using(backend="serial")(double, xs) == list(map(double, xs))
    assert pmap(divmod, xs, [3, 4], backend="serial") == list(map(divmod, xs, [3, 4]))
    assert pstarmap(double, [(x,) for x in xs], backend="serial") == list(map(double, xs))
    assert papply.using(backend="serial")(sum, xs, start=1) == sum(xs, start=1)
