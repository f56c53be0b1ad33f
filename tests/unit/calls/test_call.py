"""What one call asks for: wrong arguments are told before anything starts; names for messages."""

import asyncio
import functools
import itertools
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap import pmap, pstarmap, sync
from pmap._calls.call import Call, Kind, apply, each, star
from pmap._calls.describe import name_of, short_repr


def double(x: int) -> int:
    return 2 * x


async def fetch(x: int) -> int:
    return x


async def pages(x: int) -> AsyncIterator[int]:
    yield x


def numbers(x: int) -> Iterator[int]:
    yield x


class Adder:
    def __init__(self, n: int = 1) -> None:
        self.n = n

    def __call__(self, x: int) -> int:
        return x + self.n

    def add(self, x: int) -> int:
        return x + self.n

    async def afetch(self, x: int) -> int:
        return x

    @staticmethod
    async def sfetch(x: int) -> int:
        return x


class Fetcher:
    async def __call__(self, x: int) -> int:
        return x


class Lister:
    def __call__(self, x: int) -> Iterator[int]:
        yield x


class Row(NamedTuple):
    x: int
    y: int


class Old:
    """Iterable by the old protocol only."""

    def __getitem__(self, index: int) -> int:
        if index > 2:
            raise IndexError
        return index


class Hostile:
    def __repr__(self) -> str:
        raise ValueError("no")


class Nameless:
    def __getattr__(self, name: str) -> object:
        if name == "__qualname__":
            raise RuntimeError("no")
        raise AttributeError(name)


class Exiting:
    def __repr__(self) -> str:
        raise SystemExit(3)


# -- items -------------------------------------------------------------------------------------


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


def test_a_list_is_copied_what_cannot_change_is_kept() -> None:
    xs = [1, 2]
    call = each("pmap", double, (xs,))
    xs.append(3)
    assert call.items == [1, 2]
    for fixed in ((1, 2), range(10**12)):
        assert each("pmap", double, (fixed,)).items is fixed
    row = Row(1, 2)
    assert each("pmap", double, (row,)).items == [1, 2]
    assert each("pmap", double, (Old(),)).items == [0, 1, 2]
    assert each("pmap", double, ("ab",)).items == ["a", "b"]


def test_the_exception_of_an_iterable_is_its_own() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        each("pmap", double, (broken(),))
    with pytest.raises(KeyError, match="mine"):
        each("pmap", max, ([1, 2], broken()))


def test_rows_become_tuples_and_no_row_is_left_to_its_item() -> None:
    row = Row(1, 2)
    call = star("pstarmap", pow, [row, [1, 2], "ab", (), 5, None, {"k": 1}])
    assert call.items == [row, (1, 2), ("a", "b"), (), 5, None, ("k",)]
    assert call.items[0] is row
    assert call.kind is Kind.STAR


@pytest.mark.parametrize("rows", [[(1, 2), 5], [(1, 2), (1,)], [(1, 2), (1, 2, 3, 4)], [None]])
def test_a_bad_row_is_a_type_error_as_in_starmap(rows: list[tuple[int, ...]]) -> None:
    with pytest.raises(TypeError):
        list(itertools.starmap(pow, rows))
    with pytest.raises(TypeError):
        pstarmap.using(backend="serial")(pow, rows)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_apply_is_one_item() -> None:
    call = apply("papply", double, (1,), {"x": 2})
    assert call.items == (((1,), {"x": 2}),)
    assert call.kind is Kind.APPLY


# -- what is no iterable -----------------------------------------------------------------------


def test_the_argument_that_is_no_iterable_is_named() -> None:
    with pytest.raises(TypeError, match=r"^pmap's second argument xs must be iterable, got int: 5"):
        each("pmap", double, (5,))
    with pytest.raises(TypeError, match=r"^pmap's third argument ys must be iterable, got None"):
        each("pmap", max, ([1], None))
    with pytest.raises(TypeError, match=r"^pmap's argument 9 must be iterable, got float: 1.5"):
        each("pmap", max, (*[[1]] * 7, 1.5))
    with pytest.raises(TypeError, match=r"^pstarmap's second argument rows must be iterable"):
        star("pstarmap", double, 5)


