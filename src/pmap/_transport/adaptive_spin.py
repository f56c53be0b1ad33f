"""Adaptive spinning: a waiting thread stays awake for a moment before it falls asleep.

Falling asleep and being woken costs caller and worker some ten microseconds each. A process that
sleeps also loses what it had in the processor's caches. For a small call these costs are most of
the call's time. So a waiting thread looks for the awaited event again and again, for about as long
as a sleep costs, and only then falls asleep. Whenever the event comes, the wait takes at most twice
as long as with the better of the two choices, to sleep or to stay awake (Karlin, Li, Manasse,
Owicki: Empirical Studies of Competitive Spinning for a Shared-Memory Multiprocessor, SOSP 1991;
locks wait like this). After a wait awake in which no event came, the thread sleeps at once for the
next few waits, so waits that are always long cost next to nothing.
"""

from __future__ import annotations

import os
from time import perf_counter, sleep

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    Found = TypeVar("Found")

# Seconds for which a waiting thread stays awake. A blocking call takes 50 us less for each process
# (caller, worker) that stays awake. A call that a task of an event loop awaits goes through two
# threads of the caller, and takes 130 us less in all.
_AWAKE: Final = 0.00015
# How often a waiting thread looks for the event in one wait, at most. The time limit of a wait
# allows fewer looks than this; this second limit ends the wait if the clock stands still.
_MOST_LOOKS: Final = 200
# Seconds that one look for the event may take, including the time of other processes that run
# before the look. If a look takes longer, other processes need this processor. To let them run
# before each look takes longer than to sleep and be woken. The look itself takes 3 us.
_CROWDED: Final = 0.00003
# If a thread has stayed awake in vain, it sleeps at once in at most this many of its next waits. So
# staying awake in vain costs 0.15 us per wait on average, or 10 us if the thread loses a time slice
# of 10 ms to another process each time.
_MOST_ASLEEP: Final = 1023


def _no_yield() -> None:
    sleep(0)


# The function that a waiting thread calls before each look for the event: the function lets other
# processes that want this processor run first.
_step_aside: Callable[[], None] = getattr(os, "sched_yield", _no_yield)


class AdaptiveSpin:
    """Decides for each wait of a thread whether the thread stays awake at first or sleeps."""

    __slots__ = ("_asleep", "_in_vain")

    def __init__(self) -> None:
        # How many waits are to begin with sleep after a wait in which the thread stayed awake in
        # vain. 0: the event came while the thread was awake. The number about doubles each time
        # that the thread stays awake in vain.
        self._in_vain = 0
        # How many of the next waits are to begin with sleep.
        self._asleep = 0

    def awake(self, may: Callable[[], bool], look: Callable[[], Found]) -> Found | None:
        """Call `look` again and again for a moment; return what it finds, or else a false value.

        Args:
            may: returns whether the thread may use a processor while it waits.
            look: returns what has arrived; a false value if nothing has arrived.
        """
        if self._asleep:
            self._asleep -= 1
            return None
        if not may():
            return None
        found = look()
        if found:
            # The event was there before the wait began, so this wait does not show how long waits
            # take.
            return found
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
