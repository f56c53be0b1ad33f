"""``sys.stdout`` and ``sys.stderr`` of a worker: what items print goes to the caller's own streams.

What an item prints travels over the worker's socket, before the result of the item. So the text
comes out where the caller's ``sys.stdout`` leads: to a file, a notebook's cell or an object of the
caller's own. The lines of several workers do not mix. What a finished item printed is not lost when
its worker dies. What is written to descriptor 1 or 2 directly, as by C code, goes to the file of
the descriptor.
"""

from __future__ import annotations

import io
import os
import sys

from .._transport.framing import frame
from .._transport.light_stdlib import RLock, get_ident
from .._transport.protocol import FLUSH, REPORT
from .traces import PRINTED, traces

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from .._transport.protocol import Report, Stream

# When this many printed bytes wait (the size of Python's own buffers), the whole lines in these
# bytes are sent.
_MOST = 1 << 13
_MOST_IN_A_LINE = 1 << 18  # when this many printed bytes wait, even an unfinished line is sent


class _Output(io.BufferedIOBase):
    """The binary file below ``sys.stdout`` or ``sys.stderr`` of a worker.

    What is written to this file goes to the caller.
    """

    def __init__(self, number: int, at_once: bool, terminal: bool, send: Callable[[bytes], None]):
        super().__init__()
        self.name = "<stdout>" if number == 1 else "<stderr>"
        self.mode = "wb"
        self._number = number
        self.at_once = at_once
        self._terminal = terminal
        self._send: Callable[[bytes], None] | None = send
        self._main = get_ident()
        # A reentrant lock: a signal handler may print while the same thread holds the lock.
        self._lock = RLock()
        self._pending: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return self._terminal

    def write(self, data: Buffer, /) -> int:
        """Take bytes that are written to the stream.

        `flush` sends all bytes to the caller. When `_MOST` bytes wait, the whole lines are sent.
        Each line is sent at once if the caller's stream shows each line at once, or if the line
        comes from a thread that does not run the items. In a process that an item has forked, each
        line is written to the descriptor instead.
        """
        piece = bytes(data)
        here = get_ident() == self._main and self._send is not None
        with self._lock:
            self._pending.append(piece)
            self._size += len(piece)
            if here:
                # Because of the note PRINTED, the worker flushes the streams when the item ends.
                traces.append(PRINTED)
            # What another thread prints, or a process that an item has forked, is passed on line by
            # line, because it is not flushed when an item ends.
            if self._size >= _MOST or ((self.at_once or not here) and b"\n" in piece):
                self._pass_on(self._size < _MOST_IN_A_LINE)
        return len(piece)

    def flush(self) -> None:
        """Send all that was written, and tell the caller to flush its own stream, too."""
        self.pass_on()
        if self._send is not None:
            self._is_sent(FLUSH, bytes([self._number]))

    def pass_on(self) -> None:
        """Send all that was written, even an unfinished line."""
        if self._pending:
            with self._lock:
                self._pass_on(False)

    def _pass_on(self, lines: bool) -> None:
        """Send what was written; if `lines`, only the whole lines of it."""
        pending, self._pending = self._pending, []
        data = b"".join(pending)
        rest = b""
        if lines:
            end = data.rfind(b"\n") + 1
            data, rest = data[:end], data[end:]
            if rest:
                self._pending.insert(0, rest)
        self._size = len(rest)
        if data and not self._is_sent(self._number, data):
            view = memoryview(data)
            while view:
                view = view[os.write(self._number, view) :]

    def _is_sent(self, kind: int, data: bytes) -> bool:
        """Send text to the caller as a report; return whether that was possible."""
        if self._send is None:
            return False
        try:
            report: Report = REPORT, kind, None, data
            self._send(frame(report))
        except OSError:  # the caller is gone, or an item has closed the socket
            return False
        return True

    def leave(self) -> None:
        """From now on write to the descriptor, because an item has forked this process."""
        self._lock = RLock()  # a new lock, as another thread may have held the old one at the fork
        # What was written before the fork is sent by the worker, not by this process.
        self._pending = []
        self._size = 0
        self._send = None


class Streams:
    """Replaces ``sys.stdout`` and ``sys.stderr`` in a worker."""

    def __init__(self, described: tuple[Stream, Stream], send: Callable[[bytes], None]) -> None:
        """Replace the streams that this process began with.

        Args:
            described: what the caller's stdout and stderr are like: see `protocol.Stream`.
            send: sends messages to the caller.
        """
        self._outputs: list[_Output] = []
        for number, name in ((1, "stdout"), (2, "stderr")):
            encoding, errors, at_once, terminal = described[number - 1]
            output = _Output(number, at_once, terminal, send)
            stream = _text(output, encoding, errors)
            self._outputs.append(output)
            # The old streams are kept alive, because Python flushes a stream before it deletes it.
            # In a forked process only the parent may write what their buffers have.
            _kept.extend([getattr(sys, name), getattr(sys, f"__{name}__")])
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave)

    def send_lines(self) -> None:
        """From now on send each line at once: after the last item nothing else would send it."""
        for output in self._outputs:
            output.at_once = True

    def flush(self) -> None:
        """Send all that was printed to either stream."""
        for output in self._outputs:
            output.pass_on()

    def _leave(self) -> None:
        for output in self._outputs:
            output.leave()


_kept: list[object] = []


def _text(output: _Output, encoding: str, errors: str) -> io.TextIOWrapper:
    try:
        return io.TextIOWrapper(output, encoding, errors, newline="\n", write_through=True)
    except LookupError:  # Python does not know this encoding; only the caller has its codec
        return io.TextIOWrapper(
            output, "utf-8", "backslashreplace", newline="\n", write_through=True
        )