def test_nothing_is_read_where_an_argument_is_wrong() -> None:
    source = iter([1, 2])
    with pytest.raises(TypeError):
        each("pmap", max, (source, 5))
    with pytest.raises(TypeError):
        each("pmap", None, (source,))
    assert list(source) == [1, 2]


def test_an_asynchronous_iterable_is_refused_with_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"asynchronous.*async for y in"):
        each("pmap", double, (pages(1),))


# -- what is no function -----------------------------------------------------------------------


@pytest.mark.parametrize("xs", [[], [1]])
def test_none_is_no_function_also_over_nothing(xs: list[int]) -> None:
    with pytest.raises(TypeError, match=r"^pmap's first argument must be a function, got None"):
        each("pmap", None, (xs,))
    with pytest.raises(TypeError, match=r"^pstarmap's first argument must be a function"):
        star("pstarmap", None, xs)
    with pytest.raises(TypeError, match=r"^papply's first argument must be a function"):
        apply("papply", None, (), {})


def test_a_result_in_place_of_the_function_shows_the_right_call() -> None:
    with pytest.raises(TypeError, match=r"got int: 2\. .*pmap\(f, xs\), not pmap\(f\(x\), xs\)"):
        each("pmap", double(1), ([1],))
    with pytest.raises(TypeError, match=r"pstarmap\(f, rows\), not pstarmap\(f\(\*row\), rows\)"):
        star("pstarmap", 5, [(1,)])
    with pytest.raises(TypeError, match=r"papply\(f, \*args\), not papply\(f\(\*args\)\)"):
        apply("papply", 5, (1,), {})


def test_swapped_arguments_are_seen() -> None:
    with pytest.raises(TypeError, match=r"The function comes first: pmap\(f, xs\)"):
        each("pmap", [1, 2], (double,))


ASYNCHRONOUS: list[Callable[[int], object]] = [
    fetch,
    functools.partial(fetch),
    functools.partial(functools.partial(fetch)),
    Adder().afetch,
    functools.partial(Adder().afetch),
    Adder.sfetch,
    Fetcher(),
    functools.partial(Fetcher()),
]


@pytest.mark.parametrize("function", ASYNCHRONOUS, ids=name_of)
def test_a_coroutine_function_is_refused(function: Callable[[int], object]) -> None:
    ways: list[Callable[[], Call]] = [
        lambda: each("pmap", function, ([],)),
        lambda: star("pstarmap", function, []),
        lambda: apply("papply", function, (), {}),
    ]
    for make in ways:
        with pytest.raises(TypeError, match=r"coroutine function (?s:.*)\(sync\("):
            make()


@pytest.mark.parametrize("function", [numbers, functools.partial(numbers), Lister()], ids=name_of)
def test_a_generator_function_is_refused(function: Callable[[int], object]) -> None:
    with pytest.raises(TypeError, match="the generator function "):
        each("pmap", function, ([],))


@pytest.mark.parametrize("function", [fetch, numbers, pages])
def test_the_wrapper_in_the_message_works(function: Callable[[int], object]) -> None:
    with pytest.raises(TypeError) as caught:
        each("pmap", function, ([1, 2],))
    code = textwrap.dedent(str(caught.value).split(":\n\n")[1])
    *wrapper, call = code.splitlines()
    names: dict[str, object] = {"asyncio": asyncio, name_of(function): function}
    names |= {"pmap": pmap.using(backend="serial"), "sync": sync, "xs": [1, 2]}
    exec("\n".join(wrapper), names)
    result: object = eval(call, names)
    assert result == ([1, 2] if function is fetch else [[1], [2]])


def wrapped(x: int) -> int:
    return asyncio.run(fetch(x))


