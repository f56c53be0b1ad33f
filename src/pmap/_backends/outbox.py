"""The messages that wait to be sent to one worker process."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Any

from .._transport.framing import send_batch
from .._transport.segments import MOST

if TYPE_CHECKING:
    from .._transport.descriptors import Descriptor
    from .._transport.light_stdlib import socket
    from .._transport.segments import Segment
    from .poller import Poller

# How many bytes are read from a socket at a time, and up to which size small messages are joined.
# So many bytes keep system calls few. For more, malloc would map memory for each buffer, with three
# more system calls for each message.
PIECE = 1 << 16
_TOO_MANY_REFS: int | None = getattr(errno, "ETOOMANYREFS", None)


class Outbox:
    """The messages that were not sent to a worker yet.

    `write` adds a message, and the next `flush` sends it. If the socket takes no more bytes for
    now, `flush` keeps the rest, and does not wait.
    """

    __slots__ = ("_is_blocked", "_later", "_number", "_poller", "_sock", "_to_flush", "_waiting")

    def __init__(
        self, number: int, sock: socket, poller: Poller[Any], to_flush: dict[int, Outbox]
    ) -> None:
        """Begin without messages.

        Args:
            number: the number of the worker.
            sock: the caller's end of the worker's socket.
            poller: watches the socket, and tells when the socket takes more bytes.
            to_flush: the outboxes with unsent messages, by the numbers of their workers; `write`
                adds this outbox to them.
        """
        self._number = number
        self._sock = sock
        # The poller, which tells when the socket takes more bytes; None if it does not watch the
        # socket any more.
        self._poller: Poller[Any] | None = poller
        self._to_flush = to_flush
        # The unsent messages. Each has the descriptors that are sent along with its first bytes.
        self._waiting: deque[tuple[memoryview, list[Segment | Descriptor]]] = deque()
        # Whether nothing can be written for now, because the buffer of the socket is full.
        self._is_blocked = False
        self._later = b""  # bytes that are sent in front of the next message, together with it

    def write(self, data: bytes, segments: list[Segment | Descriptor] | None = None) -> None:
        """Send `data` at the next flush, after all messages that were written before."""
        if self._later:
            data = self._later + data
            self._later = b""
        self._waiting.append((memoryview(data), segments or []))
        self._to_flush[self._number] = self

    def write_later(self, data: bytes) -> None:
        """Keep `data` until the next message is written, and send it just before that message."""
        self._later += data

    def flush(self) -> None:
        """Send as many bytes as the socket takes now; the rest is sent when it takes more."""
        waiting = self._waiting
        if len(waiting) > 1 and _are_small(waiting):
            # All small messages are joined, so that one system call sends them.
            joined = b"".join([data for data, _ in waiting])
            waiting.clear()
            waiting.append((memoryview(joined), []))
        try:
            while waiting:
                data, segments = waiting[0]
                if segments:
                    sent = send_batch(self._sock, data, [segment.fd for segment in segments])
                    segments = segments[MOST:]
                else:
                    sent = self._sock.send(data)
                if sent == len(data):
                    waiting.popleft()
                else:
                    waiting[0] = data[sent:], segments
        except BlockingIOError:
            pass
        except OSError as error:
            # ETOOMANYREFS means that too many descriptors were sent that no worker has received
            # yet. They will be received soon, so sending is tried again. Any other error means that
            # the worker has ended, and the next read of its socket notices that.
            if error.errno != _TOO_MANY_REFS:
                waiting.clear()
        if bool(waiting) != self._is_blocked and self._poller is not None:
            self._is_blocked = bool(waiting)
            self._poller.watch_writing(self._sock, self._is_blocked)

    def hang_up(self) -> None:
        """Do not watch any more whether the socket takes bytes: nothing more is sent."""
        self._poller = None

    def close(self) -> None:
        """Remove this outbox from those with unsent messages: nothing more is sent."""
        self._to_flush.pop(self._number, None)


def _are_small(waiting: deque[tuple[memoryview, list[Segment | Descriptor]]]) -> bool:
    """Return whether all messages together are small, and none carries descriptors."""
    size = 0
    for data, segments in waiting:
        size += len(data)
        if segments or size >= PIECE:
            return False
    return True
