"""How far a stream reads ahead of its consumer, in simulated time."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap import pmap
from pmap._calls.consumer_pace import ConsumerPace

worths = st.integers(1, 1 << 14)
leasts = st.integers(1, 512)
visits = st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 1e6)), max_size=30)


def taking(pace: ConsumerPace, worth: int, least: int, seconds: float, times: int) -> Iterator[int]:
    """Let a consumer take all that was read ahead, so many times; yield what it asks for then."""
    for _ in range(times):
        items = pace.asks_for(worth, least)
        pace.took(items, items * seconds)
        yield pace.asks_for(worth, least)


@given(worths, leasts, visits)
def test_it_is_worth_it_and_keeps_the_workers_busy(
    worth: int, least: int, visits: list[tuple[int, float]]
) -> None:
    pace = ConsumerPace()
    for items, elapsed in visits:
        pace.took(items, elapsed)
        assert min(worth, least) <= pace.asks_for(worth, least) <= worth


@given(worths, leasts, st.floats(1e-3, 100))
def test_a_steady_consumer_has_half_a_second_of_its_pace_ahead(
    worth: int, least: int, seconds: float
) -> None:
    for asked in taking(ConsumerPace(), worth, least, seconds, 5):
        assert asked <= max(least, 0.5 / seconds + 1e-6)
        assert asked >= min(worth, int(0.5 / seconds * (1 - 1e-9)))


@given(worths, leasts, st.floats(0, 1e-5))
def test_a_quick_consumer_has_all_that_it_is_worth(worth: int, least: int, seconds: float) -> None:
    for asked in taking(ConsumerPace(), worth, least, seconds, 3):
        assert asked == worth


@given(worths, leasts, st.floats(1e-3, 10))
def test_a_consumer_that_gets_quick_is_soon_believed(
    worth: int, least: int, seconds: float
) -> None:
    pace = ConsumerPace()
    list(taking(pace, worth, least, seconds, 5))
    assert [*taking(pace, worth, least, 0, 40)][-1] == worth


@given(worths, leasts, st.floats(1e-2, 10))
def test_a_consumer_that_gets_slow_is_believed_when_it_took_what_was_there(
    worth: int, least: int, seconds: float
) -> None:
    pace = ConsumerPace()
    list(taking(pace, worth, least, 0, 5))
    *_, asked = taking(pace, worth, least, seconds, 20)
    assert asked <= max(least, 0.5 / seconds * 2 + 1)


def test_nothing_is_known_before_something_was_taken() -> None:
    assert ConsumerPace().asks_for(1000, 8) == 8
    assert ConsumerPace().asks_for(4, 8) == 4


def test_a_stream_goes_by_the_time_that_its_consumer_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of the serial backend, whose clock is moved here: each result costs its consumer 50 ms.
    now = 0.0
    monkeypatch.setattr("pmap._api.read_ahead.perf_counter", lambda: now)
    with pmap.iter(abs, itertools.count(), backend="serial") as stream:
        for taken, _ in enumerate(stream, 1):
            assert stream.read - taken <= 10
            now += 0.05
            if taken == 100:
                break
