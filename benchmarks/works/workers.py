"""The same with more workers: what each of them costs the others."""

import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Final

from ..peers import Peer, started
from ..work import Figure, Setting, Target, Work, timed

COUNTS: Final = (1, 2, 8, 64)
# The names of what is measured, each with the ratio to `Pool` that we want.
WANTED: Final = {
    "`abs`, a list of 1e5": 1.0,
    "`abs`, chunksize=1": 1.0,
    "one blocking call": 1.0,
    "calls, all asked for at once": 0.9,
}
NAMES: Final = tuple(WANTED)


def all_at_once(peer: Peer, count: int) -> list[int]:
    """Ask for calls, and then wait for all."""
    return [get() for get in [peer.submit(abs, number) for number in range(count)]]


def times(peer: Peer, quick: bool) -> Iterator[float]:
    """Give the seconds of an item or call, for each of `NAMES`."""
    items = [*range(min(100_000, peer.most))]
    whole = partial(peer.map, abs, items)
    whole()
    yield median(timed(whole) for _ in range(3 if quick else 9)) / len(items)
    items = [*range(min(10_000, peer.most))]
    single = partial(peer.map, abs, items, chunksize=1)
    yield median(timed(single) for _ in range(1 if quick else 3)) / len(items)
    call = partial(peer.call, abs, -1)
    yield median(timed(call) for _ in range(100 if quick else 500))
    count = min(20_000, peer.most)
    calls = partial(all_at_once, peer, count)
    calls()
    yield median(timed(calls) for _ in range(3)) / count


def measure(setting: Setting) -> Iterator[tuple[str, float]]:
    """Measure with one worker, and with more; then how much the most of them add."""
    first: dict[str, float] = {}
    for workers in COUNTS:
        with started(setting.peer, workers) as peer:
            # Each has begun, and has had something.
            peer.map(time.sleep, [0.02] * (2 * workers), chunksize=1)
            for name, seconds in zip(NAMES, times(peer, setting.quick), strict=True):
                yield f"{name}, {workers}", seconds * 1e6
                first.setdefault(name, seconds)
                if workers == COUNTS[-1]:
                    yield f"{name}, {workers} over {COUNTS[0]}", seconds / first[name]


WORKS: Final = (
    Work(
        "workers",
        "`abs` with more workers: time for each item or call",
        tuple(
            figure
            for name in NAMES
            for figure in (
                *(Figure(f"{name}, {count}", "us", (Target(WANTED[name]),)) for count in COUNTS),
                Figure(f"{name}, {COUNTS[-1]} over {COUNTS[0]}", "x", (Target(2, None),)),
            )
        ),
        measure,
        ("pmap", "Pool", "PPE", "loky", "mpire", "pebble"),
        limit=180,
    ),
)
