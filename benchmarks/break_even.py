"""From which cost of an item on, and from how much work on, pmap is faster than the serial loop.

``python -m benchmarks.break_even`` prints three tables in Markdown. The first has what an item
costs beyond the function itself, in processor time, which hardly depends on what else the machine
does. The others are of the clock: with warm workers, by the cost of an item; and a whole program
that starts with none, by the time that its loop takes. Each figure is the median of some rounds. A
round measures the loop and pmap, one after the other, and makes one ratio of both, so that a
machine that is busy for a while is busy for both. It needs Linux.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median

from pmap import pmap

PROCESSES = 2
ROUNDS = 11
COSTS = (0, 1, 3, 10, 30, 100, 1_000)  # microseconds of an item, without its call
TOTALS = (10, 30, 100, 300, 1_000)  # milliseconds of a whole loop, of items of 1 ms

OFTEN = 50_000  # items of which each costs next to nothing
ITEMS: dict[str, Callable[[int], object]] = {
    "an int": lambda n: n,
    "a text of 200 characters": lambda n: f"{n:>200}",
    "a tuple of three": lambda n: (n, n / 7, f"{n:>200}"),
    "a dict of four": lambda n: {"id": n, "price": n / 7, "text": f"{n:>200}", "tags": ["a", "b"]},
}

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


def compare(loop: Callable[[], float], ours: Callable[[], float]) -> tuple[float, float, float]:
    """Return the seconds of the loop, those of pmap, and how many times as fast it is: medians."""
    rounds: list[tuple[float, float, float]] = []
    for _ in range(ROUNDS):
        serial, parallel = loop(), ours()
        rounds.append((serial, parallel, serial / parallel))
    serials, parallels, gains = zip(*rounds, strict=True)
    return median(serials), median(parallels), median(gains)


def steps_in_a_second() -> float:
    """Return how many steps `burn` makes in a second."""
    return max(1e6 / seconds(partial(burn, 1_000_000, 0)) for _ in range(10))


def same(item: object) -> object:
    """Return the item."""
    return item


def on_processor(pids: Iterable[int]) -> float:
    """Return how many seconds these processes have been on a processor."""
    files = [Path(f"/proc/{pid}/schedstat") for pid in pids]
    return sum(int(file.read_text(encoding="ascii").split()[0]) for file in files) / 1e9


def overhead() -> None:
    """Print what an item costs beyond the function, at the caller and in the workers."""
    print("| an item, in and out | caller, us | workers, us | breaks even at, us |")
    print("|---|---:|---:|---:|")
    many = pmap.using(processes=PROCESSES)
    pids = set(many(lambda _: os.getpid(), range(100), chunksize=1))
    for name, make in ITEMS.items():
        items = [make(n) for n in range(OFTEN)]
        costs: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            own, workers = time.process_time(), on_processor(pids)
            list(map(same, items))
            loop, own = time.process_time() - own, time.process_time()
            many(same, items)
            home = time.process_time() - own
            costs.append((home, on_processor(pids) - workers - loop))
        home, away = (median(cost) / OFTEN * 1e6 for cost in zip(*costs, strict=True))
        # Two workers take half of the items each, while the caller sends and takes in.
        even = max(home, away)
        print(f"| {name} | {home:.2g} | {away:.2g} | {even:.2g} |", flush=True)


def warm(pace: float) -> None:
    """Print time and gain with warm workers, by the cost of an item."""
    print("| serial loop, us an item | pmap, us an item | times as fast |\n|---:|---:|---:|")
    many = pmap.using(processes=PROCESSES)
    for cost in COSTS:
        work = partial(burn, int(cost * 1e-6 * pace))
        number = min(100_000, max(20, int(0.2 / (cost * 1e-6 + 1e-7))))
        items: list[object] = list(range(number))
        many(work, items)
        loop, ours, gain = compare(
            partial(seconds, partial(in_a_loop, work, items)),
            partial(seconds, partial(many, work, items)),
        )
        scale = 1e6 / number
        print(f"| {loop * scale:.3g} | {ours * scale:.3g} | {gain:.2f} |", flush=True)


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
        loop, ours, gain = compare(
            partial(program, pace, total, 0), partial(program, pace, total, 1)
        )
        print(f"| {loop * 1000:.0f} | {ours * 1000:.0f} | {gain:.2f} |", flush=True)


if __name__ == "__main__":
    print("Load average:", *(f"{load:.1f}" for load in os.getloadavg()))
    pace = steps_in_a_second()
    print("\nBeyond the function:\n")
    overhead()
    print("\nAn int in and out, warm workers:\n")
    warm(pace)
    print("\nA whole program:\n")
    cold(pace)
