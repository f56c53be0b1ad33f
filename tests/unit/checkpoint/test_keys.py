"""Keys: equal for what does the same, and different for what does not."""

import functools
import textwrap
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pmap import share
from pmap._checkpoint.keys import Keys, NoKeyError


def function_of(source: str, name: str = "f", **names: object) -> Any:
    """Return a function that a script would define."""
    space: dict[str, object] = {"__name__": "__main__", **names}
    exec(compile(textwrap.dedent(source), "script.py", "exec"), space)
    return space[name]


def digest(function: object, seed: int | None = None) -> bytes:
    return Keys((function, 0), seed).function


PLAIN = """
    LIMIT = 3
    TABLE = {"a": [1, 2]}
    class Point:
        scale = 2
        def __init__(self, x): self.x = x
        def size(self): return self.scale * abs(self.x)
    def helper(x, by=2): return x * by
    def f(x, add=1, *, names={"one", "two"}):
        '''Add.'''
        return helper(x) + add + LIMIT + Point(x).size() + len(TABLE), f
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+ add", "- add"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("[1, 2]", "[1, 3]"),
        ("add=1", "add=2"),
        ('"two"', '"three"'),
        ("by=2", "by=3"),
        ("x * by", "x ** by"),
        ("scale = 2", "scale = 3"),
        ("self.scale * abs(self.x)", "abs(self.x)"),
    ],
)
def test_a_change_of_what_it_does_is_noticed(old: str, new: str) -> None:
    assert old in PLAIN
    assert digest(function_of(PLAIN)) != digest(function_of(PLAIN.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    LIMIT = 3\n", "    # A comment.\n\n    import os\n    LIMIT = 3\n"),
        ("    def helper", "    def other(): pass\n    def helper"),
        ('{"one", "two"}', '{"two", "one"}'),
    ],
)
def test_a_change_of_where_it_is_written_is_none(old: str, new: str) -> None:
    assert old in PLAIN
    assert digest(function_of(PLAIN)) == digest(function_of(PLAIN.replace(old, new)))


def made(x: object) -> Callable[[int], object]:
    def inner(y: int) -> object:
        return x, y, inner

    return inner


def test_a_closure_counts() -> None:
    assert digest(made(1)) == digest(made(1))
    assert digest(made(1)) != digest(made(2))
    assert digest(made({"a"})) != digest(made({"b"}))
    assert digest(made(made(1))) != digest(made(made(2)))


def plus(x: int, y: int = 0) -> int:
    return x + y


def test_each_kind_of_callable_has_a_digest() -> None:
    kinds: list[object] = [
        plus,
        functools.partial(plus, 1),
        functools.partial(plus, 2),
        functools.lru_cache(plus),
        "a".join,
        "b".join,
        len,
        np.sqrt,
        dict,
        lambda: 0,
        lambda: 1,
    ]
    assert len({digest(kind) for kind in kinds}) == len(kinds)


def test_a_function_of_an_installed_package_counts_by_its_name() -> None:
    module = types.ModuleType("installed_one")
    module.__file__ = functools.__file__
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "installed_one", module)
        one = function_of("def f(x): return x", __name__="installed_one")
        two = function_of("def f(x): return -x", __name__="installed_one")
        assert digest(one) == digest(two)
        patch.setattr(module, "__file__", "/somewhere/else.py")
        assert digest(one) != digest(two)


def test_a_lock_counts_by_its_type() -> None:
    import threading

    assert digest(made(threading.Lock())) == digest(made(threading.Lock()))
    with pytest.raises(NoKeyError):
        digest(threading.Lock().acquire)


def test_a_shared_value_counts() -> None:
    one, two, other = share([1]), share([1]), share([2])
    assert digest(made(one)) == digest(made(two)) != digest(made(other))


# -- inputs ------------------------------------------------------------------------------------


def test_equal_inputs_are_the_first_the_second_and_so_on_wherever_they_stand() -> None:
    keys, others = Keys((plus, 0), None), Keys((plus, 0), None)
    first = [keys.of(index, item) for index, item in enumerate("aba")]
    second = [others.of(index, item) for index, item in enumerate("xaab")]
    assert [second[1], second[3], second[2]] == first


def test_with_a_seed_the_index_counts() -> None:
    assert Keys((plus, 0), 1).of(0, "a") != Keys((plus, 0), 1).of(1, "a")
    assert Keys((plus, 0), 1).of(0, "a") != Keys((plus, 0), 2).of(0, "a")


def test_a_value_that_contains_itself_has_a_key() -> None:
    one: list[object] = [1]
    one.append(one)
    two: list[object] = [1]
    two.append(two)
    assert Keys((plus, 0), None).of(0, one) == Keys((plus, 0), None).of(0, two)


def test_what_cannot_be_pickled_has_none() -> None:
    import threading

    assert Keys((plus, 0), None).of(0, threading.Lock()) is None


def test_arrays() -> None:
    keys = [
        Keys((plus, 0), None).of(0, array)
        for array in (np.arange(3), np.arange(3), np.arange(4), np.arange(3.0))
    ]
    assert keys[0] == keys[1]
    assert len({*keys}) == 3


def test_a_function_as_an_input_counts_by_what_it_does() -> None:
    keys = [Keys((plus, 0), None).of(0, made(x)) for x in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]
