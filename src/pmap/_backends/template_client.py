"""The fork server, a process from which workers are forked, as the caller sees it."""

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from .._transport import protocol
from .._transport.framing import FrameReader
from .._transport.light_stdlib import SHUT_WR, send_with_fds, socket
from .._worker.template import kill_group
from .boot import Boot, mark_of, release
from .launch import Handle, is_surely_python, leave_no_core, no_python, ran_again, refused
from .small_file import small_file

if TYPE_CHECKING:
    from typing import IO

    from .._transport.framing import Message
    from .main_module import Script


_SCRIPT = -1  # stands in place of a worker's number for the request to import the script
_LAST_WAIT = 2.0  # a fork server that does not end by itself in this many seconds is killed


def _file() -> "IO[bytes]":
    """Return an empty file without a name; raise OSError if there is no place for a file."""
    fd = small_file()
    if fd < 0:
        raise OSError("there is no place for a file")
    return open(fd, "wb")


class Template:
    """The fork server, and the workers that it has forked for the caller.

    Attributes:
        lifeline: the pipe that tells workers that the caller has ended; they may outlive the fork
            server.
        answered: whether a message of the fork server has shown that it runs pmap's code.
        threads: how many threads the fork server has. If it has more than one, it does not fork,
            because a fork of a process with threads may hang.
        why: the reason why the fork server has never answered; "" if it has, or may still do so.
        sock: the caller's end of the socket of the fork server.
        alive: whether the fork server still runs, as far as the caller knows.
        script: the user's script that the fork server imports for its workers; None: no script.
        reports: what the script printed, logged or warned of while it was imported; each report is
            its kind and its bytes.
    """

    def __init__(self, boot: Boot) -> None:
        self.lifeline = boot.lifeline
        self._by_value = boot.by_value
        self._process = boot.process
        self.answered = False
        self.threads = 1
        self.why = ""
        self.sock = boot.sock
        self._mark = mark_of(boot.sock)
        self._reader = FrameReader()
        self.alive = True
        self._by_number: dict[int, _Forked] = {}
        self._by_pid: dict[int, _Forked] = {}
        self.script: Script | None = None
        self.reports: list[tuple[int, bytes]] = []
        # macOS may close a file whose descriptor is on its way to another process if no process has
        # it open. So copies of descriptors are kept here until the fork server has received them,
        # by the number of the worker. `_SCRIPT` is the key for the import of the script.
        self._on_the_way: dict[int, int] = {}

    def import_script(self, script: "Script", about: bytes) -> None:
        """Ask the fork server to import the user's script before it forks the first worker.

        `about` tells the fork server how to import it. If the request cannot be sent, each worker
        imports the script itself.
        """
        self.script = script
        # `about` is sent in a file: the fork server may not read its socket yet, and the buffer of
        # the socket is too small for `about`.
        with contextlib.suppress(OSError), _file() as file:
            file.write(about)
            file.flush()
            self._send(protocol.IMPORT, 0, file.fileno())

    def start(self, number: int, sock: socket) -> Handle:
        """Ask the fork server to fork a worker that is connected by the socket `sock`.

        The process id of the worker is known when the fork server has answered.
        """
        if not self._by_value and "pmap._transport.by_value.full_pickler" in sys.modules:
            self._by_value = True
            # The fork server has to import the code for pickling by value before it forks the first
            # worker that needs that code.
            self._ask(protocol.PREPARE, 0)
        handle = self._by_number[number] = _Forked(self)
        # OSError means that the fork server has ended; the next read of its socket notices that.
        with contextlib.suppress(OSError):
            self._send(protocol.FORK, number, sock.fileno())
        return handle

    def _send(self, what: int, number: int, fd: int) -> None:
        if sys.platform != "linux":
            key = _SCRIPT if what == protocol.IMPORT else number
            with contextlib.suppress(OSError):  # no descriptor is left to copy the socket
                self._on_the_way[key] = os.dup(fd)
        send_with_fds(self.sock, protocol.make_request(what, number), [fd])

    def _has_received(self, *numbers: int) -> None:
        for number in numbers:
            fd = self._on_the_way.pop(number, -1)
            if fd >= 0:
                os.close(fd)

    @property
    def is_unused(self) -> bool:
        """Whether the fork server has no workers."""
        return not self._by_number

    @property
    def pid(self) -> int:
        """The process id of the fork server."""
        return self._process.pid

    def is_surely_python(self) -> bool:
        """Return whether the fork server certainly runs the same Python as this program."""
        return is_surely_python(self.pid, self._process.command)

    def give_up(self, why: str) -> None:
        """Kill the fork server, because it did not answer in time or ran the user's program."""
        self.why = self.why or why
        self._process.kill()

    def read(self) -> list[int]:
        """Read the messages of the fork server; return the numbers of workers that have ended."""
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            self._lost()
            return []
        ended = (self._report(message) for message in self._reader.feed(data))
        return [number for number in ended if number is not None]

    def _report(self, message: "Message") -> int | None:
        """Handle a message of the fork server; return the number of a worker that has ended."""
        kind = message[0]
        if kind == protocol.REPORT:
            report: protocol.Report = message
            self.reports.append((report[1], report[3]))
            return None
        self.answered = True
        if kind == protocol.FORKED:
            number, pid = protocol.parse_forked(message)
            self._has_received(_SCRIPT, number)
            self._by_pid[pid] = self._by_number[number]
            self._by_pid[pid].set_pid(pid)
        elif kind == protocol.FAILED:
            number, error = protocol.parse_failed(message)
            self._has_received(_SCRIPT, number)
            handle = self._by_number.pop(number)
            handle.ended = True
            handle.failure = refused(OSError(error, os.strerror(error)))
            return number
        elif kind == protocol.EXITED:
            pid, exitcode = protocol.parse_exited(message)
            handle = self._by_pid.pop(pid)
            handle.ended = True
            handle.exitcode = exitcode
            number = next(n for n, h in self._by_number.items() if h is handle)
            del self._by_number[number]
            return number
        elif kind == protocol.CROWDED:
            self.threads = protocol.parse_crowded(message)
        elif kind == protocol.AGAIN:
            self.give_up(ran_again())
        # The remaining kind, HELLO, needs no answer: this message only shows that the fork server
        # runs pmap's code.
        return None

    def kill(self, pid: int) -> None:
        """Kill a worker through the fork server, which knows if its process id is valid."""
        # The fork server has ended, so the caller itself kills the worker's process group. No other
        # group has this number: it belongs to the worker while the worker lives, and only init can
        # read its exit code.
        if not self.alive:
            kill_group(pid)
            return
        self._ask(protocol.KILL, pid)

    def abort(self, pid: int) -> None:
        """Let a worker write the stack of its threads and end, by SIGABRT."""
        self._ask(protocol.ABORT, pid)

    def terminate(self, pid: int) -> None:
        """Send a worker SIGTERM; if the fork server has ended, kill the worker.

        Without the fork server, nobody knows whether the process id still belongs to the worker.
        """
        if self.alive:
            self._ask(protocol.TERMINATE, pid)
        else:
            self.kill(pid)

    def _ask(self, what: int, pid: int) -> None:
        # OSError means that the fork server has ended; the next read of its socket notices that.
        with contextlib.suppress(OSError):
            self.sock.sendall(protocol.make_request(what, pid))

    def _lost(self) -> None:
        """Record that the fork server has ended.

        The workers that it has forked go on. The end of such a worker shows at the worker's socket.
        That also holds for a worker whose start the fork server has not reported: it may have been
        killed between the fork and the report. If it has not forked, the worker's socket is at its
        end already, because the fork server was the last process that held the other end open.
        """
        self.alive = False
        self._process.kill()
        self._process.wait()
        self._has_received(*self._on_the_way)
        if not self.answered:
            self.why = self.why or no_python(self._process.exitcode)
        for handle in self._by_number.values():
            if handle.pid is None:
                handle.hopeless = bool(self.why)
                handle.failure = self.why or "the template process was killed"
            elif handle.killed:
                # The fork server may have ended before it read the request to kill this worker.
                self.kill(handle.pid)
        self._by_number.clear()
        self._by_pid.clear()

    def close(self) -> None:
        """Let the fork server end, after its workers; kill it if it takes too long.

        The caller shuts its socket down. The fork server reads that, and ends. The end of the
        process shows at once as the end of the socket. `subprocess.Popen.wait` with a time limit
        would ask for the end only every 50 ms.
        """
        # OSError means that the fork server has ended already, or that the time is over.
        with contextlib.suppress(OSError):
            self.sock.shutdown(SHUT_WR)
            self.sock.settimeout(_LAST_WAIT)
            while self.sock.recv(1 << 16):
                pass
        self.sock.close()
        self._has_received(*self._on_the_way)
        # The fork server has not ended by now: it is stopped, or hangs. Nothing would be gained by
        # waiting longer.
        self._process.kill()
        self._process.wait()

    def abandon(self) -> None:
        """Kill the fork server; the program may have closed the descriptor of its socket."""
        release(self.sock, self._mark)
        self._process.kill()
        self._process.wait()

    def after_fork_in_child(self) -> None:
        """Forget the fork server: this process is a fork of its parent, and cannot wait for it."""
        self.sock.close()
        self._has_received(*self._on_the_way)
        self._process.after_fork_in_child()


