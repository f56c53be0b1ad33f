"""How far a stream reads ahead of a consumer that takes its results slowly: arithmetic.

Results that the consumer does not take soon only use memory; and if the consumer leaves the stream,
they were computed for nothing. The pace is measured by the time that the consumer itself spends
between two results. The time that the consumer waits for a result does not count. Otherwise slow
workers would make the consumer look slow, would therefore get less work, and the stream would be
slower still.
"""

# A stream computes as many results ahead as its consumer uses in this many seconds. This is far
# longer than it takes to send a chunk and get its results (a few milliseconds), or to catch up
# after a slow item. So even a slow consumer need not wait.
_AHEAD = 0.5
# At each new measurement, the earlier ones keep this weight in the estimate. A measurement of many
# items counts for more than one of few items. So one pause after many quick items changes the
# estimate little, and when the consumer becomes quicker, the estimate follows soon.
_BEFORE = 0.5


class ConsumerPace:
    """The running estimate of how many seconds a consumer spends on one result."""

    __slots__ = ("_elapsed", "_items")

    def __init__(self) -> None:
        self._items = 0.0
        self._elapsed = 0.0

    def took(self, items: int, elapsed: float) -> None:
        """Record that the consumer took `items` results and spent `elapsed` seconds on them."""
        if items > 0:
            self._items = _BEFORE * self._items + items
            self._elapsed = _BEFORE * self._elapsed + elapsed

    def asks_for(self, worth: int, least: int) -> int:
        """Return how many items to read ahead of the consumer.

        Args:
            worth: how many items to read ahead for a consumer that takes each result at once.
            least: how many items to read ahead at least, to keep the workers busy.
        """
        least = min(least, worth)
        if not self._items:
            return least
        # Two products are compared instead of a quotient, which may be too large for a float.
        if self._elapsed * worth <= _AHEAD * self._items:
            return worth
        return max(least, int(_AHEAD * self._items / self._elapsed))
