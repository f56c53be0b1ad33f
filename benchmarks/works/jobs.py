"""What users do: the time of whole jobs, and what all processes take for it."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from statistics import median
from typing import Final

from .. import processes
from ..work import Figure, Setting, Target, Work

PEERS: Final = ("pmap", "serial", "Pool", "PPE", "joblib", "mpire")
TIMES: Final = 5
EACH: Final = 0.05  # seconds between two looks at the memory
JOBS: Final = {
    "thumbnails": "thumbnails of 120 images, Pillow",
    "groups": "200 groups of a DataFrame, pandas",
    "grid": "a grid search, scikit-learn",
    "search": "a search in 2e5 lines, as a stream",
    "table": "a dict of 4e5 ints as a global",
    "model": "a closure over a model of 200 MB",
    "files": "10,000 files of 4 KB",
}
# The job of each figure is in its name, so that each is known in a picture by itself.
FIRST: Final = "the first time"
AGAIN: Final = "again"
CPU: Final = "CPU of all processes"
MEMORY: Final = "most memory of all processes"


class Looker(threading.Thread):
    """Looks at the memory of a process and its descendants until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.most: float = 0.0
        self._pid: int = pid
        self._over: threading.Event = threading.Event()

    def run(self) -> None:
        """Look again and again, and once more at the end: a job may be shorter than a pause."""
        while not self._over.wait(EACH):
            self._look()
        self._look()

    def _look(self) -> None:
        self.most = max(self.most, processes.memory_of_all(processes.tree(self._pid)))

    def stop(self) -> float:
        """Return the most there was, in MB."""
        self._over.set()
        self.join()
        return self.most


def measure(name: str, setting: Setting) -> Iterator[tuple[str, float]]:
    """Run one job with one peer, as a script of its own."""
    times = 2 if setting.quick else TIMES
    command = [sys.executable, "-m", f"benchmarks.jobs.{name}", setting.peer]
    command += [str(setting.processes), str(times), *["quick"] * setting.quick]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdin is not None
        assert job.stdout is not None
        if job.stdout.readline():
            before = processes.cpu(processes.tree(job.pid))
            looker = Looker(job.pid)
            looker.start()
            print(file=job.stdin, flush=True)
            line = job.stdout.readline()
            memory = looker.stop()
            if line:
                first, *again = json.loads(line)
                yield f"{name}, {FIRST}", first * 1e3
                yield f"{name}, {AGAIN}", median(again) * 1e3
                used = processes.cpu(processes.tree(job.pid)) - before
                yield f"{name}, {CPU}", used / times * 1e3
                yield f"{name}, {MEMORY}", memory
            print(file=job.stdin, flush=True)
    if job.returncode:
        raise subprocess.CalledProcessError(job.returncode, command)


def work(name: str, what: str) -> Work:
    """Return the table of one job."""

    def measured(setting: Setting) -> Iterator[tuple[str, float]]:
        yield from measure(name, setting)

    targets = tuple(Target(1.03, peer) for peer in PEERS[1:])
    return Work(
        f"jobs.{name}",
        f"A job: {what}",
        (
            Figure(f"{name}, {FIRST}", "ms"),
            Figure(f"{name}, {AGAIN}", "ms", targets),
            Figure(f"{name}, {CPU}", "ms"),
            Figure(f"{name}, {MEMORY}", "MB"),
        ),
        measured,
        PEERS,
        limit=120,
    )


WORKS: Final = tuple(work(name, what) for name, what in JOBS.items())
