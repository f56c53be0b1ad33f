"""From which cost of an item on, and from how much work on, pmap is faster than the serial loop.

``python -m benchmarks.break_even`` prints three tables in Markdown: with warm workers, by the cost of
an item, for small items and for larger ones; and for a whole program that starts with none, by the time that its loop takes. Each figure
is the median over rounds; a round measures the loop and pmap one after the other.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median, quantiles

from pmap import pmap

PROCESSES = 2
ROUNDS = 15
COSTS = (0, 0.3, 1, 3, 10, 30, 100, 1_000, 10_000)  # microseconds of an item, without its call
TOTALS = (10, 30, 100, 300, 1_000, 3_000)  # milliseconds of a whole loop, of items of 1 ms

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


def seconds(run: Callable[[], object]) -> float:
    """Return how long it takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def steps_in_a_second() -> float:
    """Return how many steps `burn` makes in a second."""
    return max(1e6 / seconds(partial(burn, 1_000_000, 0)) for _ in range(10))


def spread(values: list[float]) -> str:
    """Return the median, and the middle half of the values."""
    low, _, high = quantiles(values, n=4)
    return f"{median(values):.2f} ({low:.2f} to {high:.2f})"


def warm(pace: float, make: Callable[[int], object]) -> None:
    """Print the gain with warm workers, by the cost of an item; `make` makes the items."""
    print("| serial loop, us an item | items | times as fast |\n|---:|---:|---:|")
    many = pmap.using(processes=PROCESSES)
    for cost in COSTS:
        work = partial(burn, int(cost * 1e-6 * pace))
        number = min(100_000, max(100, int(0.3 / (cost * 1e-6 + 1e-7))))
        items = [make(n) for n in range(number)]
        gains: list[float] = []
        serial: list[float] = []
        for _ in range(ROUNDS):
            serial.append(seconds(lambda w=work, i=items: list(map(w, i))))
            gains.append(serial[-1] / seconds(lambda w=work, i=items: many(w, i)))
        an_item = median(serial) / len(items) * 1e6
        print(f"| {an_item:.3g} | {len(items):,} | {spread(gains)} |", flush=True)


def cold(pace: float) -> None:
    """Print the gain of a whole program, import and first workers included."""
    print("| serial loop, ms | pmap, import and start included, ms | times as fast |")
    print("|---:|---:|---:|")
    for total in TOTALS:
        times: dict[int, list[float]] = {0: [], 1: []}
        for _ in range(ROUNDS):
            for parallel in (0, 1):
                command = [sys.executable, "-c", PROGRAM, str(int(pace / 1000)), str(total)]
                done = subprocess.run(
                    [*command, str(parallel)], stdout=subprocess.PIPE, text=True, check=True
                )
                times[parallel].append(float(done.stdout))
        gains = [loop / ours for loop, ours in zip(times[0], times[1], strict=True)]
        loop, ours = median(times[0]) * 1000, median(times[1]) * 1000
        print(f"| {loop:.0f} | {ours:.0f} | {spread(gains)} |", flush=True)


if __name__ == "__main__":
    pace = steps_in_a_second()
    print("\nAn int in and out, warm workers:\n")
    warm(pace, lambda n: n)
    print("\nA dict with a text of 200 characters in and out, warm workers:\n")
    warm(pace, lambda n: {"id": n, "price": n / 7, "text": f"{n:>200}", "tags": ["a", "b"]})
    print("\nA whole program:\n")
    cold(pace)
