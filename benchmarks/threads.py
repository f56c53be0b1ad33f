"""How much faster two threads are than the serial loop: ``backend="threads"`` without the GIL.

``python -m benchmarks.threads`` prints a table in Markdown, for the Python that runs it. Each work
is written in Python alone. A round measures the loop, then pmap, one after the other; a figure is
the median of some rounds. There are two ratios:

- of the clock. On a machine that has other work, it says what that work has left.
- without the time in which a thread could run and had no processor, which Linux counts for each
  thread (``schedstat``). That is what the clock would say if nothing else ran: a thread that waits
  for a lock, or for a line of cache that the other one has, is not counted as ready.

It needs Linux.
"""

import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from pmap import pmap

THREADS: Final = 2
ROUNDS: Final = 9
TOTAL: Final = 0.4  # seconds of the serial loop of each round
TASKS: Final = Path("/proc/self/task")


def counts(steps: int) -> int:
    """Add numbers."""
    total = 0
    for number in range(steps):
        total += number * number % 7
    return total


def texts(steps: int) -> int:
    """Make strings and dicts, which are dropped at once."""
    length = 0
    for number in range(steps // 4):
        row = {"id": str(number), "name": f"{number:>20}"}
        length += len(row["name"])
    return length


class Point:
    """An object with attributes."""

    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y

    def moved(self) -> "Point":
        return Point(self.y, self.x + 1)


def objects(steps: int) -> int:
    """Make objects, and call methods of them."""
    point = Point(0, 1)
    for _ in range(steps // 4):
        point = point.moved()
    return point.x


class Times(NamedTuple):
    """What a stretch of work took, in seconds: by the clock, and ready but without a processor."""

    clock: float
    ready: dict[str, float]  # by thread
    busy: dict[str, float]  # on a processor, by thread


def measured(work: Callable[[], object]) -> Times:
    """Return what `work` takes."""
    before, start = _schedstat(), time.perf_counter()
    work()
    clock, after = time.perf_counter() - start, _schedstat()
    new = (0.0, 0.0)
    return Times(
        clock,
        {task: now[1] - before.get(task, new)[1] for task, now in after.items()},
        {task: now[0] - before.get(task, new)[0] for task, now in after.items()},
    )


def _schedstat() -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for task in TASKS.iterdir():
        busy, ready, _ = (task / "schedstat").read_text().split()
        found[task.name] = int(busy) / 1e9, int(ready) / 1e9
    return found


def undisturbed(times: Times, threads: int) -> float:
    """Return the seconds that the clock would have counted if every thread had had a processor."""
    workers = sorted(times.busy, key=lambda task: times.busy[task])[-threads:]
    # The scheduler gives each worker as much as it can do, so delays of one are made up by all.
    return sum(times.clock - times.ready[task] for task in workers) / threads


def compare(function: Callable[[int], int], steps: int) -> tuple[float, float, float, float]:
    """Return the seconds of an item, both ratios, and the processor time in units of the loop's."""
    function(steps)
    start = time.perf_counter()
    function(steps)
    items = [steps] * max(THREADS, round(TOTAL / (time.perf_counter() - start)))
    clocks: list[float] = []
    ratios: list[float] = []
    spent: list[float] = []
    costs: list[float] = []
    for _ in range(ROUNDS):
        loop = measured(lambda: [function(item) for item in items])
        both = measured(lambda: pmap(function, items, processes=THREADS, backend="threads"))
        alone = undisturbed(loop, 1)
        costs.append(alone / len(items))
        clocks.append(loop.clock / both.clock)
        ratios.append(alone / undisturbed(both, THREADS))
        spent.append(sum(both.busy.values()) / sum(loop.busy.values()))
    return median(costs), median(clocks), median(ratios), median(spent)


def main() -> None:
    """Print the table."""
    free = (
        sysconfig.get_config_var("Py_GIL_DISABLED")
        and not getattr(sys, "_is_gil_enabled", lambda: True)()
    )
    kind = "without the GIL" if free else "with the GIL"
    print(f"Python {sys.version.split()[0]}, {kind}; {THREADS} threads, {ROUNDS} rounds\n")
    print("| work | an item, ms | x the loop, undisturbed | x the loop, clock | processor time |")
    print("|---|---|---|---|---|")
    for function in (counts, texts, objects):
        for steps in (200_000, 20_000, 2_000, 200):
            cost, clock, ratio, spent = compare(function, steps)
            name = function.__name__
            print(f"| {name} | {1000 * cost:.3g} | {ratio:.2f} | {clock:.2f} | {spent:.2f} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
