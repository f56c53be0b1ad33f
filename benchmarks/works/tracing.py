"""What it costs to note what each worker did when; beside the same call that notes nothing."""

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Final

from pmap import Trace, pmap

from ..work import Figure, Setting, Work, timed

MANY: Final = 100_000
WAYS: Final = ("off", "on")
# So many additions take about a millisecond on the machine that the figures are from.
ADDITIONS: Final = 25_000


def add(_: int) -> int:
    """Take about a millisecond of a processor."""
    total = 0
    for number in range(ADDITIONS):
        total += number
    return total


def measure(setting: Setting) -> Iterator[tuple[str, float]]:
    """Call in turn, with a trace and without."""
    verb = pmap.using(processes=setting.processes)
    cases: list[tuple[str, Callable[[int], int], int, int]] = [
        ("items of about 1 ms", add, 200, 3 if setting.quick else 15),
        ("items that take no time", abs, MANY // 10 if setting.quick else MANY, 9),
    ]
    for name, function, items, times in cases:
        verb(function, range(items))
        taken: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(times):
            taken["off"].append(timed(partial(verb, function, range(items))))
            taken["on"].append(timed(partial(verb, function, range(items), trace=Trace())))
        for way, seconds in taken.items():
            yield f"{name}: {way}", median(seconds) / items * 1e6
        ratios = [on / off for on, off in zip(taken["on"], taken["off"], strict=True)]
        yield f"{name}: on / off", median(ratios)


WORKS: Final = (
    Work(
        "trace",
        "Tracing a map, warm: time of each item",
        tuple(
            Figure(f"{name}: {way}", unit)
            for name in ("items of about 1 ms", "items that take no time")
            for way, unit in (("off", "us"), ("on", "us"), ("on / off", "x"))
        ),
        measure,
        ("pmap",),
        limit=180,
    ),
)
