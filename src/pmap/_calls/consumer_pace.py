"""How far a stream reads ahead of a consumer that takes its results slowly: pure arithmetic.

What a consumer does not take soon is read in vain for now: it lies in memory, and if the consumer
leaves, it was computed for nothing. What counts is the time that the consumer itself spends between
two results, and not how long it waits for one: else slow workers would look like a slow consumer,
get less to do, and be slower still.
"""

# Seconds of the consumer's time that what was read ahead is to last. As long as workers take for
# less than that, they have all that is worth reading: by far more than it takes to send a chunk
# and to get its results (a few milliseconds), or to make good for an item that was slow.
_AHEAD = 0.5
# Weight of what was measured before. Each measurement counts by its items, so a pause behind many
# quick ones says little; and a consumer that gets quick is believed after a few parts.
_BEFORE = 0.5


class ConsumerPace:
    """The running estimate of how long a consumer takes for one result."""

    __slots__ = ("_elapsed", "_items")

    def __init__(self) -> None:
        self._items = 0.0
        self._elapsed = 0.0

    def took(self, items: int, elapsed: float) -> None:
        """Take in that the consumer came back for more `elapsed` seconds after `items` items."""
        if items > 0:
            self._items = _BEFORE * self._items + items
            self._elapsed = _BEFORE * self._elapsed + elapsed

    def asks_for(self, worth: int, least: int) -> int:
        """Return how many items to read ahead of the consumer.

        Args:
            worth: how many it is worth to read for a consumer that takes them at once.
            least: how many keep the workers busy, whatever the consumer does.
        """
        least = min(least, worth)
        if not self._items:
            return least
        # Not the quotient, which may be too large for a float.
        if self._elapsed * worth <= _AHEAD * self._items:
            return worth
        return max(least, int(_AHEAD * self._items / self._elapsed))
