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

from pmap._scheduler import (
    ChunksBack,
    Command,
    Event,
    ItemsFinished,
    JobSubmitted,
    Scheduler,
    SendChunk,
    StartWorker,
    TakeBack,
    Terms,
    Tick,
    WorkerReady,
)

LATENCY: Final = 100e-6  # seconds that a message takes
OVERHEAD: Final = 0.3e-6  # seconds that an item takes beside its own


class Simulation:
    """Runs items of known length and tells how long all took."""

    def __init__(self, seconds: list[float], workers: int) -> None:
        self._seconds = seconds
        self._scheduler = Scheduler(workers)
        self._now = 0.0
        self._coming: list[tuple[float, int, Event]] = []
        self._waiting: dict[int, deque[SendChunk]] = {}  # chunks that have not begun, by worker
        self._running: dict[int, float] = {}  # when the chunk that has begun ends, by worker
        self.messages = 0

    def run(self) -> float:
        """Return the makespan, in seconds."""
        self._tell(JobSubmitted(1, len(self._seconds), Terms()))
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
                self._begin_next(event.worker, time - LATENCY)
            self._tell(event)
        return self._now

    def _tell(self, event: Event) -> None:
        for command in self._scheduler.handle(event, self._now):
            self._obey(command)

    def _obey(self, command: Command) -> None:
        if isinstance(command, StartWorker):
            self._waiting[command.worker] = deque()
            self._later(0.0, WorkerReady(command.worker))
        elif isinstance(command, SendChunk):
            self.messages += 1
            waiting = self._waiting[command.worker]
            waiting.append(command)
            if command.worker not in self._running:
                self._begin_next(command.worker, self._now + LATENCY)
        elif isinstance(command, TakeBack):
            waiting = self._waiting[command.worker]
            # What waits behind a chunk that has ended has begun, though nobody was told.
            done = self._running[command.worker] <= self._now
            kept = waiting.popleft() if waiting and done else None
            waiting.clear()
            if kept is not None:
                waiting.append(kept)
            self._tell(ChunksBack(command.worker, 1 + len(waiting)))

    def _begin_next(self, worker: int, at: float) -> None:
        self._running.pop(worker, None)
        if self._waiting[worker]:
            chunk = self._waiting[worker].popleft()
            items = self._seconds[chunk.start : chunk.stop]
            elapsed = sum(items) + OVERHEAD * len(items)
            self._running[worker] = at + elapsed
            event = ItemsFinished(worker, len(items), (), elapsed, last=True)
            self._later(at + elapsed + LATENCY - self._now, event)

    def _later(self, seconds: float, event: Event) -> None:
        heapq.heappush(self._coming, (self._now + seconds, self.messages, event))


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


def over_ideal(shape: str, workers: int, mean: float, count: int) -> float:
    """Return our makespan over the ideal one; `mean` is about what an item takes, in seconds."""
    rng = random.Random(f"{shape} {workers} {mean}")
    seconds = [mean * length for length in SHAPES[shape](rng, count)]
    return Simulation(seconds, workers).run() / ideal(seconds, workers)


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
    assert over_ideal(shape, workers, mean, count) <= most


def test_tiny_items_travel_by_the_thousand() -> None:
    simulation = Simulation([1e-7] * 1_000_000, 2)
    simulation.run()
    assert simulation.messages < 100


def test_what_waits_behind_a_slow_item_goes_to_others() -> None:
    # A thousand quick ones, by which it learns that they are, and then a slow one in their midst.
    seconds = [1e-3] * 1000
    seconds[500] = 5.0
    assert Simulation(seconds, 8).run() < 5.0 + 0.1


def _show() -> None:
    for mean in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
        for shape in SHAPES:
            counts = {w: max(40 * w, int(min(20_000, 1 / mean))) for w in (2, 8, 64, 512)}
            row = [over_ideal(shape, w, mean, count) for w, count in counts.items()]
            print(f"{mean:8.0e} s  {shape:22}", *[f"{ratio:8.3f}" for ratio in row], flush=True)


if __name__ == "__main__":
    _show()
