"""What a warm pool takes while there is nothing to do."""

import os
import time
from collections.abc import Iterator
from typing import Final

from .. import processes
from ..peers import started
from ..work import Figure, Setting, Target, Work

SETTLE: Final = 1.0  # seconds until all is quiet
SECONDS: Final = 3.0


def measure_idle(setting: Setting) -> Iterator[tuple[str, float]]:
    """Leave a warm pool alone."""
    with started(setting.peer, setting.processes):
        time.sleep(SETTLE)
        pid = os.getpid()
        everybody = processes.tree(pid)
        # Not our own thread: it looks at the others.
        before = processes.cpu(everybody, but=pid)
        time.sleep(SECONDS)
        yield "CPU time in 3 s", (processes.cpu(everybody, but=pid) - before) * 1e3
        yield "threads in the caller", processes.threads(pid)
        yield "memory of all (PSS)", processes.memory(everybody)


WORKS: Final = (
    Work(
        "idle",
        "A warm pool at rest",
        (
            Figure("CPU time in 3 s", "ms", (Target(0, None),)),
            Figure("threads in the caller", "", (Target(2, None),)),
            Figure("memory of all (PSS)", "MB", (Target(1.0),)),
        ),
        measure_idle,
    ),
)
