"""Names and reprs for messages: short, in one line, and never an error."""

import functools
from collections.abc import Callable

import pytest
from tests.bad_objects import showing_exits, text_or_exit
from tests.unit.calls.callables import Adder, Row, double

from pmap import pmap
from pmap._calls.describe import name_of, short_repr


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
        return text_or_exit("Exiting()")


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


SMALL: list[object] = [
    *(1, 1.5, "a  b", b"x", [1, 2], (1,), (), {"b": 1, "a": 2}, {1}, bytearray(b"x"), range(3)),
    *(frozenset({1}), [[1], {2: (3,)}], {}, [], Row(1, 2), ..., None, double),
    *(set[int](), frozenset[int]()),
]


@pytest.mark.parametrize("value", SMALL, ids=lambda value: type(value).__name__)
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
    with showing_exits():
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
