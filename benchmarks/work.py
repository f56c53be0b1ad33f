"""What a work is: something done with each peer, and the figures that come of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Final, NamedTuple, TypeAlias

ALL: Final = ("pmap", "Pool", "PPE", "loky", "joblib", "mpire", "pebble")


@dataclass(frozen=True)
class Target:
    """What we want of pmap's figure: no worse than `limit` times the figure of the peer `to`.

    With no peer, `limit` is the figure itself.
    """

    limit: float
    to: str | None = "Pool"


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        name: what is measured.
        unit: what a value is, as shown.
        targets: what we want of pmap.
        more: whether a greater value is a better one.
    """

    name: str
    unit: str
    targets: tuple[Target, ...] = ()
    more: bool = False


class Setting(NamedTuple):
    """What a measurement is told."""

    peer: str
    processes: int
    quick: bool


# Yields a figure's name and its value, each as soon as it is known: what comes before a hang is
# kept.
Measure: TypeAlias = Callable[[Setting], Iterator[tuple[str, float]]]


@dataclass(frozen=True)
class Work:
    """One table.

    Attributes:
        name: for the command line.
        what: its heading.
        figures: its rows.
        measure: does the work with one peer, once, in a process of its own.
        peers: its columns.
        limit: after how many seconds a measurement counts as a hang.
    """

    name: str
    what: str
    figures: tuple[Figure, ...]
    measure: Measure
    peers: tuple[str, ...] = ALL
    limit: float = 60


def timed(run: Callable[[], object]) -> float:
    """Return how many seconds `run` takes."""
    begin = perf_counter()
    run()
    return perf_counter() - begin
