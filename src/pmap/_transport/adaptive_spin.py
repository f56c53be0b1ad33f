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

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    Found = TypeVar("Found")

# Seconds. A blocking call takes 50 us less for each of the two, caller and worker, that stays
# awake; an awaited one, which goes through two threads of the caller, 130 us in all.
_AWAKE: Final = 0.00015
# Looks: more are not made in that time, and one day some clock may stand still.
_MOST_LOOKS: Final = 200
# Seconds for a look, at most, and what others do before it: else somebody else needs the processor,
# and to step aside for that one takes longer than to be woken. A look takes 3 us.
_CROWDED: Final = 0.00003
# Waits that are asleep from the beginning, at most, after one that was awake in vain. If all are in
# vain, that is 0.15 us each, and 10 where each costs a turn of 10 ms of somebody else; and a
# thousand that could be short are over in 0.15 s.
_MOST_ASLEEP: Final = 1023


def _no_yield() -> None:
    sleep(0)


# For each look: whoever else wants this processor has it first.
_step_aside: Callable[[], None] = getattr(os, "sched_yield", _no_yield)


class AdaptiveSpin:
    """Of one who waits again and again: whether it stays awake at first."""

    __slots__ = ("_asleep", "_in_vain")

    def __init__(self) -> None:
        self._in_vain = 0  # how many waits were asleep after the last one that was awake in vain
        self._asleep = 0  # how many of these are left

    def awake(self, may: Callable[[], bool], look: Callable[[], Found]) -> Found | None:
        """Return what is found within a moment; something false if that is nothing.

        Args:
            may: whether a processor can be spared.
            look: returns what is there, or something false.
        """
        if self._asleep:
            self._asleep -= 1
            return None
        if not may():
            return None
        found = look()
        if found:
            return found  # nobody had to wait, which says nothing of waits
        begin = before = perf_counter()
        for _ in range(_MOST_LOOKS):
            _step_aside()
            found = look()
            now = perf_counter()
            if now - before >= _CROWDED:
                break
            if found:
                self._in_vain = 0
                return found
            if now - begin >= _AWAKE:
                break
            before = now
        self._asleep = self._in_vain = min(2 * self._in_vain + 1, _MOST_ASLEEP)
        return found
