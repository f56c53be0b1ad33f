"""Waiting awake: what is found, how long it is looked for, and who does not even try."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap._transport import adaptive_spin
from pmap._transport.adaptive_spin import AdaptiveSpin

STEP: Final = 0.000005  # seconds that a look takes here


class World:
    """A clock that only looks move, and what is there from some moment on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.there_at = 0.0
        self.looks = 0
        self.yields = 0
        self.others = 0.0  # seconds that somebody else takes each time that we step aside
        self.spare = True

    def clock(self) -> float:
        return self.now

    def may(self) -> bool:
        return self.spare

    def step_aside(self) -> None:
        self.yields += 1
        self.now += self.others

    def look(self) -> str:
        self.looks += 1
        self.now += STEP
        return "it" if self.now >= self.there_at else ""

    def wait(self, spin: AdaptiveSpin, seconds: float) -> tuple[bool, int]:
        """Return whether what comes in `seconds` is found awake, and after how many looks."""
        self.there_at = self.now + seconds
        self.looks = 0
        found = spin.awake(self.may, self.look)
        assert found in (None, "", "it")
        return found == "it", self.looks


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(adaptive_spin, "perf_counter", world.clock)
    monkeypatch.setattr(adaptive_spin, "_step_aside", world.step_aside)
    monkeypatch.setattr(adaptive_spin, "_MOST_ASLEEP", 63)
    return world


def vain(world: World) -> Iterator[bool]:
    """Yield for each of many waits that are all long whether it was awake at first."""
    spin = AdaptiveSpin()
    while True:
        found, looks = world.wait(spin, 1.0)
        assert not found
        yield looks > 0


def test_what_comes_in_a_moment_is_found_awake(world: World) -> None:
    spin = AdaptiveSpin()
    for _ in range(10):
        found, looks = world.wait(spin, 5 * STEP)
        assert found
        assert 5 <= looks <= 6
    assert world.yields >= 40  # before each look but the first: others have the processor first


def test_it_is_not_looked_for_much_longer_than_a_moment(world: World) -> None:
    found, looks = world.wait(AdaptiveSpin(), 1.0)
    assert not found
    assert looks <= adaptive_spin._AWAKE / STEP + 2


def test_waits_that_are_always_long_are_asleep_but_for_a_few(world: World) -> None:
    waits = vain(world)
    awake = [next(waits) for _ in range(1000)]
    tried = [number for number, was in enumerate(awake) if was]
    assert tried[:5] == [0, 2, 6, 14, 30]  # after 1, 3, 7, 15 that were not
    assert {b - a for a, b in pairwise(tried[5:])} == {64}


def test_one_that_was_found_awake_is_followed_by_others(world: World) -> None:
    spin = AdaptiveSpin()
    for _ in range(200):
        world.wait(spin, 1.0)
    waits = 0
    while not world.wait(spin, 5 * STEP)[0]:
        waits += 1
    assert waits <= 64
    assert all(world.wait(spin, 5 * STEP)[0] for _ in range(10))
    # And the next that is in vain costs one wait asleep, not sixty-three.
    assert not world.wait(spin, 1.0)[0]
    assert world.wait(spin, 5 * STEP) == (False, 0)
    assert world.wait(spin, 5 * STEP)[0]


def test_what_is_there_already_says_nothing_of_waits(world: World) -> None:
    spin = AdaptiveSpin()
    awake = 0
    for _ in range(640):
        world.wait(spin, 0.0)
        awake += world.wait(spin, 1.0)[1] > 0
    assert awake <= 640 / 32 + 6  # every sixty-fourth wait of either kind, as if all were long


@given(st.lists(st.floats(0.0, 0.001), max_size=200))
def test_a_wait_costs_at_most_a_moment_more(seconds: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = World()
        patch.setattr(adaptive_spin, "perf_counter", world.clock)
        patch.setattr(adaptive_spin, "_step_aside", world.step_aside)
        spin = AdaptiveSpin()
        for wait in seconds:
            begin = world.now
            found, looks = world.wait(spin, wait)
            took = world.now - begin
            assert took <= min(wait, adaptive_spin._AWAKE) + 3 * STEP
            assert found or looks == 0 or wait > adaptive_spin._AWAKE - STEP


def test_who_is_not_alone_on_a_processor_sleeps(world: World) -> None:
    # It is found, and still the wait was in vain: asleep, one would have been woken at once.
    spin = AdaptiveSpin()
    world.others = 0.001
    assert world.wait(spin, 5 * STEP)[0]
    assert world.yields == 1
    waits = [world.wait(spin, 5 * STEP)[1] for _ in range(200)]
    assert [number for number, looks in enumerate(waits) if looks][:4] == [1, 5, 13, 29]


def test_where_no_processor_can_be_spared_nobody_looks(world: World) -> None:
    spin = AdaptiveSpin()
    world.spare = False
    assert world.wait(spin, 5 * STEP) == (False, 0)
    world.spare = True
    assert world.wait(spin, 5 * STEP)[0]


def test_a_clock_that_stands_still_does_not_keep_anybody_awake(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptive_spin, "perf_counter", lambda: 0.0)
    found, looks = world.wait(AdaptiveSpin(), 1.0)
    assert not found
    assert looks <= 300


def test_where_a_process_cannot_yield_it_sleeps_for_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(adaptive_spin, "sleep", slept.append)
    adaptive_spin._no_yield()
    assert slept == [0]
