"""What waits to be sent to one worker."""

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

# Bytes read or written at a time: enough to keep the system calls few. It is below the size from
# which malloc maps memory anew for each buffer, which costs three more system calls a message.
PIECE = 1 << 16
_TOO_MANY_REFS: int | None = getattr(errno, "ETOOMANYREFS", None)


class Outbox:
    """Messages that a worker has not taken yet.

    A message is written here and sent by the next `flush`; a worker that takes no more for now
    blocks nobody.
    """

    __slots__ = ("_is_blocked", "_later", "_number", "_poller", "_sock", "_to_flush", "_waiting")

    def __init__(
        self, number: int, sock: socket, poller: Poller[Any], to_flush: dict[int, Outbox]
    ) -> None:
        """Make an empty one.

        Args:
            number: the worker's.
            sock: the socket to send to.
            poller: watches the socket, and is asked to tell when more can be written.
            to_flush: where this outbox enters itself, by `number`, while it has messages.
        """
        self._number = number
        self._sock = sock
        self._poller: Poller[Any] | None = poller  # None: the socket is not watched any more
        self._to_flush = to_flush
        # Messages, each with the descriptors that go along with its first bytes.
        self._waiting: deque[tuple[memoryview, list[Segment | Descriptor]]] = deque()
        self._is_blocked = False  # the worker takes no more for now
        self._later = b""  # goes along with the next message

    def write(self, data: bytes, segments: list[Segment | Descriptor] | None = None) -> None:
        """Send `data` with the next flush, behind what was written before."""
        if self._later:
            data = self._later + data
            self._later = b""
        self._waiting.append((memoryview(data), segments or []))
        self._to_flush[self._number] = self

    def write_later(self, data: bytes) -> None:
        """Send `data` along with what is written next."""
        self._later += data

    def flush(self) -> None:
        """Send as much as the worker takes now; the rest is sent when it takes more."""
        waiting = self._waiting
        if len(waiting) > 1 and _are_small(waiting):
            joined = b"".join([data for data, _ in waiting])  # one system call for all
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
            # ETOOMANYREFS: too many descriptors are under way; the workers take them soon. After
            # any other error the worker is gone: the next read of its socket tells.
            if error.errno != _TOO_MANY_REFS:
                waiting.clear()
        if bool(waiting) != self._is_blocked and self._poller is not None:
            self._is_blocked = bool(waiting)
            self._poller.watch_writing(self._sock, self._is_blocked)

    def hang_up(self) -> None:
        """Do not watch the socket any more: the worker takes nothing more."""
        self._poller = None

    def close(self) -> None:
        """Drop all messages."""
        self._to_flush.pop(self._number, None)


def _are_small(waiting: deque[tuple[memoryview, list[Segment | Descriptor]]]) -> bool:
    """Return whether all messages together are small, and none has segments."""
    size = 0
    for data, segments in waiting:
        size += len(data)
        if segments or size >= PIECE:
            return False
    return True
