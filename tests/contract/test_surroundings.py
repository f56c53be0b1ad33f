"""Law 10, no surprise: a function means in a worker what it means at the caller."""

import sys
from functools import partial
from pathlib import Path

import pytest
from tests.backends import Settings
from tests.contract.functions import nested, pool_inside, surroundings, variable
from tests.files import changed_directory
from tests.limits import TIME_LIMIT

from pmap import Apply, Map, pmap


def test_surroundings_are_the_callers(
    each: Map, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = surroundings()
    assert each(surroundings, [0, 1]) == [here] * 2
    monkeypatch.setenv("PMAP_TEST", "set")
    monkeypatch.setattr(sys, "path", ["/nowhere/pmap", *sys.path])
    with changed_directory(tmp_path):
        token = variable.set("mine")
        try:
            there = surroundings()
            assert there == (str(tmp_path), "set", True, "mine")
            assert each(surroundings, [0, 1]) == [there] * 2
            later = each.async_(surroundings, [0])
            if each.using()._settings.worker.backend != "processes":
                later.wait(
                    TIME_LIMIT
                )  # in this very process: what is changed now is changed for it
            variable.reset(token)
            token = variable.set("other")
            assert later.get(TIME_LIMIT) == [there]
        finally:
            variable.reset(token)
    monkeypatch.undo()
    assert each(surroundings, [0, 1]) == [here] * 2


def test_functions_that_no_import_finds(each: Map, one: Apply) -> None:
    base = 7

    def closure(x: int) -> int:
        return x + base

    class Local:
        def __init__(self, by: int) -> None:
            self.by = by

        def times(self, x: int) -> int:
            return self.by * x

        def __call__(self, x: int) -> "Local":
            return Local(x)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Local) and other.by == self.by

        def __hash__(self) -> int:
            return hash(self.by)

    def by(x: int, minus: int) -> int:
        return x - minus

    assert each(lambda x: x + 1, range(3)) == [1, 2, 3]
    assert each(closure, range(3)) == [7, 8, 9]
    base = 8
    assert each(closure, range(3)) == [8, 9, 10]
    assert each(Local(3).times, range(3)) == [0, 3, 6]
    assert each(Local(0), range(2)) == [Local(0), Local(1)]
    assert one(partial(by, minus=1), 5) == 4
    assert each(str.upper, ["a"]) == ["A"]
    assert each("{:03}".format, [7]) == ["007"]


def test_nested_calls(each: Map) -> None:
    assert each(nested, range(5)) == [[y * y for y in range(x)] for x in range(5)]


def test_a_pool_inside_an_item(each: Map) -> None:
    assert each(pool_inside, [3, 4]) == [[0, 1, 4], [0, 1, 4, 9]]


def test_an_empty_result_is_the_callers_own(concurrent: Settings) -> None:
    verb = pmap.using(**concurrent.options())
    for _ in range(2):
        first = verb(str, [])
        assert first == []
        first.append("mine")
        later = verb.async_(str, []).get()
        assert later == []
        later.append("mine")
    assert verb(str, [1, 2]) == ["1", "2"]
