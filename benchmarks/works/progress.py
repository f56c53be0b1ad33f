"""What it costs to show how far a call is; beside the same call that shows nothing."""

import io
from collections.abc import Iterator
from contextlib import redirect_stderr
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Final

from pmap import Progress, pmap

from ..work import Figure, Setting, Work, timed

if TYPE_CHECKING:
    from pmap import Options

MANY: Final = 1_000_000
SHOWN: Final = ("plain", "off", "a function", "a bar")


class Screen(io.StringIO):
    """What takes itself for a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def take(_: Progress) -> None:
    """Take no time."""


def options(shown: str) -> "Options":
    """Return the options that show it so."""
    if shown == "a function":
        return {"progress": take}
    return {} if shown == "plain" else {"progress": shown == "a bar"}


def measure(setting: Setting) -> Iterator[tuple[str, float]]:
    """Call in turn, each way of showing it."""
    verb = pmap.using(processes=setting.processes)
    ways = {shown: partial(verb, abs, **options(shown)) for shown in SHOWN}
    items = [*range(MANY // 10 if setting.quick else MANY)]
    with redirect_stderr(Screen()):
        ways["a bar"]([1, 2])  # imports tqdm
        for name, given, times in (
            ("a list of 1e6, each item", items, 3 if setting.quick else 5),
            ("two items, each call", items[:2], 50 if setting.quick else 200),
        ):
            taken: dict[str, list[float]] = {shown: [] for shown in SHOWN}
            for _ in range(times):
                for shown, way in ways.items():
                    taken[shown].append(timed(partial(way, given)))
            parts = len(given) if len(given) > 2 else 1
            for shown, seconds in taken.items():
                yield f"{name}: {shown}", median(seconds) / parts * 1e6


WORKS: Final = (
    Work(
        "progress",
        "Showing how far a map of `abs` is, warm",
        tuple(
            Figure(f"{name}: {shown}", "us")
            for name in ("a list of 1e6, each item", "two items, each call")
            for shown in SHOWN
        ),
        measure,
        ("pmap",),
    ),
)
