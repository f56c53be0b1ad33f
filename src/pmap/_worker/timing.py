"""Noting in a worker when the items of a call begin and end.

A worker imports this module only for calls that are traced.
"""

from __future__ import annotations

from time import perf_counter

from .._transport.times import pack_times

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from .coroutines import AtOnce


class Timing:
    """When items of one call began and ended: the times that were not sent yet."""

    def __init__(self) -> None:
        self._began = 0.0
        self._times: list[float] = []
        # When the coroutines of a chunk began and ended, by their indices in the chunk.
        self._coroutines: dict[object, tuple[float, float]] = {}

    def begin(self) -> None:
        """Note that a chunk begins."""
        self._began = perf_counter()
        self._times.clear()
        self._coroutines.clear()

    def taken(self) -> bytes:
        """Return the times as bytes, for the results that are sent now; forget these times."""
        end = perf_counter()
        word = pack_times([self._began, end, *self._times])
        self._began = end
        self._times.clear()
        return word

    def function(self, call: Callable[[object], object]) -> Callable[[object], object]:
        """Return a function that calls `call`, and notes when the call begins and when it ends."""
        note = self._times.append

        def run(item: object) -> object:
            note(perf_counter())
            try:
                return call(item)
            finally:
                note(perf_counter())

        return run

    def coroutines(self, many: AtOnce) -> None:
        """Let each coroutine of a chunk note when the coroutine begins and when it ends."""
        many.starts = [self._timed(*pair) for pair in enumerate(many.starts)]

    def _timed(
        self, number: int, start: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Callable[[], Coroutine[Any, Any, Any]]:
        async def run() -> object:
            began = perf_counter()
            try:
                return await start()
            finally:
                self._coroutines[number] = began, perf_counter()

        return run

    def mark(self) -> int:
        """Return how many times (begins and ends of items) were noted so far, for `complete`."""
        return len(self._times)

    def complete(self, before: int, index: object) -> None:
        """Make sure that two times, begin and end, are noted for an item that has ended.

        If the argument of an item cannot be loaded, the function is not called for the item, and
        this method notes both times. The times of a coroutine are noted by `coroutines`; this
        method copies them.

        Args:
            before: what `mark` returned before the item ran.
            index: the item's index in its chunk, if the item is a coroutine.
        """
        now = perf_counter()
        times = self._times
        if self._coroutines:
            del times[before:]
            times += self._coroutines.get(index, (now, now))
        elif len(times) == before:
            times += now, now
