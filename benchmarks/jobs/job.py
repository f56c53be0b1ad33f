"""What all jobs share: a script runs its job with a peer, and says when it is measured.

``python -m benchmarks.jobs.NAME PEER PROCESSES TIMES [quick]``. The script prints a line of
JSON and waits for a line: `ready` before what is measured, the seconds of each time after it. All
processes live at both marks, so that who started the script can look at what they take.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from ..peers import Peer, Serial, started
from ..work import timed

# Does the job with a peer, and returns its results.
Run: TypeAlias = Callable[[Peer], object]


class WrongResultError(Exception):
    """A peer's results are not those of the serial loop."""


def main(prepare: Callable[[Path, bool], Run]) -> None:
    """Run a job: `prepare` makes what it needs in a folder; with True, for a quick look."""
    name, processes, times, *quick = sys.argv[1:]
    with TemporaryDirectory() as folder:
        measured(prepare(Path(folder), bool(quick)), name, int(processes), int(times))


def measured(run: Run, name: str, processes: int, times: int) -> None:
    """Run a job in a loop, then with a peer; each time the results have to be those of the loop."""
    expected = run(Serial())
    with started(name, processes) as peer:

        def once() -> None:
            if run(peer) != expected:
                raise WrongResultError(name)

        first = timed(once)
        said(["ready"])
        said([first, *(timed(once) for _ in range(times))])


def said(values: Sequence[object]) -> None:
    """Print a line, and wait until somebody has read it."""
    print(json.dumps(values), flush=True)
    sys.stdin.readline()
