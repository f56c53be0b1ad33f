"""How the threads of a worker send messages over its one socket, each message as a whole."""

from __future__ import annotations

from time import sleep

from .._transport.framing import send_batch
from .._transport.light_stdlib import RLock, deque, socket
from .._transport.segments import MOST

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._transport.descriptors import Descriptor
    from .._transport.segments import Segment

# Seconds to wait before the next try if the system refuses to send descriptors because too many are
# on their way.
_UNTIL_SOME_ARE_TAKEN = 0.02


class Sender:
    """Sends messages to the caller over the worker's socket, one after the other.

    Items may print and log in any thread and in signal handlers, while the worker sends results.
    """

    def __init__(self, sock: socket) -> None:
        self._socket = sock
        # A reentrant lock: a signal handler that prints may run in the thread that holds the lock.
        self._lock = RLock()
        self._sending = False
        # Messages of signal handlers that ran while the same thread was sending another message.
        self._waiting: deque[bytes] = deque()

    def send(self, data: bytes, segments: Sequence[Segment | Descriptor] = ()) -> None:
        """Send a message with its shared-memory segments and descriptors.

        Returns when the socket has taken all of the message. A signal handler may call `send` while
        its thread is in `send`: the handler's message is then sent after the other message.
        """
        with self._lock:
            if self._sending:
                # A signal handler makes this call while its thread is in another call of `send`.
                # That call sends this message, too, when the handler has returned.
                self._waiting.append(data)
                return
            self._sending = True
            try:
                if segments:
                    self._send_with(data, segments)
                else:
                    self._socket.sendall(data)
            finally:
                self._sending = False
            # `_sending` is False before this loop begins. So a signal handler that runs from now on
            # sends its message itself, and none is left behind.
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
