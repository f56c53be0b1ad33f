"""What a checkpoint costs: the same call with and without one, in turn.

``python -m benchmarks.checkpoint [ITEMS]`` prints the median of five for items of a millisecond
that compute and that wait, by the clock and by the caller's processor time, and how long it takes
to find all of them in the file.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

from pmap import pmap

ROUNDS = 5
PROCESSES = 2


def compute(x: int) -> int:
    """Take a millisecond of processor time."""
    until = time.thread_time() + 0.001
    while time.thread_time() < until:
        pass
    return x


def wait(x: int) -> int:
    """Wait for a millisecond."""
    time.sleep(0.001)
    return x


def timed(function: Callable[[int], int], items: range, path: str | None) -> tuple[float, float]:
    """Return how many seconds a call takes by the clock, and of the caller's processor time."""
    begin, used = time.perf_counter(), time.process_time()
    pmap(function, items, processes=PROCESSES, checkpoint=path)
    return time.perf_counter() - begin, time.process_time() - used


def main() -> None:
    """Measure, and print the medians."""
    items = range(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
    with tempfile.TemporaryDirectory() as folder:
        for function in (compute, wait):
            timed(function, range(200), None)
            plain: list[tuple[float, float]] = []
            kept: list[tuple[float, float]] = []
            found: list[tuple[float, float]] = []
            for number in range(ROUNDS):
                path = os.path.join(folder, f"{function.__name__}{number}.sqlite")
                plain.append(timed(function, items, None))
                kept.append(timed(function, items, path))
                found.append(timed(function, items, path))
            ratio = median(k / p for (k, _), (p, _) in zip(kept, plain, strict=True))
            more = median(k - p for (_, k), (_, p) in zip(kept, plain, strict=True))
            print(
                f"{function.__name__}: {len(items)} items, without "
                f"{median(clock for clock, _ in plain):.3f} s, with "
                f"{median(clock for clock, _ in kept):.3f} s, ratio of the rounds {ratio:.3f}; the "
                f"caller's processor time is {more / len(items) * 1e6:.1f} us more an item; found "
                f"again in {median(clock for clock, _ in found):.3f} s"
            )


if __name__ == "__main__":
    main()
