"""The laws for large values, with shared memory as it is, none, too little, and now and then.

Where a value does not go through shared memory it goes through the socket, and nobody can tell but
by the time it takes: not by the results, nor by the error, nor by what a death costs, nor by who
sees what an item writes into its argument.
"""

import copy
import gc
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import compress, cycle
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.files import marks
from tests.limits import TIME_LIMIT
from tests.property.memory_items import (
    MEMORIES,
    ROOM,
    Changed,
    Refused,
    Value,
    arrange,
    changed,
    changed_row,
    die_at,
    digest,
    is_mapped,
    look,
    make,
    refuse_some,
    with_weights,
)

from pmap import Apply, Failure, Map, StarMap, WorkerLost, papply, pmap, pstarmap
from pmap._transport.segments import LARGE

if TYPE_CHECKING:
    from pmap import Options
    from pmap._types import StartMethod

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="large values go through the socket here"
)

many = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
few = settings(many, max_examples=8)  # each costs workers, which are to be replaced
KINDS: Final = ("bytes", "bytearray", "str", "rows", "columns", "mixed")
VALUES: Final = st.builds(
    make,
    st.sampled_from(KINDS),
    # About where a buffer is worth a segment, and where it does not fit into one.
    st.sampled_from([16, LARGE - 64, LARGE, 2 * LARGE, ROOM, ROOM + 16, 2 * ROOM]),
    st.integers(0, 250),
)
SIZES: Final = st.one_of(st.none(), st.integers(1, 6))


class Verbs(NamedTuple):
    """The verbs, here and in the workers with the memory of that name."""

    memory: str
    each: Map
    star: StarMap
    one: Apply


@pytest.fixture(params=MEMORIES, name="verbs")
def _verbs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Verbs]:
    name: str = request.param
    chosen: Options = {"processes": 2, "initializer": arrange, "initargs": (name,)}
    # What starts workers lives on after this test, and is to have what there is.
    pmap(abs, [1])
    MEMORIES[name](monkeypatch.setattr)
    yield Verbs(name, pmap.using(**chosen), pstarmap.using(**chosen), papply.using(**chosen))
    gc.collect()  # an error that was caught, with its traceback, and what it carries


def told(result: Changed | Failure) -> object:
    """Return what tells a result from all others."""
    assert not isinstance(result, Failure)
    before, value = result
    return before, digest(value)


def serial(values: list[Value]) -> list[object]:
    """Return what a loop makes of them, each item with a value of its own."""
    return [told(changed(value)) for value in copy.deepcopy(values)]


# --- what these tests are about ------------------------------------------------------------------


