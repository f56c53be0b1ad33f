"""Numbers for what is sent to workers (modules, values and so on); no two processes share one.

If an item uses a pool, its worker has numbered values from its own caller, and sends other numbered
values to the workers of its pool. So it must use no number that its caller has used or will use. A
generation is the depth of nested pools: 1 for the workers of the program's pools.
"""

from __future__ import annotations

from itertools import count

from .. import process_role

OLDEST = float("-inf")  # lower than each of the `Numbers`: what has it counts as oldest
# How many numbers are reserved for the workers of one depth of nesting.
_FOR_EACH = 1 << 40


class Numbers:
    """Rising numbers, different from those of the processes above this one.

    A worker whose items use a pool is itself a caller. It must not give a number that its own
    caller gives, or the caller of that caller.
    """

    def __init__(self, step: int = _FOR_EACH) -> None:
        """Begin with the number 1 in the program's process.

        Workers begin at higher numbers: `step` higher for each level of nested pools.
        """
        self._step = step
        self._generation = 0
        self._count = count(1)

    def __next__(self) -> int:
        generation = process_role.generation
        if generation != self._generation:
            # This process has just become a worker, so no other thread takes a number at the same
            # time.
            self._count = count(1 + generation * self._step)
            self._generation = generation
        return next(self._count)


class FallingNumbers(Numbers):
    """Rising numbers; those of a worker are all lower than those of its caller.

    So what comes from the caller counts as newer than what comes from the worker.
    """

    def __init__(self) -> None:
        super().__init__(-_FOR_EACH)
