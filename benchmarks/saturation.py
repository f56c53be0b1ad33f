"""How many items a second one caller can keep going on many processors: the scheduler, simulated.

``python -m benchmarks.saturation`` measures what a chunk and an item cost the caller, and
``python -m benchmarks.saturation 145 63`` takes 145 us a chunk and 63 ns an item as known, so that
two versions can be compared. Then the real scheduler runs maps in simulated time, with a
caller that does one thing after the other at these costs. It needs the tests' simulation, and so
pytest. It prints Markdown.
"""

import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

from tests.property.test_makespan import LATENCY, OVERHEAD, Simulation

import pmap as ours
from pmap._scheduling.commands import Command, SendChunk
from pmap._scheduling.events import Event, ItemsFinished

PROCESSORS: Final = (16, 64, 256)
LENGTHS: Final = {"1 us": 1e-6, "10 us": 1e-5, "100 us": 1e-4, "1 ms": 1e-3, "10 ms": 1e-2}
SECONDS: Final = 0.5  # that each simulated map should take if it cost nothing
MOST: Final = 300_000  # items of a simulated map
MESSAGES: Final = 300
ROUNDS: Final = 7
CHUNKS: Final = 20  # in a map of 1e5 tiny items with two workers


class Costs(NamedTuple):
    """Seconds of the caller's CPU: for a chunk sent and answered, and for an item in it."""

    chunk: float
    item: float


class OneCaller(Simulation):
    """A simulation whose caller needs its own time for each chunk and item, half of it each way."""

    _now: float

    def __init__(self, seconds: list[float], workers: int, costs: Costs, last: float) -> None:
        super().__init__(seconds, workers, last=last)
        self._costs = costs
        self._arrivals: dict[tuple[int, int], float] = {}

    def _takes(self, items: int) -> None:
        """Let the caller work on a message."""
        self._now += (self._costs.chunk + self._costs.item * items) / 2

    def _tell(self, event: Event) -> None:
        if isinstance(event, ItemsFinished):
            self._takes(event.items)
        super()._tell(event)

    def _obey(self, command: Command) -> None:
        if isinstance(command, SendChunk):
            self._takes(command.stop - command.start)
            self._arrivals[command.worker, command.start] = self._now + LATENCY
        super()._obey(command)

    def _begin_next(self, worker: int, at: float) -> None:
        """Begin no chunk before it has arrived: the caller may be late."""
        if self._waiting[worker]:
            at = max(at, self._arrivals[worker, self._waiting[worker][0].start])
        super()._begin_next(worker, at)


def caller_seconds(run: Callable[[], object]) -> float:
    """Return the CPU time of this process for `run`: the median of a few times."""
    run()
    seconds: list[float] = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)
    return median(seconds)


def chunk_cost() -> float:
    """Return what a chunk costs the caller: the items are too slow to travel together."""
    verb = ours.pmap.using(processes=2, chunksize=1)
    return caller_seconds(lambda: verb(time.sleep, [0.003] * MESSAGES)) / MESSAGES


def item_cost(
    function: Callable[[Any], object], items: Sequence[object], chunk: float, chunks: int
) -> float:
    """Return what an item costs the caller beside the `chunks` chunks that carry all of them."""
    verb = ours.pmap.using(processes=2)
    seconds = caller_seconds(lambda: verb(function, items))
    return max(0.0, seconds - chunk * chunks) / len(items)


def rate(length: float, processors: int, costs: Costs) -> float:
    """Return how many items of a length are done in a second, in a repeated map."""
    count = max(20 * processors, min(MOST, int(SECONDS * processors / length)))
    return count / OneCaller([length] * count, processors, costs, last=length).run()


def shown(value: float) -> str:
    """Return two digits of a count."""
    for least, unit in ((1e6, "M"), (1e3, "k")):
        if value >= least:
            return (
                f"{value / least:.2g} {unit}"
                if value < 100 * least
                else f"{value / least:.0f} {unit}"
            )
    return f"{value:.0f}"


def measured() -> Costs:
    """Measure what chunks and items cost the caller, and print it; return it for ints."""
    chunk = chunk_cost()
    many = 100_000
    kinds: dict[str, tuple[Callable[[Any], object], Sequence[object]]] = {
        "an int": (abs, [*range(many)]),
        "a tuple of two ints": (len, [(n, n) for n in range(many)]),
        "a text of 100 characters": (len, [f"{n:0100}" for n in range(many)]),
        "1 KB of bytes": (len, [b"%01024d" % n for n in range(many // 10)]),
    }
    print(f"A chunk costs the caller {chunk * 1e6:.0f} us of CPU time, and an item:\n")
    print("| item | caller, ns | items per second at most |\n|---|---:|---:|")
    costs: list[float] = []
    for name, (function, items) in kinds.items():
        costs.append(item_cost(function, items, chunk, CHUNKS))
        print(f"| {name} | {costs[-1] * 1e9:.0f} | {shown(1 / costs[-1])} |")
    return Costs(chunk, costs[0])


def main() -> None:
    """Measure, simulate, print."""
    given = [float(word) for word in sys.argv[1:]]
    costs = Costs(given[0] / 1e6, given[1] / 1e9) if given else measured()
    print(
        f"\nItems per second, where a chunk costs the caller {costs.chunk * 1e6:.0f} us and an item"
    )
    print(f"{costs.item * 1e9:.0f} ns; a message takes {LATENCY * 1e6:.0f} us, an item costs its")
    print(f"worker {OVERHEAD * 1e9:.0f} ns beside its own time:\n")
    print("|".join(["", " an item takes ", *(f" {n} processors " for n in PROCESSORS), ""]))
    print(f"|---|{'---:|' * len(PROCESSORS)}")
    for name, length in LENGTHS.items():
        cells = [f" {name} "]
        for processors in PROCESSORS:
            found = rate(length, processors, costs)
            cells.append(f" {shown(found)} ({found * length / processors:.0%}) ")
        print("|".join(["", *cells, ""]))


if __name__ == "__main__":
    main()
