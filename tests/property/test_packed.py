"""Items that travel in bulk arrive as they were: same values, same types, same order."""

import array
import marshal
import struct
import tracemalloc
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap._transport.packing import PLAIN, is_plain, packed, unpacked
from pmap._transport.segments import LARGE

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),  # lone surrogates, and zeros, too
    st.binary(),
    st.complex_numbers(),
)
ALIKE = st.sampled_from(
    [
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=4),
        st.binary(max_size=4),
    ]
)


class Row(NamedTuple):
    """No plain tuple, though it is one."""

    a: int
    b: int


@st.composite
def columns(draw: st.DrawFn) -> list[object]:
    """Return a list of values of one type, or of any."""
    size = draw(st.integers(1, 40))
    of_one = draw(ALIKE)
    values: list[object] = draw(st.lists(of_one, min_size=size, max_size=size))
    if draw(st.booleans()):
        values[draw(st.integers(0, size - 1))] = draw(SCALARS)
    return values


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[object, ...]]:
    """Return tuples, mostly of one length."""
    size = draw(st.integers(1, 40))
    width = draw(st.integers(0, 17))
    kinds = draw(st.lists(st.one_of(ALIKE, st.just(SCALARS)), min_size=width, max_size=width))
    made = draw(st.lists(st.tuples(*kinds), min_size=size, max_size=size))
    if draw(st.booleans()):
        made[draw(st.integers(0, size - 1))] = tuple(draw(st.lists(SCALARS, max_size=3)))
    return list(made)


def exact(value: object) -> object:
    """Return what is equal for what is the same: floats by their bits, all else with its type."""
    if type(value) is float:
        return struct.pack("d", value)
    if type(value) is complex:
        return struct.pack("dd", value.real, value.imag)
    if type(value) in (tuple, list):
        row: Any = value
        return type(value).__name__, [exact(each) for each in row]
    return type(value), value


def travelled(values: list[Any]) -> list[Any] | None:
    """Return `values` after their journey in a message, or None if they need pickling."""
    entries = packed(values)
    return None if entries is None else [*unpacked(marshal.loads(marshal.dumps(entries)))]


@given(columns())
def test_scalars_arrive_as_they_were(values: list[object]) -> None:
    assert exact(travelled(values)) == exact(values)


@given(rows())
def test_rows_arrive_as_they_were(values: list[tuple[object, ...]]) -> None:
    if max(map(len, values)) > 16:
        assert travelled(values) is None
    else:
        assert exact(travelled(values)) == exact(values)


@given(
    columns(),
    st.integers(0, 39),
    st.sampled_from([[1], {}, Row(1, 2), ([1],), (Row(1, 2),), ((1,),), object(), 1 << 3, "a"]),
)
def test_what_is_not_plain_is_pickled(values: list[object], at: int, other: object) -> None:
    values.insert(at, other)
    pairs: list[object] = [(1, value) for value in values]
    turned: list[object] = [(value, "b") for value in values]
    for shape in (values, pairs, turned):
        kinds = set(map(type, shape))
        arrived = travelled(shape)
        if all(map(is_plain, shape)) and (kinds <= PLAIN or kinds == {tuple}):
            assert exact(arrived) == exact(shape)
        else:
            assert arrived is None


@pytest.mark.parametrize("kind", [str, bytes])
@pytest.mark.parametrize("many", [1, 40])
def test_a_long_string_is_not_for_a_message(kind: type[str | bytes], many: int) -> None:
    short: Any = "ab" if kind is str else b"ab"
    assert travelled([short] * many) == [short] * many
    assert travelled([short] * many + [short * LARGE]) is None
    assert travelled([short] * many + [short * LARGE] + [short] * many) is None


class Liar(type):
    """The type of classes that say that they are int."""

    def __eq__(cls, other: object) -> bool:
        return other is int or cls is other

    __hash__ = type.__hash__


class Refuser(type):
    """The type of classes that do not let themselves be compared."""

    def __eq__(cls, other: object) -> bool:
        raise TypeError("not comparable")

    __hash__ = type.__hash__


@pytest.mark.parametrize("metaclass", [Liar, Refuser])
def test_no_class_passes_for_int_that_is_none(metaclass: type[type]) -> None:
    kind = metaclass("Kind", (int,), {})
    assert travelled([1] * 20 + [kind(5)]) is None
    assert travelled([(1,)] * 20 + [(kind(5),)]) is None


@pytest.mark.parametrize("in_rows", [False, True])
def test_large_strings_are_not_joined_to_see_how_large_they_are(in_rows: bool) -> None:
    large = "x" * (LARGE * 8)
    values: list[Any] = ["a", *[large] * 100, "b"]
    if in_rows:
        values = [(value,) for value in values]
    tracemalloc.start()
    try:
        travelled(values)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10 * len(large)


@given(
    st.sampled_from([st.integers(-(1 << 31), (1 << 31) - 1), st.floats()]),
    st.integers(16, 40),
    st.data(),
    st.sampled_from([list, tuple]),
)
def test_many_numbers_travel_as_marshal_writes_them(
    kind: st.SearchStrategy[Any], size: int, data: st.DataObject, form: type[Any]
) -> None:
    values = form(data.draw(st.lists(kind, min_size=size, max_size=size)))
    entries = packed(values)
    assert entries is not None
    assert entries[0] == "m"
    assert exact(travelled(values)) == exact([*values])


@pytest.mark.parametrize("other", [True, None, 1.5, 1 << 31, -(1 << 31) - 1, "i" * 4, b"i" * 40])
@pytest.mark.parametrize("at", range(1, 19))
def test_one_other_value_among_ints_arrives_as_it_was(other: object, at: int) -> None:
    # The bytes of an int may look like the tag of an int.
    values: list[object] = [0x69696969] * 20
    values[at] = other
    assert exact(travelled(values)) == exact(values)


def test_an_array_does_not_pass_for_a_list() -> None:
    values: Any = array.array("b", b"i" * 100)
    assert exact(travelled(values)) == exact([*values])


def test_one_string_in_many_items_travels_once() -> None:
    text = "x" * 10_000
    entries = packed([(text, number) for number in range(100)])
    assert len(marshal.dumps(entries)) < 20_000


def test_many_short_strings_take_little_more_than_their_characters() -> None:
    texts = [str(number) for number in range(1000)]
    assert len(marshal.dumps(packed(texts))) < sum(map(len, texts)) + 1100
