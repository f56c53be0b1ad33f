"""Keys of any values: equal for the same values, and different for others."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pmap._checkpoint.keys import Keys


def plus(x: int, y: int = 0) -> int:
    return x + y


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.frozensets(st.text(max_size=2), max_size=4)
    ),
    max_leaves=6,
)


def exact(value: object) -> object:
    """Return what two values have in common that are the same, and not only equal as 1 and True."""
    parts: Any = value
    if isinstance(value, list | tuple):
        return parts.__class__.__name__, [exact(part) for part in parts]
    if isinstance(value, dict):
        return [(key, exact(part)) for key, part in parts.items()]
    return value.__class__.__name__, value


def copied(value: Any) -> Any:
    """Return an equal value of which no two parts are one object."""
    parts: Any = value
    if isinstance(value, list | tuple):
        return type(parts)([copied(part) for part in parts])
    if isinstance(value, dict):
        return {copied(key): copied(part) for key, part in parts.items()}
    if isinstance(value, frozenset):
        return frozenset([*map(copied, sorted(parts, reverse=True))])
    if isinstance(value, str):
        return "".join([*value])
    return value


@given(VALUES, VALUES)
def test_inputs_have_equal_keys_exactly_if_they_are_the_same(one: object, two: object) -> None:
    def key(value: object) -> bytes | None:
        return Keys((plus, 0), None).of(0, value)

    assert key(one) == key(copied(one))
    assert key([one, one]) == key([one, copied(one)])
    assert (key(one) == key(two)) == (exact(one) == exact(two))


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 1) | st.none())
def test_no_two_items_of_a_call_have_the_same_key(items: list[int], seed: int | None) -> None:
    keys = Keys((plus, 0), seed)
    found = [keys.of(index, item) for index, item in enumerate(items)]
    assert len({*found}) == len(items)
    again = Keys((plus, 0), seed)
    assert [again.of(index, item) for index, item in enumerate(items)] == found