@functools.wraps(fetch)
def synchronous(x: int) -> int:
    return asyncio.run(fetch(x))


PLAIN: list[Callable[..., object]] = [
    *(double, len, int, Adder, Adder(), Adder().add, functools.partial(pow, 2), str.upper),
    *(wrapped, synchronous, Fetcher, functools.lru_cache(double), lambda: fetch),
]


@pytest.mark.parametrize("function", PLAIN, ids=name_of)
def test_a_plain_function_is_taken_as_it_is(function: Callable[..., object]) -> None:
    assert each("pmap", function, ([],)).function is function


def test_a_function_that_returns_an_awaitable_is_no_coroutine_function() -> None:
    def start(x: int) -> Awaitable[int]:
        raise AssertionError(x)

    assert each("pmap", start, ([],)).function is start


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (double, "double"),
        (len, "len"),
        (Adder, "Adder"),
        (Adder(), "Adder"),
        (Adder().add, "Adder.add"),
        (functools.partial(double), "partial(double)"),
        (functools.partial(Adder()), "partial(Adder)"),
        (lambda: 1, "<lambda>"),
        (functools.lru_cache(double), "double"),
        (Nameless(), "Nameless"),
        (pmap, "pmap"),
        (None, "NoneType"),
    ],
)
def test_a_name(function: object, name: str) -> None:
    assert name_of(function) == name


def test_the_name_of_a_local_function_has_no_noise() -> None:
    def local() -> None: ...

    assert name_of(local) == "local"


# -- short reprs -------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.integers(20, 120))
def test_a_short_repr_is_short_and_in_one_line(value: object, limit: int) -> None:
    text = short_repr(value, limit)
    assert len(text) <= limit
    assert "\n" not in text


SMALL: list[object] = [
    *(1, 1.5, "a  b", b"x", [1, 2], (1,), (), {"b": 1, "a": 2}, {1}, bytearray(b"x"), range(3)),
    *(frozenset({1}), [[1], {2: (3,)}], {}, [], Row(1, 2), ..., None, double),
    *(set[int](), frozenset[int]()),
]


@pytest.mark.parametrize("value", SMALL, ids=repr)
def test_what_is_small_is_shown_as_it_is(value: object) -> None:
    assert short_repr(value) == repr(value)


class Counting:
    """Counts how often any of it was shown."""

    shown = 0

    def __repr__(self) -> str:
        Counting.shown += 1
        return "x"


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, dict.fromkeys])
def test_what_is_huge_is_not_shown_whole(kind: Callable[[list[Counting]], object]) -> None:
    Counting.shown = 0
    text = short_repr(kind([Counting() for _ in range(1000)]))
    assert 1 <= Counting.shown < 20
    assert "..." in text


def test_long_strings_and_bytes_are_cut() -> None:
    for value in ("x" * 10**6, b"x" * 10**6, bytearray(10**6), 10**4000):
        assert len(short_repr(value)) <= 80
        assert "..." in short_repr(value)


def test_a_repr_that_raises_costs_only_itself() -> None:
    assert short_repr(Hostile()) == "<Hostile object, whose repr raised ValueError>"
    assert short_repr([1, Hostile()]) == "[1, <Hostile object, whose repr raised ValueError>]"
    alone, inside = short_repr(Exiting()), short_repr([Exiting()])
    assert alone == "<Exiting object, whose repr raised SystemExit>"
    assert inside == f"[{alone}]"
    assert len(short_repr(10**5000)) <= 80  # more digits than int's own repr may have


def test_a_structure_that_contains_itself() -> None:
    xs: list[object] = []
    xs.append(xs)
    assert "..." in short_repr(xs)


class Text:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def test_a_class_that_has_the_name_of_a_builtin() -> None:
    for name in ("dict", "array", "set"):
        assert short_repr(type(name, (Text,), {})("mine")) == "mine"


def test_several_lines_become_one() -> None:
    assert short_repr(Text("[[1 2]\n    [3 4]]")) == "[[1 2] [3 4]]"
