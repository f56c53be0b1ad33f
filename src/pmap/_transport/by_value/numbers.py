"""Numbers by which processes refer to things; each generation of workers has a range of its own.

A worker whose items use a pool has received things from its caller, and sends other things to its
own workers. So it must not use a number that its caller has used or will use.
"""

from __future__ import annotations

from itertools import count

from .. import process_role

OLDEST = float("-inf")  # lower than any number
_FOR_EACH = 1 << 40  # how many numbers a generation has, more than it will use


class Numbers:
    """Rising numbers; no process above this one uses the same."""

    def __init__(self, step: int = _FOR_EACH) -> None:
        """Begin with 1 in the program's process; each generation begins `step` further on."""
        self._step = step
        self._generation = 0
        self._count = count(1)

    def __next__(self) -> int:
        """Return the next number."""
        generation = process_role.generation
        if generation != self._generation:
            # This process has become a worker. It has just begun, so it has no other thread.
            self._count = count(1 + generation * self._step)
            self._generation = generation
        return next(self._count)


class FallingNumbers(Numbers):
    """Rising numbers; those of a worker are all below its caller's, whose values count as newer."""

    def __init__(self) -> None:
        super().__init__(-_FOR_EACH)
