"""Whole messages over a worker's one socket, from any of its threads."""

from __future__ import annotations

from time import sleep

from .._transport.framing import send_batch
from .._transport.light_stdlib import RLock, deque, socket
from .._transport.segments import MOST

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._transport.descriptors import Descriptor
    from .._transport.segments import Segment

_UNTIL_SOME_ARE_TAKEN = 0.02  # seconds, where too many descriptors are under way


class Sender:
    """Sends one message after the other, each as a whole.

    Items print and log, in any thread and in signal handlers, while the worker sends results.
    """

    def __init__(self, sock: socket) -> None:
        self._socket = sock
        # Reentrant: a signal handler that prints may run in the thread that holds it.
        self._lock = RLock()
        self._sending = False
        self._waiting: deque[bytes] = deque()  # messages of such handlers, in the midst of another

    def send(self, data: bytes, segments: Sequence[Segment | Descriptor] = ()) -> None:
        """Send a message with its segments; returns when all of it is on its way."""
        with self._lock:
            if self._sending:
                self._waiting.append(data)  # sent by the call further up this stack
                return
            self._sending = True
            try:
                if segments:
                    self._send_with(data, segments)
                else:
                    self._socket.sendall(data)
            finally:
                self._sending = False
            # Only now: a handler that runs from here on sends what it has itself.
            while self._waiting:
                self.send(self._waiting.popleft())

    def _send_with(self, data: bytes, segments: Sequence[Segment | Descriptor]) -> None:
        rest = memoryview(data)
        while segments:
            try:
                sent = send_batch(self._socket, rest, [segment.fd for segment in segments])
            except OSError as error:
                import errno

                if error.errno != errno.ETOOMANYREFS:
                    raise
                sleep(_UNTIL_SOME_ARE_TAKEN)
            else:
                rest = rest[sent:]
                segments = segments[MOST:]
        self._socket.sendall(rest)
