"""The results of calls of one item that a worker process sends, many of which come together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._transport.protocol import RESULTS
from .protocol import CallsArrived

if TYPE_CHECKING:
    from collections import deque

    from .._jobs.work import Work
    from .._transport.framing import Message
    from .._transport.protocol import Results
    from .sent_chunk import SentChunk


class FinishedCalls:
    """Takes the results of whole calls from the messages of one worker.

    Attributes:
        works: the calls whose results were taken and were not handed over yet.
    """

    __slots__ = ("_chunks", "_elapsed", "_number", "_size", "_values", "works")

    def __init__(self, number: int, chunks: deque[SentChunk]) -> None:
        self._number = number
        self._chunks = chunks
        self.works: list[Work] = []
        self._values: list[object] = []
        self._elapsed = 0.0
        self._size = 0

    def take(self, message: Message, size: int) -> bool:
        """Take the result of a whole call out of a worker's message, which has `size` bytes.

        Return False, and take nothing, if the message has something else: no plain result, or more
        than a result.
        """
        if message[0] != RESULTS or len(message) != 7:
            return False
        results: Results = message
        _, serial, entries, last, elapsed, replace, gone, *_ = results
        if not last or replace or gone or isinstance(entries, tuple) or len(entries) != 1:
            return False
        value: object = entries[0]
        if isinstance(value, list) or not self._chunks:
            return False
        sent = self._chunks[0]
        if sent.serial != serial or not sent.is_whole_call:
            return False
        self._chunks.popleft()
        self.works.append(sent.work)
        self._values.append(value)
        self._elapsed += elapsed
        self._size += sent.size + size
        return True

    def taken(self) -> CallsArrived:
        """Return the event that the results taken so far have come, and forget these results."""
        event = CallsArrived(self._number, self.works, self._values, self._elapsed, self._size)
        self.works, self._values, self._elapsed, self._size = [], [], 0.0, 0
        return event
