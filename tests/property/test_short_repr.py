"""The repr of any value is short, and in one line."""

from hypothesis import given
from hypothesis import strategies as st

from pmap._calls.describe import short_repr

VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.integers(20, 120))
def test_a_short_repr_is_short_and_in_one_line(value: object, limit: int) -> None:
    text = short_repr(value, limit)
    assert len(text) <= limit
    assert "\n" not in text
