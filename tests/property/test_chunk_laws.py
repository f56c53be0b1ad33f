"""What holds for every chunk: its size, its bytes, its share of the rest."""

import math

from hypothesis import example, given
from hypothesis import strategies as st

from pmap._scheduling.chunk_sizes import (
    LEAST,
    MOST_BYTES,
    TARGET,
    CostMeter,
    chunk_size,
    least_of,
    target_of,
    worth_ahead,
)

remainings = st.integers(1, 10**9)
workers = st.integers(1, 512)
costs = st.floats(0, 1e6, allow_nan=False) | st.sampled_from([0.0, 5e-324, 1e-9, LEAST, TARGET])


@given(remainings, workers, st.none() | costs, st.none() | st.integers(1, 10**6))
def test_a_chunk_has_at_least_one_item_and_no_more_than_there_are(
    remaining: int, workers: int, cost: float | None, fixed: int | None
) -> None:
    size = chunk_size(remaining, workers, cost, fixed)
    assert type(size) is int
    assert 1 <= size <= remaining


@given(remainings, workers, st.none() | costs, st.integers(1, 10**6))
def test_the_size_asked_for_is_kept(
    remaining: int, workers: int, cost: float | None, fixed: int
) -> None:
    assert chunk_size(remaining, workers, cost, fixed) == min(fixed, remaining)


@given(remainings, workers)
def test_before_anything_is_measured_items_go_alone(remaining: int, workers: int) -> None:
    assert chunk_size(remaining, workers, None, None) == 1


@given(remainings, workers, costs.filter(bool))
def test_a_chunk_takes_no_longer_than_the_target(remaining: int, workers: int, cost: float) -> None:
    size = chunk_size(remaining, workers, cost, None)
    assert size == 1 or size * cost <= target_of(workers) * (1 + 1e-9)


@given(workers)
def test_the_caller_has_time_for_all_workers(workers: int) -> None:
    # A chunk costs the caller 0.1 ms.
    assert workers * 0.0001 / target_of(workers) <= 0.5
    assert target_of(workers) == TARGET or workers > 64


@given(remainings, workers, costs.filter(bool))
def test_a_chunk_is_a_share_of_the_rest_unless_that_is_too_little(
    remaining: int, workers: int, cost: float
) -> None:
    size = chunk_size(remaining, workers, cost, None)
    least = least_of(remaining * cost, target_of(workers))
    assert size <= math.ceil(remaining / (2 * workers)) or size * cost <= least * (1 + 1e-9)


@given(st.floats(0, 1e6), workers)
def test_the_least_is_what_takes_least_with_workers_enough(left: float, workers: int) -> None:
    def takes(chunk: float) -> float:
        return left / chunk * 0.0001 + chunk

    least = least_of(left, target_of(workers))
    assert LEAST <= least <= target_of(workers)
    if LEAST < least < target_of(workers):
        assert takes(least) <= min(takes(0.9 * least), takes(1.1 * least))


@given(remainings, workers, costs)
@example(13, 2, 8.333333333333334e-05)  # six items take exactly the least time, but for a rounding
def test_chunks_never_grow_towards_the_end(remaining: int, workers: int, cost: float) -> None:
    less = chunk_size(max(1, remaining // 2), workers, cost, None)
    assert less <= chunk_size(remaining, workers, cost * (1 - 1e-9), None)


@given(remainings, workers, st.none() | costs, st.floats(0, 1e12))
@example(100, 1, 0.0, 5592405.333333334)  # a little more than a third, but for a rounding
def test_a_chunk_carries_no_more_than_so_many_bytes(
    remaining: int, workers: int, cost: float | None, size: float
) -> None:
    items = chunk_size(remaining, workers, cost, None, None, size)
    assert items == 1 or items * size <= MOST_BYTES
    assert items == min(chunk_size(remaining, workers, cost, None), max(1, items))
    if (items + 1) * size <= MOST_BYTES * (1 - 1e-9):  # then it is not for the bytes
        assert items == chunk_size(remaining, workers, cost, None)


@given(workers, st.none() | costs, st.integers(1, 1000), st.floats(0, 1e12))
@example(127, 1e-6, 1000, 1864135.1111111112)  # a little more than a ninth, but for a rounding
def test_a_stream_reads_no_more_ahead_than_such_chunks(
    workers: int, cost: float | None, measured: int, size: float
) -> None:
    ahead = worth_ahead(workers, cost, None, measured, size)
    assert 4 * workers <= ahead <= max(4 * workers, worth_ahead(workers, cost, None, measured))
    assert ahead == 4 * workers or ahead * size <= 4 * workers * MOST_BYTES * (1 + 1e-9)


@given(st.lists(st.tuples(st.integers(1, 100), st.floats(0, 100)), min_size=1))
def test_the_estimate_is_within_what_was_measured(measured: list[tuple[int, float]]) -> None:
    meter = CostMeter()
    for items, elapsed in measured:
        meter.measured(items, elapsed)
    each = [elapsed / items for items, elapsed in measured]
    assert meter.seconds is not None
    assert min(each) * (1 - 1e-9) <= meter.seconds <= max(each) * (1 + 1e-9)
