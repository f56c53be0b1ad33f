"""How long tests wait: every limit comes from here. Workers import this, so it imports little.

A limit says that something never happens; it orders nothing. So each is far longer than what it
waits for takes, also where other programs have the processors. ``PMAP_TEST_SLOWNESS=3`` makes all
of them three times as long, on a machine or under a tool that is slower still.
"""

import os
import time
from collections.abc import Callable
from typing import Final

SLOWNESS: Final = float(os.environ.get("PMAP_TEST_SLOWNESS", "1"))


def seconds(number: float) -> float:
    """Return how many seconds to wait where a usual machine needs at most `number`."""
    return number * SLOWNESS


TIME_LIMIT: Final = seconds(60)  # after which something that should happen at once has not
# For a test's set-up, for its call and for its tear-down: several times what is waited for in it.
HARD_LIMIT: Final = seconds(240)


def until(condition: Callable[[], object], what: str = "it", limit: float = TIME_LIMIT) -> None:
    """Return when `condition` holds; fail if it does not in time."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {limit} s")
        time.sleep(0.002)
