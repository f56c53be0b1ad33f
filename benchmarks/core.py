"""pmap beside ``multiprocessing.Pool``: what a map, a call and a cold start cost.

Both sides run in one process run, in turn, so that what else the machine does hits both alike. A
ratio is made of two neighbours in time; the table shows the median of the ratios, the least and
the greatest. Nothing is asserted: see README.md for how to read the numbers.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from time import perf_counter
from typing import Final, Literal, NamedTuple, TypeAlias

import pmap as ours

ITEMS: Final = 100_000  # of a map with the default chunksize
SINGLE_ITEMS: Final = 20_000  # of a map with chunksize=1
CALLS: Final = 200  # of papply in a round, enough for a p99

StartMethod: TypeAlias = Literal["spawn", "forkserver", "fork"]
METHODS: Final[tuple[StartMethod, ...]] = ("spawn", "forkserver", "fork")

# A measurement returns seconds.
Measure: TypeAlias = Callable[[], float]


def plain(x: int) -> int:
    """Do next to nothing, in Python."""
    return x + 1


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


def percentile(run: Callable[[], object], percent: int) -> float:
    """Return that percentile of the seconds that `run` takes, over `CALLS` calls."""
    times = sorted(timed(run) for _ in range(CALLS))
    return times[min(len(times) - 1, len(times) * percent // 100)]


def warm_cases(method: StartMethod, processes: int, pool: Pool) -> list[Case]:
    """Return the cases in which both sides have their workers already."""
    our_map = ours.pmap.using(processes=processes, start_method=method)
    our_apply = ours.papply.using(processes=processes, start_method=method)
    numbers = range(ITEMS)
    strings = [f"item {number}" for number in numbers]
    rows = [(number, str(number)) for number in numbers]
    few = range(SINGLE_ITEMS)
    return [
        Case(
            f"`pmap(abs, range({ITEMS:_}))`",
            partial(timed, lambda: our_map(abs, numbers)),
            partial(timed, lambda: pool.map(abs, numbers)),
            target=1.2,
        ),
        Case(
            f"a Python function, range({ITEMS:_})",
            partial(timed, lambda: our_map(plain, numbers)),
            partial(timed, lambda: pool.map(plain, numbers)),
        ),
        Case(
            f"`len`, {ITEMS:_} strings",
            partial(timed, lambda: our_map(len, strings)),
            partial(timed, lambda: pool.map(len, strings)),
        ),
        Case(
            f"`len`, {ITEMS:_} tuples",
            partial(timed, lambda: our_map(len, rows)),
            partial(timed, lambda: pool.map(len, rows)),
        ),
        Case(
            "`papply(abs, -1)`, p50",
            partial(percentile, lambda: our_apply(abs, -1), 50),
            partial(percentile, lambda: pool.apply(abs, (-1,)), 50),
            target=0.9,
            unit="us",
        ),
        Case(
            "`papply(abs, -1)`, p99",
            partial(percentile, lambda: our_apply(abs, -1), 99),
            partial(percentile, lambda: pool.apply(abs, (-1,)), 99),
            unit="us",
        ),
        Case(
            f"`chunksize=1`, {SINGLE_ITEMS:_} items, each",
            partial(timed, lambda: our_map(abs, few, chunksize=1)),
            partial(timed, lambda: pool.map(abs, few, chunksize=1)),
            target=0.5,
            unit="us",
            per=SINGLE_ITEMS,
        ),
    ]


OURS: Final = """\
from pmap import pmap
{define}
print(pmap({function}, range(4), processes=2))
"""
THEIRS: Final = """\
from multiprocessing import get_context
{define}
if __name__ == "__main__":
    with get_context("spawn").Pool(2) as pool:
        print(pool.map({function}, range(4)))
"""
OF_MAIN: Final = "def function(x):\n    return x + 1\n"


def run_script(script: Path) -> None:
    """Run a script in a fresh interpreter, to its end."""
    # What is installed has its byte code, wherever the benchmark itself is run.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, str(script)], check=True, stdout=subprocess.DEVNULL, env=env)


def cold_cases(folder: Path) -> list[Case]:
    """Return the cases of a whole program: start, two workers, a first result, end."""
    cases: list[Case] = []
    for function, define, what in (
        ("abs", "", "`abs`"),
        ("function", OF_MAIN, "a function of `__main__`"),
    ):
        runs: list[Measure] = []
        for side, text in (("ours", OURS), ("theirs", THEIRS)):
            script = folder / f"{function}_{side}.py"
            script.write_text(text.format(define=define, function=function), encoding="utf-8")
            runs.append(partial(timed, partial(run_script, script)))
        cases.append(
            Case(f"cold, {what}, our default to Pool's spawn", runs[0], runs[1], target=1.0)
        )
    return cases


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
        f"**{statistics.median(ratios):.2f}**",
        f"{min(ratios):.2f}",
        f"{max(ratios):.2f}",
        target,
    ]
    return f"| {' | '.join(cells)} |"


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
            "| case | pmap | Pool | median ratio | min | max | target |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-method", default="forkserver", choices=METHODS)
    parser.add_argument("--processes", type=int, default=2, help="workers on each side")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds of each case")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    given = parser.parse_args(arguments)
    method: StartMethod = given.start_method
    processes: int = given.processes
    rounds: int = given.rounds
    only: str = given.only

    print(head(method, processes, rounds), flush=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        get_context(method).Pool(processes) as pool,
    ):
        for case in [*warm_cases(method, processes, pool), *cold_cases(Path(folder))]:
            if only in case.name:
                print(row(measure(case, rounds)), flush=True)


if __name__ == "__main__":
    main()
