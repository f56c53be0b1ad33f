"""How many items a chunk gets: bounds that always hold, and a simulated pool to see what for."""

import heapq
import math
import random
from collections.abc import Iterable, Sequence

import pytest

from pmap._scheduling.chunk_sizes import (
    TARGET,
    CostMeter,
    chunk_size,
)
from pmap._scheduling.commands import Command, SendChunk
from pmap._scheduling.events import ItemsFinished, JobSubmitted, Prestart, WorkerReady
from pmap._scheduling.run_rules import RunRules
from pmap._scheduling.scheduler import Scheduler

# --- the meter ---------------------------------------------------------------------------------


def test_nothing_is_known_before_the_first_measurement() -> None:
    meter = CostMeter()
    assert meter.seconds is None
    meter.measured(0, 1.0)  # a chunk of which nothing was run says nothing
    assert meter.seconds is None


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

    obey(scheduler.handle(JobSubmitted(1, len(costs), RunRules())))
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


def test_chunks_are_long_beside_what_it_takes_to_place_them() -> None:
    quick = 2**-17
    assert chunk_size(100_000, 2, quick, None) == 2_621
    assert chunk_size(100_000, 2, quick, None, overhead=0.005) == 5_242
    # Smaller ones would take longer, even if the items are slower than those that were measured.
    assert chunk_size(100_000, 2, quick, None, 1) == 4
    assert chunk_size(100_000, 2, quick, None, 1, overhead=0.005) == 655
    # An item that takes longer than that is a chunk; and no chunk is to take longer than seconds.
    assert chunk_size(100, 2, 1.0, None, overhead=0.1) == 1
    assert chunk_size(10_000, 2, 0.01, None, overhead=60.0) == 200
    assert chunk_size(100_000, 2, None, None, overhead=0.005) == 1
