"""How long tests wait, all from one variable; workers import this, so it imports little."""

import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 30.0  # seconds after which something that should happen at once has not


def until(condition: Callable[[], object], what: str = "it", limit: float = PATIENCE) -> None:
    """Return when `condition` holds; fail if it does not in time."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {limit} s")
        time.sleep(0.002)