def test_which_way_they_go(verbs: Verbs, start_method: "StartMethod") -> None:
    arrays = [np.full(size // 8, 1.0) for size in (LARGE, 2 * ROOM) * 8]
    results = verbs.each(look, arrays, chunksize=2, start_method=start_method)
    there = [way for way, _ in results]
    back = [is_mapped(array) for _, array in results]
    expected = {"as it is": [True, True], "none": [False, False], "little": [True, False]}
    if verbs.memory in expected:
        assert there == back == expected[verbs.memory] * 8
    else:
        assert len({*there}) == len({*back}) == 2


# --- the laws ------------------------------------------------------------------------------------


@many
@given(values=st.lists(VALUES, max_size=6), size=SIZES)
@example(values=[make(kind, ROOM + LARGE, 3) for kind in KINDS], size=3)
def test_the_result_is_the_loops_and_stays_it(
    verbs: Verbs, values: list[Value], size: int | None
) -> None:
    given_values = [digest(value) for value in values]
    expected = serial(values)
    each, one = verbs.each.using(chunksize=size), verbs.one
    forms: list[Callable[[], Sequence[Changed | Failure]]] = [
        lambda: each(changed, values),
        lambda: each.async_(changed, iter(values)).get(TIME_LIMIT),
        lambda: each.collecting(changed, values),
        lambda: list(each.iter(changed, values)),
        lambda: [one(changed, value) for value in values],
        lambda: [call.get(TIME_LIMIT) for call in [one.async_(changed, v) for v in values]],
    ]
    held: list[Sequence[Changed | Failure]] = []
    for form in forms:
        held.append(form())
        assert [*map(told, held[-1])] == expected
    rows = [(value, number) for number, value in enumerate(values)]
    unordered = verbs.star.using(chunksize=size).iter_unordered(changed_row, rows)
    ordered = sorted(unordered, key=lambda result: result[1])
    assert [told(result) for result, _ in ordered] == expected
    # The results of one call are not those of another, and the arguments are the caller's.
    for results in held:
        assert [*map(told, results)] == expected
    assert [digest(value) for value in values] == given_values


@many
@given(values=st.lists(VALUES, min_size=1, max_size=12), kept=st.lists(st.booleans(), min_size=1))
def test_what_is_kept_of_a_stream_stays_what_it_is(
    verbs: Verbs, values: list[Value], kept: list[bool]
) -> None:
    ahead = 0

    def counted() -> Iterator[Value]:
        nonlocal ahead
        for value in values:
            ahead += 1
            assert ahead <= 4
            yield value

    stream = verbs.each.iter(changed, counted(), buffersize=4)
    held: list[tuple[int, Changed]] = []
    for number, (keep, result) in enumerate(zip(cycle(kept), stream, strict=False)):
        ahead -= 1
        assert result[0] == digest(values[number])
        if keep:
            held.append((number, result))
        del result
    expected = serial(values)
    assert [number for number, _ in held] == [*compress(range(len(values)), cycle(kept))]
    assert [told(result) for _, result in held] == [*compress(expected, cycle(kept))]


@few
@given(
    values=st.lists(VALUES, min_size=1, max_size=8),
    failing=st.sets(st.integers(0, 7), min_size=1, max_size=4),
    size=SIZES,
)
def test_the_error_is_the_loops(
    verbs: Verbs, values: list[Value], failing: set[int], size: int | None
) -> None:
    rows = [(value, number) for number, value in enumerate(values)]
    verb = verbs.star.using(chunksize=size)
    expected = serial(values)
    failing = {number % len(values) for number in failing}
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(Refused) as caught:
            verb(partial(refuse_some, frozenset(failing), folder), rows)
        began = marks(folder)
        assert len(set(began)) == len(began)
        assert {str(number) for number in range(min(failing) + 1)} <= set(began)
    assert caught.value.number == min(failing)
    assert told((digest(values[min(failing)]), caught.value.value)) == expected[min(failing)]
    with tempfile.TemporaryDirectory() as folder:
        answers = verb.collecting(partial(refuse_some, frozenset(failing), folder), rows)
    for number, answer in enumerate(answers):
        assert isinstance(answer, Failure) == (number in failing)
        if not isinstance(answer, Failure):
            assert told(answer) == expected[number]


@few
@given(
    values=st.lists(VALUES, min_size=1, max_size=8),
    fatal=st.integers(0, 7),
    size=SIZES,
    retries=st.integers(0, 1),
)
def test_a_death_costs_one_item(
    verbs: Verbs, values: list[Value], fatal: int, size: int | None, retries: int
) -> None:
    rows = [(value, number) for number, value in enumerate(values)]
    expected = serial(values)
    fatal %= len(values)
    verb = verbs.star.using(chunksize=size, retries=retries).collecting
    with tempfile.TemporaryDirectory() as folder:
        answers = verb(partial(die_at, folder, fatal, 1), rows)
        # Also what was tried again found its argument as the caller had it.
        again = [str(fatal)] * retries
        assert sorted(marks(folder)) == sorted([*map(str, range(len(values))), *again])
    for number, answer in enumerate(answers):
        if number == fatal and not retries:
            assert isinstance(answer, Failure)
            assert isinstance(answer.error, WorkerLost)
        else:
            assert told(answer) == expected[number]


@many
@given(
    weights=st.lists(VALUES, min_size=1, max_size=4),
    turns=st.lists(st.integers(0, 3), min_size=1, max_size=6),
)
def test_a_function_has_what_it_holds_at_the_call(
    verbs: Verbs, weights: list[Value], turns: list[int]
) -> None:
    for turn in turns:
        value = weights[turn % len(weights)]
        results = verbs.each(partial(with_weights, value), range(5))
        assert results == [(digest(value), number) for number in range(5)]
        changed(value)  # the next call has something else
