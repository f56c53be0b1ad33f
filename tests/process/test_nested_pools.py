"""Pools in items of pools: what each generation of workers is told of names by the one above."""

from pathlib import Path
from typing import Final

import pytest
from tests.backends import START_METHODS
from tests.confinement import can_confine, confined_script

if not can_confine():
    pytest.skip("processes cannot be confined here", allow_module_level=True)

# Each generation tells of the names in another order, so that its numbers are for others.
GENERATIONS: Final = """
import enum, sys
from dataclasses import dataclass
from multiprocessing import get_context
from pmap import Pool, pmap, share
methods = {methods!r}
count = 1
numbers = [1]
class Base:
    def __init__(self, x):
        self.x = x
class Number(Base):
    pass
@dataclass(frozen=True)
class Row:
    x: int
class Kind(enum.Enum):
    ONE = 1
    TWO = 2
def make_local():
    class Local:
        pass
    return Local
table = share([1, 2])
def number(x):
    return Number(x + count)
def row(x):
    return Row(x), Kind.TWO, number
def base(x):
    return Base(x), table.value
def changing(x):
    return list(numbers), count
def kind(given):
    return given, given is Kind.ONE, isinstance(given, Kind)
begun = None
def begin(depth):
    globals()["begun"] = depth
def check(found, wanted):
    if found != wanted:
        raise AssertionError(found, wanted)
def look(pool, function, x):
    [found] = pool.map(function, [x])
    if function is number:
        check((type(found), found.x), (Number, x + count))
    elif function is row:
        check((*found, found[1] is Kind.TWO), (Row(x), Kind.TWO, number, True))
    elif function is base:
        check((type(found[0]), found[1]), (Base, [1, 2]))
    else:
        check(found, (numbers, count))
def generation(depth):
    global count
    if depth == len(methods):
        return number(depth)
    looks = [number, row, base, changing]
    check(begun, None if depth == 0 else depth - 1)
    with Pool(1, begin, (depth,), context=get_context(methods[depth])) as pool:
        check(pool.map(lambda _: begun, [0]), [depth])
        for function in looks[depth:] + looks[:depth]:
            look(pool, function, depth)
        check(pool.map(kind, [Kind.ONE]), [(Kind.ONE, True, True)])
        local = make_local()
        check(type(pool.map(lambda x: x, [local()])[0]) is local, True)
        mine = share([depth])
        check(pool.map(lambda x: (mine.value, table.value), [0]), [([depth], [1, 2])])
        count += 1
        numbers.append(depth)
        for function in looks:
            look(pool, function, depth)
        [below] = pool.map(generation, [depth + 1])
        check(type(below), Number)
        for function in looks:
            look(pool, function, depth)
    count -= 1  # what an item changes stays in its worker
    numbers.pop()
    return below
print(generation(0).x)
"""


@pytest.mark.parametrize(
    "methods",
    [
        ["spawn", "spawn"],
        ["forkserver", "fork", "forkserver"],
        ["fork", "spawn", "fork"],
        ["fork", "fork", "fork", "fork"],
    ],
    ids="-".join,
)
def test_a_name_means_in_each_generation_what_it_means_above(
    methods: list[str], tmp_path: Path
) -> None:
    done = confined_script(tmp_path, GENERATIONS.format(methods=methods))
    assert (done.stdout, done.stderr) == (f"{2 * len(methods) + 1}\n", "")


CHANGED_CLASS: Final = """
from multiprocessing import get_context
from pmap import Pool
methods = {methods!r}
def make_local():
    class Local:
        value = 1
    return Local
def value_of(one):
    return one.value
def down(given):
    depth, one = given
    if depth == len(methods):
        return one
    with Pool(1, context=get_context(methods[depth])) as pool:
        pool.map(abs, [0])  # its worker has begun
        mine, type(one).value = one.value, -1
        assert pool.map(value_of, [one]) == [-1]
        type(one).value = mine
        [back] = pool.map(down, [(depth + 1, one)])
        assert type(back) is type(one)
        return back
Local = make_local()
one = Local()
with Pool(1, context=get_context(methods[0])) as pool:
    for value in (1, 2, 3):
        Local.value = value
        print(pool.map(lambda given: (down(given).value, given[1].value), [(1, one)]), Local.value)
"""


@pytest.mark.parametrize("methods", [["fork", "fork"], ["spawn", "fork"]], ids="-".join)
def test_what_comes_back_from_below_changes_no_class(methods: list[str], tmp_path: Path) -> None:
    done = confined_script(tmp_path, CHANGED_CLASS.format(methods=methods))
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"[({n}, {n})] {n}" for n in (1, 2, 3)]


CHANGED_SINGLE: Final = """
from multiprocessing import get_context
from pmap import Pool
first, second = map(get_context, {methods!r})
class Missing:
    state = 0
    def __reduce__(self):
        return "MISSING"
MISSING = Missing()
def look(one):
    return one is MISSING, one.state
def nested(one):
    with Pool(1, context=second) as pool:
        before = pool.map(look, [one])[0]
        one.state += 1
        return before, pool.map(look, [one])[0]
def bump(one):
    one.state += 10
    return one
def back(one):
    with Pool(1, context=second) as pool:
        return pool.map(bump, [one] * 5, chunksize=1)[-1] is one, one.state
with Pool(1, context=first) as before, Pool(1, context=first) as pool:
    before.map(look, [MISSING])  # the other one's worker begins when it is known
    print(pool.map(look, [MISSING]))
    for MISSING.state in (5, 7):
        print(pool.map(look, [MISSING]), pool.map(nested, [MISSING]), pool.map(back, [MISSING]))
"""


@pytest.mark.parametrize("first", START_METHODS)
@pytest.mark.parametrize("second", ["spawn", "fork"])
def test_an_object_that_is_one_everywhere_has_the_state_of_its_sender(
    first: str, second: str, tmp_path: Path
) -> None:
    done = confined_script(tmp_path, CHANGED_SINGLE.format(methods=[first, second]))
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[(True, 0)]"] + [
        f"[(True, {n})] [((True, {n}), (True, {n + 1}))] [(True, {n + 1})]" for n in (5, 7)
    ]
