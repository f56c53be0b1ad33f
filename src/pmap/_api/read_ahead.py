"""How many items of a stream's input are read at a time: when results are asked for."""

from time import perf_counter
from typing import TYPE_CHECKING

from .._calls.consumer_pace import ConsumerPace
from .._calls.input import SLICE, AsyncInput, Input

if TYPE_CHECKING:
    from .._jobs.stream_job import StreamJob

# Where reading is slow, how much of the time that it takes is first spent on waiting for results.
_WAIT_SHARE = 0.25


class ReadAhead:
    """Keeps as many items read as the workers need, and no more than the consumer will take."""

    def __init__(
        self,
        source: Input | AsyncInput,
        stream_job: "StreamJob",
        buffersize: int | None,
        *,
        runs_in_poll: bool,
    ) -> None:
        """Begin with nothing read.

        Args:
            source: the input.
            stream_job: knows what its items cost, and how many of them are worth reading ahead.
            buffersize: how many items to have read ahead of the consumer; None: as fits its pace.
            runs_in_poll: whether items run in the consumer's thread while that waits for results.
        """
        self._source = source
        self._stream_job = stream_job
        self._buffersize = buffersize
        self._runs_in_poll = runs_in_poll
        self._least = stream_job.ahead  # worth reading whatever is known of items later
        self._consumer = ConsumerPace()
        self._left_at = perf_counter()  # when the consumer went away last
        self._taken = 0  # results that the consumer had taken when it asked last
        self._has_waited = False  # for results, since the last items were read

    def consumer_comes(self, taken: int) -> None:
        """Take in that the consumer asks for a result and has taken so many."""
        before, self._taken = self._taken, taken
        self._consumer.took(taken - before, perf_counter() - self._left_at)

    def consumer_leaves(self) -> None:
        """Take in that the consumer has its result."""
        self._left_at = perf_counter()

    def _wanted(self) -> int:
        """Return how many items to have read ahead of what was taken."""
        if self._buffersize is not None:
            return self._buffersize
        return self._consumer.asks_for(self._stream_job.ahead, self._least)

    def _room(self, ahead: int) -> int:
        return 0 if self._source.ended else max(0, self._wanted() - ahead)

    def next_read(self, ahead: int, under_way: bool) -> tuple[int, float | None]:
        """Return how many items to read now, or 0 and how long to wait for results.

        Args:
            ahead: how many items are read ahead of what was taken.
            under_way: whether any item runs, or waits for a worker.
        """
        room = self._room(ahead)
        if not room:
            return 0, None
        # Reading that takes long would hold up a result that comes meanwhile. So give those under
        # way a moment first, unless an item takes longer than reading the next one.
        pace, cost = self._source.pace.seconds, self._stream_job.cost
        slow = pace is not None and pace > SLICE and (cost is None or cost < pace)
        if slow and under_way and not self._has_waited:
            self._has_waited = True
            if self._runs_in_poll:
                return 0, None  # to wait is to run them, in this very thread
            return 0, _WAIT_SHARE * (pace or 0.0)
        return room, None

    def next_top_up(self, ahead: int) -> int:
        """Return how many items to read although a result is there: 0 if that may take long."""
        pace = self._source.pace.seconds
        if pace is None or pace > SLICE:
            return 0
        room = self._room(ahead)
        return room if room * 4 >= self._wanted() else 0

    def items_were_read(self) -> None:
        """Take in that items were read."""
        self._has_waited = False
