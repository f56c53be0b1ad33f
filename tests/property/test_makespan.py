"""How long a map takes, beside a pool that costs nothing: the real scheduler, simulated workers.

The ideal gives each free worker the next item in order, at once. Ours learns what items cost, packs
quick ones into chunks, and pays for each message. Time is simulated, so it can be asserted.

``python -m tests.property.test_makespan`` prints a table, from microseconds to tenths of a
second and from 2 to 512 workers.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

import pytest

from pmap._scheduling.commands import Command, ReclaimChunks, SendChunk, StartWorker
from pmap._scheduling.events import (
    ChunksReclaimed,
    Event,
    ItemsFinished,
    JobSubmitted,
    Tick,
    WorkerReady,
)
from pmap._scheduling.run_rules import RunRules
from pmap._scheduling.scheduler import Scheduler

LATENCY: Final = 100e-6  # seconds that a message takes
OVERHEAD: Final = 0.3e-6  # seconds that an item takes beside its own
ASKING: Final = 1e-6  # seconds that it takes to see whether more of a chunk may begin


class Simulation:
    """Runs items of known length and tells how long all took.

    `last` is how long an item of the last job with the same function took; None: there was none.
    """

    def __init__(
        self,
        seconds: list[float],
        workers: int,
        chunksize: int | None = None,
        last: float | None = None,
    ) -> None:
        self._seconds = seconds
        self._last = last
        self._chunksize = chunksize
        self._scheduler = Scheduler(workers)
        self._now = 0.0
        self._coming: list[tuple[float, int, Event]] = []
        self._waiting: dict[int, deque[SendChunk]] = {}  # chunks that have not begun, by worker
        self._running: dict[int, tuple[float, SendChunk]] = {}  # when it began, by worker
        self._ends: dict[int, float] = {}  # when the chunk that has begun ends, by worker
        self._events = 0
        self.messages = 0
        self.cuts = 0

    def run(self) -> float:
        """Return the makespan, in seconds."""
        if self._last is not None:
            seconds, self._seconds = self._seconds, [self._last] * 1000
            self._run_job(1)
            self._seconds = seconds
        begin, self.messages, self.cuts = self._now, 0, 0
        self._run_job(2)
        return self._now - begin

    def _run_job(self, number: int) -> None:
        rules = RunRules(self._chunksize)
        self._tell(JobSubmitted(number, len(self._seconds), rules, function="f"))
        while self._scheduler.busy:
            due = self._scheduler.alarm
            time, _, event = self._coming[0] if self._coming else (inf, 0, Tick())
            if due is not None and due <= time:
                self._now = max(self._now, due)
                self._tell(Tick())
                continue
            heapq.heappop(self._coming)
            self._now = max(self._now, time)
            if isinstance(event, ItemsFinished):
                if self._ends[event.worker] + LATENCY != time:
                    continue  # a part of it was taken back, and it ends earlier
                self._begin_next(event.worker, time - LATENCY)
            self._tell(event)

    def _tell(self, event: Event) -> None:
        for command in self._scheduler.handle(event, self._now):
            self._obey(command)

    def _obey(self, command: Command) -> None:
        if isinstance(command, StartWorker):
            self._waiting[command.worker] = deque()
            self._later(self._now, WorkerReady(command.worker, can_reclaim_items=True))
        elif isinstance(command, SendChunk):
            self.messages += 1
            waiting = self._waiting[command.worker]
            waiting.append(command)
            if command.worker not in self._running:
                self._begin_next(command.worker, self._now + LATENCY)
        elif isinstance(command, ReclaimChunks):
            waiting = self._waiting[command.worker]
            # What waits behind a chunk that has ended has begun, though nobody was told.
            done = self._ends[command.worker] <= self._now
            kept = waiting.popleft() if waiting and done else None
            waiting.clear()
            items: int | None = None
            if kept is not None:
                waiting.append(kept)
            elif not done:
                items = self._cut(command.worker)
            self._tell(ChunksReclaimed(command.worker, 1 + len(waiting), items))

    def _begin_next(self, worker: int, at: float) -> None:
        self._running.pop(worker, None)
        if self._waiting[worker]:
            self._run_chunk(worker, at, self._waiting[worker].popleft())

    def _run_chunk(self, worker: int, at: float, chunk: SendChunk) -> None:
        items = self._seconds[chunk.start : chunk.stop]
        parts = -(-len(items) // chunk.step) if chunk.step else 0
        elapsed = sum(items) + OVERHEAD * len(items) + ASKING * parts
        self._running[worker] = at, chunk
        self._ends[worker] = at + elapsed
        event = ItemsFinished(worker, len(items), (), elapsed, last=True)
        self._later(at + elapsed + LATENCY, event)

    def _cut(self, worker: int) -> int | None:
        """Take back what has not begun of the chunk that runs; return how many items have."""
        begin, chunk = self._running[worker]
        if not chunk.step:
            return None
        at, stop = begin, chunk.start
        while stop < chunk.stop and at <= self._now:
            part = self._seconds[stop : min(stop + chunk.step, chunk.stop)]
            at += sum(part) + OVERHEAD * len(part) + ASKING
            stop += len(part)
        if stop < chunk.stop:
            self._run_chunk(worker, begin, chunk._replace(stop=stop))
            self.cuts += 1
        return stop - chunk.start

    def _later(self, time: float, event: Event) -> None:
        self._events += 1
        heapq.heappush(self._coming, (time, self._events, event))


def ideal(seconds: list[float], workers: int) -> float:
    """Return the makespan of a pool that costs nothing, items in order."""
    free = [0.0] * workers
    for item in seconds:
        heapq.heapreplace(free, free[0] + item)
    return max(free)


def _uniform(rng: random.Random, count: int) -> list[float]:
    return [rng.uniform(0.5, 1.5) for _ in range(count)]


def _pareto(rng: random.Random, count: int) -> list[float]:
    return [min(rng.paretovariate(1.5) / 3, count / 16) for _ in range(count)]


SHAPES: Final[dict[str, Callable[[random.Random, int], list[float]]]] = {
    "uniform": _uniform,
    "sorted up": lambda rng, count: sorted(_uniform(rng, count)),
    "sorted down": lambda rng, count: sorted(_uniform(rng, count), reverse=True),
    "log-normal": lambda rng, count: [rng.lognormvariate(-0.5, 1.0) for _ in range(count)],
    "Pareto": _pareto,
    "one huge at the end": lambda rng, count: [*_uniform(rng, count - 1), count / 16],
}


def over_ideal(shape: str, workers: int, mean: float, count: int, draws: int = 1) -> float:
    """Return our makespan over the ideal one; `mean` is about what an item takes, in seconds.

    The mean of several `draws` is less a matter of luck with which items come last.
    """
    ratios: list[float] = []
    for draw in range(draws):
        rng = random.Random(f"{shape} {workers} {mean} {draw}")
        seconds = [mean * length for length in SHAPES[shape](rng, count)]
        ratios.append(Simulation(seconds, workers).run() / ideal(seconds, workers))
    return sum(ratios) / draws


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("workers", "mean", "most"),
    [
        (2, 1e-4, 1.03),
        (8, 1e-4, 1.05),
        (8, 1e-3, 1.03),
        (8, 1e-2, 1.02),  # of which the messages are 0.02: their latency is not hidden here
        (8, 1e-1, 1.01),
        (64, 1e-2, 1.02),
        (64, 1e-1, 1.10),  # few items for each, so chance has its part: ideal is only a name
    ],
)
def test_it_is_close_to_the_ideal(shape: str, workers: int, mean: float, most: float) -> None:
    count = max(40 * workers, int(min(5000, 1 / mean)))
    assert over_ideal(shape, workers, mean, count, draws=10) <= most


class BusyProcessors(Simulation):
    """Workers that leave no processor free: the thread that sends chunks waits until it has one."""

    one_ahead = True

    def _obey(self, command: Command) -> None:
        if isinstance(command, StartWorker):
            self._waiting[command.worker] = deque()
            self._later(self._now, WorkerReady(command.worker, one_ahead=self.one_ahead))
        else:
            super()._obey(command)


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("item", [6e-5, 6e-4, 6e-3, 12e-3])
def test_threads_that_take_all_processors_do_not_wait_for_their_chunks(
    item: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.LATENCY", 5e-4)
    seconds = [item] * int(0.2 * workers / item)
    best = ideal(seconds, workers)
    assert BusyProcessors(seconds, workers).run() < 1.03 * best
    monkeypatch.setattr(BusyProcessors, "one_ahead", False)
    assert BusyProcessors(seconds, workers).run() > 1.05 * best, "it is no matter at all"


def test_tiny_items_travel_by_the_thousand() -> None:
    simulation = Simulation([1e-7] * 1_000_000, 2)
    simulation.run()
    assert simulation.messages < 200


def test_what_waits_behind_a_slow_item_goes_to_others() -> None:
    # A thousand quick ones, by which it learns that they are, and then a slow one in their midst.
    seconds = [1e-3] * 1000
    seconds[500] = 5.0
    assert Simulation(seconds, 8).run() < 5.0 + 0.1


@pytest.mark.parametrize("chunksize", [None, 1, 1000])
@pytest.mark.parametrize("slow", [0, 3000, 19_000])
def test_what_waits_in_the_chunk_of_a_slow_item_goes_to_others(
    chunksize: int | None, slow: int
) -> None:
    # Quick ones travel many together; when one is slow, nobody is idle while others wait behind it.
    seconds = [1e-4] * 20_000
    seconds[slow] = 3.0
    simulation = Simulation(seconds, 4, chunksize)
    assert simulation.run() < ideal(seconds, 4) + 0.1
    assert simulation.cuts or chunksize != 1000


@pytest.mark.parametrize("workers", [2, 8, 64])
@pytest.mark.parametrize("slow", [1e-4, 1e-2])
def test_a_job_that_is_slow_this_time_goes_to_all_workers(workers: int, slow: float) -> None:
    seconds = [slow] * 2000
    simulation = Simulation(seconds, workers, last=1e-7)
    # Sixteen items begin together before it is known what they take.
    assert simulation.run() < 1.03 * ideal(seconds, workers) + 16 * slow + 5e-3
    assert simulation.cuts


@pytest.mark.parametrize(("chunksize", "step"), [(None, 256), (1, 1), (500, 16)])
def test_items_that_become_slow_are_not_held_back(chunksize: int | None, step: int) -> None:
    # What is known of the first ones is wrong for the others, and some were sent to begin together.
    seconds = [1e-6] * 50_000 + [0.1] * 400
    assert Simulation(seconds, 4, chunksize).run() < ideal(seconds, 4) + 0.1 * step


def test_chunks_of_one_quick_item_travel_together() -> None:
    simulation = Simulation([1e-5] * 10_000, 2, chunksize=1)
    simulation.run()
    assert simulation.messages < 200


def test_chunks_of_one_slow_item_travel_alone() -> None:
    simulation = Simulation([0.01] * 200, 2, chunksize=1)
    simulation.run()
    assert simulation.messages == 200


def _show() -> None:
    for mean in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
        for shape in SHAPES:
            counts = {w: max(40 * w, int(min(20_000, 1 / mean))) for w in (2, 8, 64, 512)}
            row = [over_ideal(shape, w, mean, count) for w, count in counts.items()]
            print(f"{mean:8.0e} s  {shape:22}", *[f"{ratio:8.3f}" for ratio in row], flush=True)


if __name__ == "__main__":
    _show()
