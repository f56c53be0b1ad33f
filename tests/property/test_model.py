"""What a call is expected to take, and what the verdict says of it."""

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap._explain.model import (
    Chunks,
    ItemCost,
    Overhead,
    Workers,
    break_even,
    chunks_of,
    process_seconds,
    serial_seconds,
    thread_seconds,
)
from pmap._explain.verdict import Known, verdict_of

SECONDS: Final = st.floats(1e-7, 100)
COUNTS: Final = st.integers(1, 500)
OVERHEADS: Final = st.builds(Overhead, st.floats(0, 0.01), st.floats(0, 0.001))
WORKERS: Final = st.integers(1, 16).flatmap(
    lambda limit: st.builds(Workers, st.just(limit), st.floats(1, limit), st.just(1))
)
NOTHING: Final = Overhead(0.0, 0.0)


def computing(seconds: float, lock: float = 1.0) -> ItemCost:
    """Return the cost of an item that does nothing but compute."""
    return ItemCost(seconds, seconds, 0.0, lock)


def waiting(seconds: float) -> ItemCost:
    """Return the cost of an item that does nothing but wait."""
    return ItemCost(seconds, 0.0, seconds, 0.0)


# --- chunks --------------------------------------------------------------------------------------


@given(COUNTS, st.integers(1, 16), SECONDS, st.none() | st.integers(1, 50), st.floats(0, 1e8))
def test_the_chunks_have_all_items(
    items: int, workers: int, cost: float, fixed: int | None, size: float
) -> None:
    chunks = chunks_of(items, workers, cost, fixed, size)
    assert all(chunk >= 1 for chunk in chunks.sizes)
    if fixed is None:
        assert sum(chunks.sizes) == items
    else:
        assert chunks.sizes[:-1] == (fixed,) * (len(chunks.sizes) - 1)
        assert chunks.total == -(-items // fixed)


def test_very_many_chunks_are_counted_and_not_laid_out() -> None:
    chunks = chunks_of(10**9, 4, 1.0, None)
    assert chunks.total == 10**9
    assert len(chunks.sizes) < 10_000
    taken = process_seconds(10**9, computing(1.0), Workers(4, 4.0), NOTHING, chunks)
    assert taken == pytest.approx(10**9 / 4)


# --- seconds -------------------------------------------------------------------------------------


@given(COUNTS, SECONDS)
def test_the_serial_loop_takes_the_cost_of_each_item(items: int, cost: float) -> None:
    assert serial_seconds(items, computing(cost)) == items * cost


@given(COUNTS, SECONDS, st.floats(1, 10), WORKERS, OVERHEADS)
def test_dearer_items_take_no_less(
    items: int, cost: float, times: float, workers: Workers, overhead: Overhead
) -> None:
    chunks = chunks_of(items, workers.limit, cost, None)
    for seconds in (process_seconds, thread_seconds):
        for kind in (computing, waiting):
            less = seconds(items, kind(cost), workers, overhead, chunks)
            more = seconds(items, kind(cost * times), workers, overhead, chunks)
            assert more >= less


@given(COUNTS, SECONDS, WORKERS, OVERHEADS)
def test_no_call_is_faster_than_the_workers_compute(
    items: int, cost: float, workers: Workers, overhead: Overhead
) -> None:
    chunks = chunks_of(items, workers.limit, cost, None)
    taken = process_seconds(items, computing(cost), workers, overhead, chunks)
    assert taken * 1.000001 >= items * cost / workers.gain + overhead.call
    assert taken * 1.000001 >= cost


@given(COUNTS, SECONDS, WORKERS, OVERHEADS)
def test_threads_that_hold_the_lock_gain_nothing(
    items: int, cost: float, workers: Workers, overhead: Overhead
) -> None:
    chunks = chunks_of(items, workers.limit, cost, None)
    taken = thread_seconds(items, computing(cost, lock=1.0), workers, overhead, chunks)
    assert taken >= serial_seconds(items, computing(cost))


def test_items_that_wait_do_so_in_all_workers_at_once() -> None:
    chunks = chunks_of(80, 8, 1.0, None)
    few_processors = Workers(8, 2.0)
    assert process_seconds(80, waiting(1.0), few_processors, NOTHING, chunks) == 10
    assert thread_seconds(80, waiting(1.0), few_processors, NOTHING, chunks) == 10
    coroutines = Workers(8, 2.0, at_once=5)
    assert process_seconds(80, waiting(1.0), coroutines, NOTHING, chunks) == pytest.approx(2)
    assert process_seconds(80, computing(1.0), few_processors, NOTHING, chunks) == 40


def test_the_last_items_keep_one_worker_busy() -> None:
    assert process_seconds(3, computing(1.0), Workers(2, 2.0), NOTHING, Chunks((1, 1, 1), 0)) == 2


def test_items_that_use_several_threads_gain_less() -> None:
    two_threads = ItemCost(seconds=1.0, computing=2.0, waiting=0.0)
    chunks = chunks_of(100, 2, 1.0, 1)
    assert process_seconds(100, two_threads, Workers(2, 2.0), NOTHING, chunks) == 100


@given(SECONDS, st.integers(2, 16), st.floats(1.2, 4), OVERHEADS)
def test_at_break_even_the_call_takes_as_long_as_the_loop(
    cost: float, limit: int, gain: float, overhead: Overhead
) -> None:
    workers = Workers(limit, min(gain, limit))
    items = 100 * limit
    even = break_even(items, computing(cost), workers, overhead)
    assert even is not None
    for times, slower in ((0.5, True), (2.0, False)):
        there = computing(even * times)
        taken = process_seconds(items, there, workers, overhead, chunks_of(items, limit, 1.0, 1))
        if even > 1e-9:
            assert (taken > serial_seconds(items, there)) is slower


def test_workers_that_gain_nothing_never_break_even() -> None:
    assert break_even(100, computing(1.0), Workers(2, 1.0), Overhead(0.1, 0.1)) is None
    assert break_even(1, computing(1.0), Workers(2, 2.0), Overhead(0.1, 0.1)) is None
    assert break_even(100, waiting(1.0), Workers(2, 1.0), Overhead(0.1, 0.1)) is not None


# --- the verdict ---------------------------------------------------------------------------------

KNOWN: Final = Known("f", "processes", "", "", 100, cost=computing(0.01), serial=1.0)


@given(st.floats(0.01, 100))
def test_the_verdict_says_what_the_numbers_say(processes: float) -> None:
    text = verdict_of(KNOWN._replace(processes=processes, break_even=0.0002))
    speedup = 1.0 / processes
    assert ("times as fast as" in text) == (speedup >= 1.1)
    assert ("times slower than" in text) == (speedup <= 1 / 1.1)
    if speedup >= 1.1:
        assert text.endswith("slower than it below about 200 us an item")
    else:
        assert text.endswith("faster than it from about 200 us an item on")


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (KNOWN._replace(processes=0.5), "the workers compute no faster together than one"),
        (KNOWN._replace(processes=0.5, threads=0.2), "threads would be about 5.0 times as fast"),
        (KNOWN._replace(processes=0.5, start=0.6), "if they have to start first, which took 600"),
        (KNOWN._replace(unsent="a lock", cost=None), 'cannot run it.*backend="threads"'),
        (KNOWN._replace(cost=None, failed="item 0: no"), "no item returned a result"),
        (KNOWN._replace(cost=None, items=0), "there are no items"),
        (KNOWN._replace(items=1, processes=1.1), "one item alone gains nothing"),
        (KNOWN._replace(backend="serial"), 'backend="serial"'),
        (
            KNOWN._replace(backend="threads", threads=1.0, processes=0.5),
            "threads are about as fast as the serial loop; worker processes would be about 2.0",
        ),
        (KNOWN._replace(backend="threads", threads=0.5, processes=0.5), "2.0 times as fast as"),
    ],
)
def test_a_verdict(known: Known, text: str) -> None:
    assert re.search(text, verdict_of(known))


def test_a_start_that_is_short_is_not_spoken_of() -> None:
    assert "start" not in verdict_of(KNOWN._replace(processes=0.5, start=0.1))
