"""What items do where nothing goes wrong; workers import this, so it imports little."""

import os
import sys

from tests.files import mark, marks, wait_for_file
from tests.limits import until


def square(x: int) -> int:
    """Return x * x."""
    return x * x


def modules_of_pmap(_: object = None) -> list[str]:
    """Return the modules of pmap that are loaded in this process."""
    return [name for name in sys.modules if name.partition(".")[0] == "pmap"]


def work_pid(_: object = None) -> int:
    """Return the id of the process this runs in."""
    return os.getpid()


def all_workers_at_once(folder: str, workers: int) -> int:
    """Return this process's id when as many workers are in here as there should be."""
    mark(folder, os.getpid())
    until(lambda: len(set(marks(folder))) >= workers, "all workers coming")
    return os.getpid()


def wait_and_square(folder: str, go: str, x: int) -> int:
    """Square, once the file `go` is there."""
    mark(folder, f"w{x}")
    wait_for_file(go)
    return x * x
