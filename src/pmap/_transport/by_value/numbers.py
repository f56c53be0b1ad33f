"""Numbers for what is sent to workers (namespaces, versions, units); no two processes share one.

A worker whose items use a pool has received numbered values from its caller, and sends other
numbered values to its own workers. So a worker must not use a number that the worker's caller has
used or will use. A generation is the depth of nested pools: 1 for the workers of the program's
pools.
"""

from __future__ import annotations

from itertools import count

from .. import process_role

OLDEST = float("-inf")  # lower than all numbers that `Numbers` gives
# How many numbers are reserved for the workers of one depth of nesting.
_FOR_EACH = 1 << 40


class Numbers:
    """Rising numbers, different from those of this process's caller and of the caller's caller."""

    def __init__(self, step: int = _FOR_EACH) -> None:
        """Begin with 1 in the program's process.

        Workers begin at higher numbers: `step` higher for each level of nested pools.
        """
        self._step = step
        self._generation = 0
        self._count = count(1)

    def __next__(self) -> int:
        """Return the next number."""
        generation = process_role.generation
        if generation != self._generation:
            # This process has just become a worker, so it has no other thread that could take a
            # number at the same time.
            self._count = count(1 + generation * self._step)
            self._generation = generation
        return next(self._count)


class FallingNumbers(Numbers):
    """Rising numbers; all numbers of a worker are lower than those of its caller.

    So a value from the caller counts as newer than any value from the worker.
    """

    def __init__(self) -> None:
        super().__init__(-_FOR_EACH)
