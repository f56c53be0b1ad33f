"""Items that do nothing: what the machinery costs."""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median
from typing import Final

from .. import processes
from ..peers import started
from ..work import Figure, Setting, Target, Work, timed

MILLION: Final = 1_000_000


def plain(x: int) -> int:
    """Do next to nothing, in Python."""
    return x + 1


def measure_map(setting: Setting) -> Iterator[tuple[str, float]]:
    """Map over tiny items, with warm workers."""
    with started(setting.peer, setting.processes) as peer:
        times = 1 if setting.quick else 3
        again = 4 if setting.quick else 8
        for name, function, asked in (
            ("`abs`, a list of 1e5", abs, [*range(100_000)]),
            ("`abs`, a list of 1e6", abs, [*range(MILLION)]),
            ("`abs`, a range of 1e6", abs, range(MILLION)),
            ("a Python function, a list of 1e5", plain, [*range(100_000)]),
        ):
            items: Sequence[int] = asked[: peer.most]
            run = partial(peer.map, function, items)
            peer.map(function, items[:100])  # a worker that does not know it imports it
            yield name, median(timed(run) for _ in range(times)) / len(items) * 1e6
            if isinstance(asked, list) and function is abs:
                seconds = median(timed(run) for _ in range(again))
                yield f"{name}, again and again", seconds / len(items) * 1e6
        for name, values in (
            ("`len`, 1e5 strings", [f"item {number}" for number in range(min(100_000, peer.most))]),
            ("`len`, 1e5 tuples", [(n, str(n)) for n in range(min(100_000, peer.most))]),
        ):
            run = partial(peer.map, len, values)
            yield name, median(timed(run) for _ in range(times)) / len(values) * 1e6
        items = [*range(min(10_000, peer.most))]
        run = partial(peer.map, abs, items, chunksize=1)
        seconds = median(timed(run) for _ in range(times))
        yield "`abs`, 1e4 items, chunksize=1", seconds / len(items) * 1e6


def measure_stream(setting: Setting) -> Iterator[tuple[str, float]]:
    """Take all results of a stream, and keep none."""
    with started(setting.peer, setting.processes) as peer:
        # Streams of Pool and mpire send items one by one, too, and their maps do not.
        most = 20_000 if setting.peer in ("Pool", "mpire") else peer.most
        items = range(min(most, 200_000 if setting.quick else MILLION))
        seconds = timed(lambda: deque(peer.stream(abs, items), maxlen=0))
        yield "`abs`, 1e6 items", seconds / len(items) * 1e6
        before = 0
        for number, _ in enumerate(peer.stream(abs, items), 1):
            if number == len(items) // 10:
                before = processes.resident()
        yield "memory that nine tenths of them add", (processes.resident() - before) / 1e6


WORKS: Final = (
    Work(
        "map",
        "A map over tiny items, warm, default settings: time for each item",
        (
            Figure("`abs`, a list of 1e5", "us", (Target(0.95),)),
            Figure("`abs`, a list of 1e5, again and again", "us", (Target(0.95),)),
            Figure("`abs`, a list of 1e6", "us", (Target(0.95),)),
            Figure("`abs`, a list of 1e6, again and again", "us", (Target(0.95),)),
            Figure("`abs`, a range of 1e6", "us", (Target(0.95),)),
            Figure("a Python function, a list of 1e5", "us", (Target(0.95),)),
            Figure("`len`, 1e5 strings", "us", (Target(0.95),)),
            Figure("`len`, 1e5 tuples", "us", (Target(0.95),)),
            Figure("`abs`, 1e4 items, chunksize=1", "us", (Target(0.3),)),
        ),
        measure_map,
    ),
    Work(
        "stream",
        "A stream of tiny items, default settings: time for each item",
        (
            Figure("`abs`, 1e6 items", "us", (Target(0.05),)),
            Figure("memory that nine tenths of them add", "MB", (Target(5, None),)),
        ),
        measure_stream,
    ),
)
