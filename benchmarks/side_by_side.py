"""What the benchmarks share: two sides measured in turn, and a table of their ratios."""

import argparse
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Literal, NamedTuple, TypeAlias

import pmap as ours

StartMethod: TypeAlias = Literal["spawn", "forkserver", "fork"]
METHODS: Final[tuple[StartMethod, ...]] = ("spawn", "forkserver", "fork")

TABLE: Final = """\
| case | pmap | Pool | median ratio | min | max | target |
|---|---:|---:|---:|---:|---:|---:|"""

# A measurement returns seconds.
Measure: TypeAlias = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        name: what is measured.
        ours: measures pmap once.
        theirs: measures ``multiprocessing.Pool`` once.
        target: the greatest median ratio that we want; None: there is no target.
        unit: how a time is shown.
        per: by how much a time is divided to be shown.
    """

    name: str
    ours: Measure
    theirs: Measure
    target: float | None = None
    unit: str = "ms"
    per: int = 1


class Line(NamedTuple):
    """What came of a case: the times of each side, round by round."""

    case: Case
    ours: list[float]
    theirs: list[float]

    def ratios(self) -> list[float]:
        """Return ours / theirs of each round."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]


def timed(run: Callable[[], object]) -> float:
    """Return how many seconds `run` takes."""
    begin = perf_counter()
    run()
    return perf_counter() - begin


def measure(case: Case, rounds: int) -> Line:
    """Run both sides in turn: once unmeasured, then `rounds` times."""
    case.ours()
    case.theirs()
    line = Line(case, [], [])
    for _ in range(rounds):
        line.ours.append(case.ours())
        line.theirs.append(case.theirs())
    return line


def row(line: Line) -> str:
    """Return the line of the table."""
    case = line.case
    scale = {"ms": 1e3, "us": 1e6}[case.unit] / case.per
    ratios = line.ratios()
    target = "" if case.target is None else f"<= {case.target}"
    cells = [
        case.name,
        f"{statistics.median(line.ours) * scale:.1f} {case.unit}",
        f"{statistics.median(line.theirs) * scale:.1f} {case.unit}",
        f"**{statistics.median(ratios):.3g}**",
        f"{min(ratios):.3g}",
        f"{max(ratios):.3g}",
        target,
    ]
    return f"| {' | '.join(cells)} |"


class Asked(NamedTuple):
    """What the command line says."""

    method: StartMethod
    processes: int
    rounds: int
    only: str


def asked(description: str | None, arguments: Sequence[str] | None, rounds: int) -> Asked:
    """Read the command line; `rounds` is the default of that option."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--start-method", default="forkserver", choices=METHODS)
    parser.add_argument("--processes", type=int, default=2, help="workers on each side")
    parser.add_argument("--rounds", type=int, default=rounds, help="measured rounds of each case")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    given = parser.parse_args(arguments)
    return Asked(given.start_method, given.processes, given.rounds, given.only)


def head(method: str, processes: int, rounds: int) -> str:
    """Return what was measured where, and the head of the table."""
    load = f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return "\n".join(
        [
            f"pmap {ours.__version__}, {python}, {system}, {os.cpu_count()} CPUs{load}.",
            f"{processes} workers, start method {method}, {rounds} rounds.",
            "",
            TABLE,
        ]
    )
