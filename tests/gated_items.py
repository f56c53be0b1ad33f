"""Calls that wait to be let go; workers import this, so it imports little."""

import os

from tests.files import mark, wait_for_file


def gated(folder: str, name: str, fate: str) -> str:
    """Note that it has begun; when the file of its name is there, end as it is told to."""
    mark(folder, f"{name}:{os.getpid()}")
    wait_for_file(os.path.join(folder, name))
    if fate == "raises":
        raise ValueError(name)
    if fate == "dies":
        os._exit(3)
    return name


def reciprocal(x: int) -> float:
    """Return what a call of a map returns, or raise."""
    return 1 / x
