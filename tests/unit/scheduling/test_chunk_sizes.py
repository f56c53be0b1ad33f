"""How many items a chunk gets: bounds that always hold, and a simulated pool to see what for."""

import heapq
import math
import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pmap._scheduling.chunk_sizes import (
    LEAST,
    MOST_BYTES,
    TARGET,
    CostMeter,
    chunk_size,
    worth_ahead,
)
from pmap._scheduling.commands import Command, SendChunk
from pmap._scheduling.events import ItemsFinished, JobSubmitted, Prestart, Terms, WorkerReady
from pmap._scheduling.scheduler import Scheduler

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
    assert size == 1 or size * cost <= TARGET * (1 + 1e-9)


@given(remainings, workers, costs.filter(bool))
def test_a_chunk_is_a_share_of_the_rest_unless_that_is_too_little(
    remaining: int, workers: int, cost: float
) -> None:
    size = chunk_size(remaining, workers, cost, None)
    assert size <= math.ceil(remaining / (2 * workers)) or size * cost <= LEAST * (1 + 1e-9)


@given(remainings, workers, costs)
@example(13, 2, 8.333333333333334e-05)  # six items take exactly the least time, but for a rounding
def test_chunks_never_grow_towards_the_end(remaining: int, workers: int, cost: float) -> None:
    less = chunk_size(max(1, remaining // 2), workers, cost, None)
    assert less <= chunk_size(remaining, workers, cost * (1 - 1e-9), None)


# --- the meter ---------------------------------------------------------------------------------


def test_nothing_is_known_before_the_first_measurement() -> None:
    meter = CostMeter()
    assert meter.seconds is None
    meter.measured(0, 1.0)  # a chunk of which nothing was run says nothing
    assert meter.seconds is None


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


def test_the_bytes_of_an_item_are_believed_at_once_if_they_are_more() -> None:
    meter = CostMeter()
    meter.measured(10, 1.0, 1000)
    assert meter.size == 100
    meter.measured(1, 1.0, 1 << 20)
    assert meter.size == 1 << 20
    meter.measured(1, 1.0)
    assert meter.size == 1 << 19


def test_the_first_measurement_is_believed() -> None:
    meter = CostMeter()
    meter.measured(4, 2.0)
    assert meter.seconds == 0.5


def test_a_first_item_that_paid_for_imports_is_soon_forgotten() -> None:
    meter = CostMeter()
    meter.measured(1, 1.0)
    meter.measured(1, 0.001)
    assert meter.seconds == 0.001


@given(st.lists(st.tuples(st.integers(1, 100), st.floats(0, 100)), min_size=1))
def test_the_estimate_is_within_what_was_measured(measured: list[tuple[int, float]]) -> None:
    meter = CostMeter()
    for items, elapsed in measured:
        meter.measured(items, elapsed)
    each = [elapsed / items for items, elapsed in measured]
    assert meter.seconds is not None
    assert min(each) * (1 - 1e-9) <= meter.seconds <= max(each) * (1 + 1e-9)


# --- a simulated pool --------------------------------------------------------------------------

MESSAGE = 1e-4  # seconds that a chunk costs beside its items


def run(costs: Sequence[float], workers: int) -> tuple[float, int]:
    """Return how long a pool takes for items of these costs, and in how many chunks."""
    scheduler = Scheduler(workers)
    scheduler.handle(Prestart())
    for worker in range(workers):
        scheduler.handle(WorkerReady(worker))
    free = [0.0] * workers  # when each will be done with what it holds
    chunks: list[tuple[float, int, int, int, float]] = []  # those under way, by their end
    sent = 0
    now = 0.0

    def obey(commands: Iterable[Command]) -> None:
        nonlocal sent
        for command in commands:
            if isinstance(command, SendChunk):
                sent += 1
                worker = command.worker
                elapsed = math.fsum(costs[command.start : command.stop])
                free[worker] = max(now, free[worker]) + elapsed + MESSAGE
                count = command.stop - command.start
                heapq.heappush(chunks, (free[worker], sent, worker, count, elapsed))

    obey(scheduler.handle(JobSubmitted(1, len(costs), Terms())))
    while chunks:
        now, _, worker, count, elapsed = heapq.heappop(chunks)
        obey(scheduler.handle(ItemsFinished(worker, count, (), elapsed, last=True)))
    assert not scheduler.busy
    return now, sent


def loads(name: str) -> list[float]:
    rng = random.Random(7)
    items = {
        "tiny": [1e-6] * 100_000,
        "even": [0.005] * 2000,
        "uniform": [rng.uniform(0, 0.01) for _ in range(2000)],
        "rising": [i * 1e-5 for i in range(1000)],
        "falling": [i * 1e-5 for i in range(1000, 0, -1)],
        "log-normal": [min(0.2, rng.lognormvariate(-7, 1)) for _ in range(4000)],
    }
    return items[name]


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("name", ["tiny", "even", "uniform", "rising", "falling", "log-normal"])
def test_the_makespan_is_close_to_the_best(name: str, workers: int) -> None:
    costs = loads(name)

    best = max(max(costs), math.fsum(costs) / workers)
    # What is beyond: the messages before anything is known, and a chunk or two too long at the end.
    allowed = 0.05 * best + 2 * TARGET + 10 * MESSAGE
    assert run(costs, workers)[0] <= best + allowed


@pytest.mark.parametrize("workers", [2, 8])
def test_a_few_quick_items_among_slow_ones_do_not_gather_work_at_one_worker(workers: int) -> None:
    for seed in range(40):
        rng = random.Random(seed)
        costs = [rng.uniform(0, 0.04) for _ in range(200)]
        best = math.fsum(costs) / workers
        # In whatever order they come, nobody waits for much longer than for one more item.
        assert run(costs, workers)[0] <= best + 2 * 0.04


def test_tiny_items_travel_by_the_thousand() -> None:
    _, chunks = run([1e-6] * 100_000, 4)
    assert chunks < 150


def test_items_after_a_trivial_first_one_do_not_all_go_to_one_worker() -> None:
    costs = [0.0] + [0.02] * 99
    assert run(costs, 4)[0] < 0.02 * 99 / 2


def test_long_items_travel_alone() -> None:
    meter = CostMeter()
    meter.measured(1, 3.0)
    assert chunk_size(1000, 2, meter.seconds, None) == 1
