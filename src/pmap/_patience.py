"""Waiting awake for a moment, where what is waited for may come in a moment.

To fall asleep and be woken costs some ten microseconds on either side, and what a process had in
its caches is gone afterwards: for a small call that is most of its time. So who waits looks again
and again for about as long as a sleep costs, and falls asleep then. Whenever it comes, that takes
no more than twice of what the better of the two would have taken (Karlin, Li, Manasse, Owicki:
Empirical Studies of Competitive Spinning for a Shared-Memory Multiprocessor, SOSP 1991; locks wait
like this). And who has looked in vain does not try again soon, so that waits that are always long
cost next to nothing.
"""

from __future__ import annotations

import os
from time import perf_counter, sleep

TYPE_CHECKING = False  # see `_bare`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    Found = TypeVar("Found")

__all__ = ["Patience"]

# Seconds. A blocking call takes 50 us less for each of the two, caller and worker, that stays
# awake; an awaited one, which goes through two threads of the caller, 130 us in all.
_AWAKE: Final = 0.00015
# Waits that are asleep from the beginning, at most, after one that was awake in vain. If all are in
# vain, that is 2.3 us each.
_MOST_ASLEEP: Final = 63


def _no_yield() -> None:
    sleep(0)


# For each look: whoever else wants this processor has it first.
_step_aside: Callable[[], None] = getattr(os, "sched_yield", _no_yield)


class Patience:
    """Of one who waits again and again: whether it stays awake at first."""

    __slots__ = ("_asleep", "_in_vain")

    def __init__(self) -> None:
        self._in_vain = 0  # how many waits were asleep after the last one that was awake in vain
        self._asleep = 0  # how many of these are left

    def awake(self, look: Callable[[], Found]) -> Found | None:
        """Return what `look` finds within a moment; something false if there was nothing."""
        if self._asleep:
            self._asleep -= 1
            return None
        found = look()
        if found:
            return found  # nobody had to wait, which says nothing of waits
        until = perf_counter() + _AWAKE
        while perf_counter() < until:
            _step_aside()
            found = look()
            if found:
                self._in_vain = 0
                return found
        self._asleep = self._in_vain = min(2 * self._in_vain + 1, _MOST_ASLEEP)
        return None
