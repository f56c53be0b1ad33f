"""Read-ahead: how many items a stream reads when its consumer asks for a result."""

from time import perf_counter
from typing import TYPE_CHECKING

from .._calls.consumer_pace import ConsumerPace
from .._calls.input import SLICE, AsyncInput, Input

if TYPE_CHECKING:
    from .._jobs.stream_job import StreamJob

# If it takes long to read an item, the stream first waits for results, for this fraction of the
# time that reading takes.
_WAIT_SHARE = 0.25


class ReadAhead:
    """Decides how many items to read: as many as the workers need and the consumer will use."""

    def __init__(
        self,
        source: Input | AsyncInput,
        stream_job: "StreamJob",
        buffersize: int | None,
        *,
        runs_in_poll: bool,
    ) -> None:
        """Begin before any item is read.

        Args:
            source: the input of the stream.
            stream_job: the call in progress, which knows the measured time of an item, and how many
                items are worth reading ahead.
            buffersize: how many items to read ahead of the consumer; None: the number depends on
                the pace of the consumer.
            runs_in_poll: whether items run in the consumer's own thread while it waits for results,
                as with the serial backend.
        """
        self._source = source
        self._stream_job = stream_job
        self._buffersize = buffersize
        self._runs_in_poll = runs_in_poll
        # How many items to read ahead at least; it is also the number until the time of an item is
        # measured.
        self._least = stream_job.ahead
        self._consumer = ConsumerPace()
        # The time at which the consumer last got a result, and went on with its own work.
        self._left_at = perf_counter()
        self._taken = 0  # how many results the consumer had taken when it last asked for one
        # Whether the stream has waited for results since it last read input.
        self._has_waited = False

    def consumer_comes(self, taken: int) -> None:
        """Record that the consumer asks for a result, and has taken `taken` results before."""
        before, self._taken = self._taken, taken
        self._consumer.took(taken - before, perf_counter() - self._left_at)

    def consumer_leaves(self) -> None:
        """Record that the consumer has got the result that it asked for."""
        self._left_at = perf_counter()

    def _wanted(self) -> int:
        """Return how many items should be read beyond those whose results were taken."""
        if self._buffersize is not None:
            return self._buffersize
        return self._consumer.asks_for(self._stream_job.ahead, self._least)

    def _room(self, ahead: int) -> int:
        return 0 if self._source.ended else max(0, self._wanted() - ahead)

    def next_read(self, ahead: int, under_way: bool) -> tuple[int, float | None]:
        """Return how many items to read now; if 0, also how many seconds to wait for results.

        Args:
            ahead: how many items were read for which the consumer has not taken the result yet.
            under_way: whether any item runs, or waits for a worker.

        Returns:
            The number of items, and the seconds; None: wait without limit.
        """
        room = self._room(ahead)
        if not room:
            return 0, None
        # If reading is slow, results that come meanwhile have to wait. So the stream first waits a
        # moment for them, unless running an item takes longer than reading one.
        pace, cost = self._source.pace.seconds, self._stream_job.cost
        slow = pace is not None and pace > SLICE and (cost is None or cost < pace)
        if slow and under_way and not self._has_waited:
            self._has_waited = True
            if self._runs_in_poll:
                return 0, None  # the serial backend runs items in this thread while it waits
            return 0, _WAIT_SHARE * (pace or 0.0)
        return room, None

    def next_top_up(self, ahead: int) -> int:
        """Return how many items to read although a result is ready; 0 if reading may be slow."""
        pace = self._source.pace.seconds
        if pace is None or pace > SLICE or self._stream_job.over:
            return 0
        room = self._room(ahead)
        return room if room * 4 >= self._wanted() else 0

    def items_were_read(self) -> None:
        """Record that items of the input have been read."""
        self._has_waited = False
