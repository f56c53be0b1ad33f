"""A chunk that a worker process holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._jobs.work import Work


class SentChunk:
    """A chunk of items that a worker holds.

    Attributes:
        serial: the number of the chunk; all chunks that the worker was sent are counted.
        work: the call of the chunk.
        start: the index of the first item in the call.
        items: how many items of the chunk the worker has to run.
        received: how many results of the chunk have come.
        size: bytes of the chunk's arguments, and of the results that have come.
    """

    __slots__ = ("items", "received", "serial", "size", "start", "work")

    def __init__(self, serial: int, work: Work, start: int, items: int, size: int) -> None:
        self.serial = serial
        self.work = work
        self.start = start
        self.items = items
        self.received = 0
        self.size = size

    @property
    def is_whole_call(self) -> bool:
        """Whether the chunk is the one item of a call that is no stream and has no checkpoint."""
        call = self.work.call
        # `items` is a tuple, except in the call of a stream.
        return len(call.items) == 1 and call.keeper is None and type(call.items) is tuple

    def keep(self, items: int) -> None:
        """Record that the worker runs only the first `items` items of the chunk."""
        # A chunk without items stays as it is, because its bytes must not be divided by 0.
        if items < self.items:
            self.size = self.size * items // self.items
            self.items = items