class _Forked:
    """A worker that the fork server forks; the object can kill the worker and wait for its end."""

    # No descriptor shows the end of the worker, because the fork server reports it.
    sentinel: int | None = None
    hopeless = False

    def __init__(self, template: Template) -> None:
        self._template = template
        self.pid: int | None = None
        self.killed = False
        self.ended = False
        self.exitcode: int | None = None
        self.failure = ""

    def set_pid(self, pid: int) -> None:
        if self.pid is None:
            self.pid = pid
            self.failure = ""
            if self.killed:
                self.kill()

    def kill(self) -> None:
        # If the process id is not known yet, the worker is killed as soon as the id is known.
        self.killed = True
        if self.pid is not None and not self.ended:
            self._template.kill(self.pid)

    def is_surely_python(self) -> bool:
        return False

    def abort(self) -> None:
        if self.pid is not None and not self.ended:
            leave_no_core(self.pid)
            self._template.abort(self.pid)

    def terminate(self) -> None:
        # A worker whose process id is not known yet has run no item, so it has no handler of
        # SIGTERM.
        if self.pid is None:
            self.kill()
        elif not self.ended:
            self._template.terminate(self.pid)

    def reap(self) -> tuple[bool, int | None]:
        if not self.ended:
            self.kill()
            # If the fork server has ended, nobody reports the exit code of the worker. So the
            # worker counts as ended once the signal was sent.
            self.ended = not self._template.alive
        return self.ended, self.exitcode

    def release(self) -> None:
        pass

    def abandon(self) -> None:
        if self.pid is not None:
            kill_group(self.pid)

    def after_fork_in_child(self) -> None:
        pass
