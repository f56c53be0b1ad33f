"""pmap beside ``multiprocessing.Pool``: what a map, a call and a cold start cost.

Both sides run in one process run, in turn, so that what else the machine does hits both alike. A
ratio is made of two neighbours in time; the table shows the median of the ratios, the least and
the greatest. Nothing is asserted: see README.md for how to read the numbers.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Final

from side_by_side import Case, Measure, StartMethod, asked, head, measure, row, timed

import pmap as ours

ITEMS: Final = 100_000  # of a map with the default chunksize
SINGLE_ITEMS: Final = 20_000  # of a map with chunksize=1
CALLS: Final = 200  # of papply in a round, enough for a p99


def plain(x: int) -> int:
    """Do next to nothing, in Python."""
    return x + 1


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    method, processes, rounds, only = asked(__doc__, arguments, rounds=9)
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
