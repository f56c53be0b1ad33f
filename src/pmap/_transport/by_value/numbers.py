"""Numbers by which processes tell each other of things: each generation of workers has its own.

A worker whose items use a pool has things that its caller has told it, and tells its own workers of
others; so it may neither use a number of its caller's, nor one that its caller will use.
"""

from __future__ import annotations

from itertools import count

from .. import process_role

OLDEST = float("-inf")  # before any number
_FOR_EACH = 1 << 40  # numbers that a generation has, which is more than it will use


class Numbers:
    """Numbers that grow, and that no process uses which this one descends from."""

    def __init__(self, step: int = _FOR_EACH) -> None:
        """Begin with 1 where there is no worker; `step`: how far the next generation begins off."""
        self._step = step
        self._generation = 0
        self._count = count(1)

    def __next__(self) -> int:
        """Return the next number."""
        generation = process_role.generation
        if generation != self._generation:
            # This process has become a worker since. No other thread is here: it has just begun.
            self._count = count(1 + generation * self._step)
            self._generation = generation
        return next(self._count)


class FallingNumbers(Numbers):
    """The same, but all of a worker are below those of its caller, whose word is the newer one."""

    def __init__(self) -> None:
        super().__init__(-_FOR_EACH)
