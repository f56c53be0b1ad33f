"""All rounds: each measurement in a fresh process, the peers in turn, with a time limit."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from . import processes
from .work import Work


@dataclass
class Results:
    """What came of one work.

    Attributes:
        work: the work.
        values: by figure and peer, one value for each round; None where there is none.
        notes: by peer, what went wrong, once for each round that did.
    """

    work: Work
    values: dict[tuple[str, str], list[float | None]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)


def measure(work: Work, peer: str, count: int, quick: bool) -> tuple[dict[str, float], str]:
    """Return one round's figures of one peer, and what went wrong."""
    command = [sys.executable, "-m", "benchmarks.one", work.name, peer, str(count)]
    # Into files: a worker that outlives its parent would keep a pipe open.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([*command, "quick" if quick else ""], stdout=out, stderr=err)
        note = ""
        pids = [process.pid]
        try:
            process.wait(work.limit)
        except subprocess.TimeoutExpired:
            note = f"over {work.limit:g} s"
            pids = processes.tree(process.pid)
            processes.end(pids)
            process.wait()
        out.seek(0)
        err.seek(0)
        last = err.read().strip().rpartition("\n")[2]
        if process.returncode and not note:
            note = last or f"exit code {process.returncode}"
        return dict(json.loads(line) for line in out.read().splitlines()), note


def _too_slow(results: Results, peer: str) -> bool:
    return any(note.startswith("over") for note in results.notes.get(peer, []))


def rounds(
    work: Work, peers: Collection[str], count: int, workers: int, quick: bool
) -> Iterator[Results]:
    """Measure the peers in turn; yield all there is after each round.

    A peer that hung, or took far too long, is not asked again.
    """
    results = Results(work)
    for _ in range(count):
        for peer in work.peers:
            if peer not in peers or _too_slow(results, peer):
                continue
            values, note = measure(work, peer, workers, quick)
            if note:
                results.notes.setdefault(peer, []).append(note)
            for figure in work.figures:
                column = results.values.setdefault((figure.name, peer), [])
                column.append(values.get(figure.name))
        yield results
