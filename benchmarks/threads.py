"""How much faster two threads are than the serial loop: ``backend="threads"`` without the GIL.

``python -m benchmarks.threads`` prints a table in Markdown, for the Python that runs it. Each work
is written in Python alone. A round measures the loop, two bare threads that have half of the items
each, and pmap, one after the other; a figure is the median of some rounds. On a machine that has
other work, the ratios to the loop say what that work has left; pmap beside the bare threads says
what pmap costs. The processor time of all threads, in units of the loop's, shows what is paid for
running side by side, and the waits how often a thread slept until another one let it go on.
"""

import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from functools import partial
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import Final, NamedTuple

from pmap import pmap

THREADS: Final = 2
ROUNDS: Final = 9
TOTAL: Final = 0.4  # seconds of the serial loop of each round


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
    """What a stretch of work took."""

    clock: float  # seconds
    spent: float  # seconds of all threads on a processor
    waits: int  # how often a thread gave up its processor to wait for something


def measured(work: Callable[[], object]) -> Times:
    """Return what `work` takes."""
    waits, spent = getrusage(RUSAGE_SELF).ru_nvcsw, time.process_time()
    start = time.perf_counter()
    work()
    clock = time.perf_counter() - start
    return Times(clock, time.process_time() - spent, getrusage(RUSAGE_SELF).ru_nvcsw - waits)


def in_a_loop(function: Callable[[int], int], items: list[int]) -> None:
    """Call the function for each item."""
    for item in items:
        function(item)


def in_bare_threads(function: Callable[[int], int], items: list[int]) -> None:
    """Give each thread its part of the items at once."""
    parts = [items[number::THREADS] for number in range(THREADS)]
    threads = [threading.Thread(target=in_a_loop, args=(function, part)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def compare(function: Callable[[int], int], steps: int) -> list[float]:
    """Return the milliseconds of an item, and the figures of the table; each is a median."""
    function(steps)
    start = time.thread_time()
    function(steps)
    items = [steps] * max(8 * THREADS, round(TOTAL / (time.thread_time() - start)))
    threads = partial(pmap, function, items, processes=THREADS, backend="threads")
    threads()
    rounds: list[tuple[float, ...]] = []
    for _ in range(ROUNDS):
        loop = measured(lambda: in_a_loop(function, items))
        bare = measured(lambda: in_bare_threads(function, items))
        ours = measured(threads)
        rounds.append(
            (
                1000 * loop.spent / len(items),
                loop.clock / ours.clock,
                loop.clock / bare.clock,
                bare.clock / ours.clock,
                ours.spent / loop.spent,
                ours.waits / len(items),
            )
        )
    return [median(column) for column in zip(*rounds, strict=True)]


def main() -> None:
    """Print the table."""
    built = sysconfig.get_config_var("Py_GIL_DISABLED")
    free = built and not getattr(sys, "_is_gil_enabled", lambda: True)()
    kind = "without the GIL" if free else "with the GIL"
    print(f"Python {sys.version.split()[0]}, {kind}; {THREADS} threads, {ROUNDS} rounds\n")
    columns = "pmap, x the loop", "bare threads, x the loop", "pmap, x bare threads"
    print("| work | an item, ms |", *(f"{column} |" for column in columns), end=" ")
    print("processor time, x the loop | waits by item |")
    print("|---|---|---|---|---|---|---|")
    for steps in (100_000, 10_000, 1_000):
        for function in (counts, texts, objects):
            cost, *ratios = compare(function, steps)
            cells = f"{cost:.3g}", *(f"{ratio:.2f}" for ratio in ratios)
            print("|", " | ".join((function.__name__, *cells)), "|")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
