"""Which worker gets what, and what it costs the processors."""

import heapq
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from .. import processes
from ..peers import started
from ..work import Figure, Setting, Target, Work, timed

ITEMS: Final = 200
SLEEPERS: Final = 8  # workers that sleep; they need no processor
SHAPES: Final = (
    "uniform",
    "sorted up",
    "sorted down",
    "log-normal",
    "Pareto",
    "one huge at the end",
)


def burn(seconds: float) -> None:
    """Keep a processor busy until the time is over, however much of it others take."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def durations(shape: str, total: float) -> list[float]:
    """Return how long each item takes, `total` together; the same at each call."""
    draw = random.Random(1)  # noqa: S311 - nothing secret
    makers: dict[str, Callable[[], float]] = {
        "log-normal": lambda: draw.lognormvariate(0, 1),
        "Pareto": lambda: draw.paretovariate(1.5),
    }
    make = makers.get(shape, draw.random)
    times = [make() for _ in range(ITEMS)]
    if shape.startswith("sorted"):
        times.sort(reverse=shape == "sorted down")
    if shape == "one huge at the end":
        times[-1] = sum(times) / 10
    scale = total / sum(times)
    return [scale * seconds for seconds in times]


def greedy(times: list[float], workers: int) -> float:
    """Return when the last ends if each worker that is free takes the next in order, at no cost."""
    free = [0.0] * workers
    for seconds in times:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def measure_makespan(setting: Setting) -> Iterator[tuple[str, float]]:
    """Divide the time of a map by that of the greedy order."""
    for what, function, workers in (("sleep", time.sleep, SLEEPERS), ("burn", burn, 2)):
        with started(setting.peer, workers) as peer:
            peer.map(function, [0.0] * workers)
            for shape in SHAPES:
                times = durations(shape, workers * (0.5 if setting.quick else 1.0))
                seconds = timed(partial(peer.map, function, times))
                yield f"{workers} {what}, {shape}", seconds / greedy(times, workers)


def svd(seed: int) -> float:
    """Decompose a matrix; NumPy's library would like all processors for that."""
    import numpy as np

    matrix = np.random.default_rng(seed).standard_normal((200, 200))
    return float(np.linalg.svd(matrix)[1][0])


def measure_svd(setting: Setting) -> Iterator[tuple[str, float]]:
    """Take the time of the processors, and of the clock."""
    with started(setting.peer, setting.processes) as peer:
        peer.map(svd, range(4 * setting.processes))
        everybody = processes.tree(os.getpid())
        before = processes.cpu(everybody)
        seconds = timed(lambda: peer.map(svd, range(200)))
        yield "CPU time of all processes", processes.cpu(everybody) - before
        yield "time", seconds


WORKS: Final = (
    Work(
        "makespan",
        "The time of a map over that of the greedy order, 200 items of unequal length",
        tuple(
            Figure(f"{workers} {what}, {shape}", "x", (Target(limit, None),))
            for what, workers, limit in (("sleep", SLEEPERS, 1.02), ("burn", 2, 1.05))
            for shape in SHAPES
        ),
        measure_makespan,
        limit=90,
    ),
    Work(
        "svd",
        "200 SVDs of 200 x 200, nothing configured",
        (
            Figure("CPU time of all processes", "s", (Target(0.15), Target(1.05, "joblib"))),
            Figure("time", "s"),
        ),
        measure_svd,
    ),
)
