"""Numbers of namespaces, versions, units and states; each generation of workers has its own.

A worker whose items use a pool has received numbered values from its caller, and sends other
numbered values to its own workers. So a worker must not use a number that its caller has used or
will use.
"""

from __future__ import annotations

from itertools import count

from .. import process_role

OLDEST = float("-inf")  # lower than any number that `Numbers` gives
# How many numbers a generation of workers has, more than the generation will use.
_FOR_EACH = 1 << 40


class Numbers:
    """Rising numbers; no process that is above this process uses the same numbers."""

    def __init__(self, step: int = _FOR_EACH) -> None:
        """Begin with 1 in the program's process.

        Each generation of workers begins `step` further on.
        """
        self._step = step
        self._generation = 0
        self._count = count(1)

    def __next__(self) -> int:
        """Return the next number."""
        generation = process_role.generation
        if generation != self._generation:
            # This process has become a worker. The worker has just begun, so it has no other thread
            # that could take a number.
            self._count = count(1 + generation * self._step)
            self._generation = generation
        return next(self._count)


class FallingNumbers(Numbers):
    """Rising numbers, with those of a worker all below the numbers of its caller.

    So a value from the caller counts as newer than any value from the worker.
    """

    def __init__(self) -> None:
        super().__init__(-_FOR_EACH)
