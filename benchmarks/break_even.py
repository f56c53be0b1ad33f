"""From which cost of an item on, and from how much work on, pmap is faster than the serial loop.

``python -m benchmarks.break_even`` prints three tables in Markdown: with warm workers, by the cost
of an item, for small items and for larger ones; and for a whole program that starts with none, by
the time that its loop takes. Each figure is the median of a few rounds, of which each measures the
loop and pmap. With ``--ahead`` (as root, on Linux) the kernel prefers them to what else runs, which
has the processors in the pauses between.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from pmap import pmap

PROCESSES = 2
ROUNDS = 5
COSTS = (0, 1, 3, 10, 30, 100, 1_000)  # microseconds of an item, without its call
TOTALS = (10, 30, 100, 300, 1_000)  # milliseconds of a whole loop, of items of 1 ms

PAUSE = 0.5  # seconds between two rounds

PROGRAM = """
import sys, time
from functools import partial
def burn(steps, item):
    for _ in range(steps):
        pass
    return item
steps, items, parallel = map(int, sys.argv[1:])
start = time.perf_counter()
if parallel:
    from pmap import pmap
    pmap(partial(burn, steps), range(items), processes=2)
else:
    list(map(partial(burn, steps), range(items)))
print(time.perf_counter() - start)
"""


def burn(steps: int, item: object) -> object:
    """Return the item, after so many steps of a loop."""
    for _ in range(steps):
        pass
    return item


def in_a_loop(work: Callable[[object], object], items: list[object]) -> list[object]:
    """Return what pmap would, of the serial loop."""
    return list(map(work, items))


def seconds(run: Callable[[], object]) -> float:
    """Return how long it takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(loop: Callable[[], float], ours: Callable[[], float]) -> tuple[float, float]:
    """Return the seconds that the loop takes, and those that pmap takes: medians."""
    rounds: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        rounds.append((loop(), ours()))
        time.sleep(PAUSE)
    loops, times = zip(*rounds, strict=True)
    return median(loops), median(times)


def steps_in_a_second() -> float:
    """Return how many steps `burn` makes in a second."""
    return max(1e6 / seconds(partial(burn, 1_000_000, 0)) for _ in range(10))


def warm(pace: float, make: Callable[[int], object]) -> None:
    """Print time and gain with warm workers, by the cost of an item that `make` makes."""
    print("| serial loop, us an item | pmap, us an item | times as fast |\n|---:|---:|---:|")
    many = pmap.using(processes=PROCESSES)
    for cost in COSTS:
        work = partial(burn, int(cost * 1e-6 * pace))
        number = min(100_000, max(20, int(0.2 / (cost * 1e-6 + 1e-7))))
        items = [make(n) for n in range(number)]
        many(work, items)
        loop, ours = compare(
            partial(seconds, partial(in_a_loop, work, items)),
            partial(seconds, partial(many, work, items)),
        )
        scale = 1e6 / number
        print(f"| {loop * scale:.3g} | {ours * scale:.3g} | {loop / ours:.2f} |", flush=True)


def program(pace: float, items: int, parallel: int) -> float:
    """Return how many seconds a whole program takes for so many items of a millisecond."""
    command = [sys.executable, "-c", PROGRAM, *map(str, (int(pace / 1000), items, parallel))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def cold(pace: float) -> None:
    """Print time and gain of a whole program, import and first workers included."""
    print("| serial loop, ms | pmap, import and start included, ms | times as fast |")
    print("|---:|---:|---:|")
    for total in TOTALS:
        loop, ours = compare(partial(program, pace, total, 0), partial(program, pace, total, 1))
        print(f"| {loop * 1000:.0f} | {ours * 1000:.0f} | {loop / ours:.2f} |", flush=True)


if __name__ == "__main__":
    if "--ahead" in sys.argv:
        os.nice(-20)
    pace = steps_in_a_second()
    print("\nAn int in and out, warm workers:\n")
    warm(pace, lambda n: n)
    print("\nA dict with a text of 200 characters in and out, warm workers:\n")
    warm(pace, lambda n: {"id": n, "price": n / 7, "text": f"{n:>200}", "tags": ["a", "b"]})
    print("\nA whole program:\n")
    cold(pace)
