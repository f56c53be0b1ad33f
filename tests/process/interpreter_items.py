"""What items do in interpreters; workers import this, so it imports nothing that refuses them."""

import os
import random
import subprocess

from tests.files import mark, wait_for_file

runs: list[int] = []


def draw(_: object) -> tuple[float, float]:
    """Return random numbers."""
    return random.random(), random.random()


def place(x: int) -> tuple[int, int]:
    """Return the process, and how many items this interpreter has run."""
    runs.append(x)
    return os.getpid(), len(runs)


def change_variables(name: str) -> tuple[str | None, str, int]:
    """Set a variable; return it from before and now, and 0 if the process does not have it."""
    before = os.environ.get(name)
    os.environ[name] = "of an item"
    seen = subprocess.run(["sh", "-c", f'test -z "${name}"'], check=False)
    return before, os.environ[name], seen.returncode


def wait_to_go(folder: str, x: int) -> int:
    """Note that an item begins; the first one waits for the file `go`."""
    mark(folder, x)
    if x == 0:
        wait_for_file(os.path.join(folder, "go"))
    return x


def import_numpy(_: object) -> str:
    """Import what refuses interpreters."""
    import numpy as np

    return np.__name__
