"""``sys.stdout`` and ``sys.stderr`` of a worker: what items print goes to the caller's own streams.

It travels over the worker's socket, before the results of the items that printed it. So it is where
the caller's ``sys.stdout`` leads, be that a file, a notebook's cell or an object of the caller's
own; lines of several workers do not mix; and nothing that a finished item printed is lost with its
worker. What is written to the descriptors themselves, as by C code, goes where these lead.
"""

from __future__ import annotations

import io
import os
import sys

from .._transport.framing import frame
from .._transport.light_stdlib import RLock, get_ident
from .._transport.protocol import FLUSH, REPORT
from .traces import PRINTED, traces

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from .._transport.protocol import Report, Stream

_MOST = 1 << 13  # bytes that wait for more, as in Python's own buffers
_MOST_IN_A_LINE = 1 << 18  # bytes that wait for the end of a line


class _Output(io.BufferedIOBase):
    """What the text layer of a stream writes to."""

    def __init__(self, number: int, at_once: bool, terminal: bool, send: Callable[[bytes], None]):
        super().__init__()
        self.name = "<stdout>" if number == 1 else "<stderr>"
        self.mode = "wb"
        self._number = number
        self.at_once = at_once
        self._terminal = terminal
        self._send: Callable[[bytes], None] | None = send
        self._main = get_ident()
        # Reentrant: a signal handler may print in the midst of a print.
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
        """Take what is written; it is sent when a line ends, or enough has come, or at `flush`."""
        piece = bytes(data)
        here = get_ident() == self._main and self._send is not None
        with self._lock:
            self._pending.append(piece)
            self._size += len(piece)
            if here:
                traces.append(PRINTED)  # the item ends with a flush
            # No item ends in another thread, or in a process that an item has forked.
            if self._size >= _MOST or ((self.at_once or not here) and b"\n" in piece):
                self._pass_on(self._size < _MOST_IN_A_LINE)
        return len(piece)

    def flush(self) -> None:
        """Send all that was written; the caller's stream is flushed, too: an item asks for it."""
        self.pass_on()
        if self._send is not None:
            self._is_sent(FLUSH, bytes([self._number]))

    def pass_on(self) -> None:
        """Send all that was written, also the beginning of a line."""
        if self._pending:
            with self._lock:
                self._pass_on(False)

    def _pass_on(self, lines: bool) -> None:
        """Send what was written; only whole `lines` of it."""
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
        """Send it, and return whether that was possible."""
        if self._send is None:
            return False
        try:
            report: Report = REPORT, kind, None, data
            self._send(frame(report))
        except OSError:  # the caller is gone, or an item closed the socket
            return False
        return True

    def leave(self) -> None:
        """Write to the descriptor from now on: this process is no worker, an item has forked it."""
        self._lock = RLock()  # another thread may have held it
        self._pending = []  # it is the worker's
        self._size = 0
        self._send = None


class Streams:
    """Both streams of a worker."""

    def __init__(self, described: tuple[Stream, Stream], send: Callable[[bytes], None]) -> None:
        """Put them in the place of those that this process began with."""
        self._outputs: list[_Output] = []
        for number, name in ((1, "stdout"), (2, "stderr")):
            encoding, errors, at_once, terminal = described[number - 1]
            output = _Output(number, at_once, terminal, send)
            stream = _text(output, encoding, errors)
            self._outputs.append(output)
            # What the old ones hold is not ours, if this process was forked: not to be flushed.
            _kept.extend([getattr(sys, name), getattr(sys, f"__{name}__")])
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave)

    def send_lines(self) -> None:
        """Send each line at once from now on: no item ends any more that would send the rest."""
        for output in self._outputs:
            output.at_once = True

    def flush(self) -> None:
        """Send all that was printed."""
        for output in self._outputs:
            output.pass_on()

    def _leave(self) -> None:
        for output in self._outputs:
            output.leave()


_kept: list[object] = []


def _text(output: _Output, encoding: str, errors: str) -> io.TextIOWrapper:
    try:
        return io.TextIOWrapper(output, encoding, errors, newline="\n", write_through=True)
    except LookupError:  # a codec that only the caller has
        return io.TextIOWrapper(
            output, "utf-8", "backslashreplace", newline="\n", write_through=True
        )
