"""The template process and its workers, as the caller sees them."""

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

if TYPE_CHECKING:
    from typing import IO

    from .._transport.framing import Message
    from .main_module import Script


_LAST_WAIT = 2.0  # seconds for a template to end by itself


def _file() -> "IO[bytes]":
    """Return an empty file that has no name."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("pmap", os.MFD_CLOEXEC), "wb")
    import tempfile

    return tempfile.TemporaryFile()


class Template:
    """The template process and the workers that it forked for us."""

    def __init__(self, boot: Boot) -> None:
        self.lifeline = boot.lifeline  # that of its workers, who may outlive it
        self._by_value = boot.by_value
        self._process = boot.process
        self.answered = False  # it is a Python, and at our entry
        self.threads = 1  # if it has more than one, it does not fork
        self.why = ""  # why it is of no use, if it never answered
        self.sock = boot.sock
        self._mark = mark_of(boot.sock)
        self._reader = FrameReader()
        self.alive = True
        self._by_number: dict[int, _Forked] = {}
        self._by_pid: dict[int, _Forked] = {}
        self.script: Script | None = None  # what its workers need not import
        self.reports: list[tuple[int, bytes]] = []  # what that did when it was imported

    def import_script(self, script: "Script", about: bytes) -> None:
        """Ask it to import the script before it forks the first worker: see `protocol.IMPORT`.

        Where that cannot be asked for, each worker imports it.
        """
        self.script = script
        # In a file: the template may not read its socket yet, which takes only so much.
        with contextlib.suppress(OSError), _file() as file:
            file.write(about)
            file.flush()
            request = protocol.make_request(protocol.IMPORT, 0)
            send_with_fds(self.sock, request, [file.fileno()])

    def start(self, number: int, sock: socket) -> Handle:
        """Ask for a worker on `sock`; its pid is known when the template has answered."""
        if not self._by_value and "pmap._transport.by_value.full_pickler" in sys.modules:
            self._by_value = True
            self._ask(protocol.PREPARE, 0)  # before it forks the first that needs it
        handle = self._by_number[number] = _Forked(self)
        # If the template is gone by now, its socket says so when it is read.
        with contextlib.suppress(OSError):
            request = protocol.make_request(protocol.FORK, number)
            send_with_fds(self.sock, request, [sock.fileno()])
        return handle

    @property
    def is_unused(self) -> bool:
        """Whether it has no workers."""
        return not self._by_number

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_surely_python(self) -> bool:
        """Return whether it is known to be the interpreter that runs this program."""
        return is_surely_python(self.pid, self._process.command)

    def give_up(self, why: str) -> None:
        """End it: it does not answer, or not as a Python that is to be a template."""
        self.why = self.why or why
        self._process.kill()

    def read(self) -> list[int]:
        """Read what the template reports; return the numbers of workers that have ended."""
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
        """Note what the template reports; return the number of a worker that has ended, or None."""
        kind = message[0]
        if kind == protocol.REPORT:
            report: protocol.Report = message
            self.reports.append((report[1], report[3]))
            return None
        self.answered = True
        if kind == protocol.FORKED:
            number, pid = protocol.parse_forked(message)
            self._by_pid[pid] = self._by_number[number]
            self._by_pid[pid].set_pid(pid)
        elif kind == protocol.FAILED:
            number, error = protocol.parse_failed(message)
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
        return None  # HELLO says no more than that it has answered

    def kill(self, pid: int) -> None:
        """End a worker. The template does it: it knows the pid is still that worker's."""
        if not self.alive:  # nobody reaps it but init, and its group is its own while it lives
            kill_group(pid)
            return
        self._ask(protocol.KILL, pid)

    def abort(self, pid: int) -> None:
        """Let a worker say where it is, and end."""
        self._ask(protocol.ABORT, pid)

    def terminate(self, pid: int) -> None:
        """Send a worker SIGTERM, or end it where nobody knows that the pid is still its own."""
        if self.alive:
            self._ask(protocol.TERMINATE, pid)
        else:
            self.kill(pid)

    def _ask(self, what: int, pid: int) -> None:
        # If the template is gone by now, its socket says so when it is read.
        with contextlib.suppress(OSError):
            self.sock.sendall(protocol.make_request(what, pid))

    def _lost(self) -> None:
        """Note that the template has ended.

        The workers that it has started go on; their sockets tell when they end. So does the socket
        of a worker whose start the template has not reported: the template may have been killed
        between the fork and the report. If there was no fork, the other end of that socket is
        closed, because the template was the last process that had it open.
        """
        self.alive = False
        self._process.kill()
        self._process.wait()
        if not self.answered:
            self.why = self.why or no_python(self._process.exitcode)
        for handle in self._by_number.values():
            if handle.pid is None:
                handle.hopeless = bool(self.why)
                handle.failure = self.why or "the template process was killed"
            elif handle.killed:
                self.kill(handle.pid)  # it may not have read the request
        self._by_number.clear()
        self._by_pid.clear()

    def close(self) -> None:
        """Let the template go; it ends workers that are left."""
        # It reads that nothing comes any more, ends, and with it its end of the socket; a wait for
        # a process with a time limit would look now and then, up to 50 ms apart.
        with contextlib.suppress(OSError):  # it is gone already, or the time is over
            self.sock.shutdown(SHUT_WR)
            self.sock.settimeout(_LAST_WAIT)
            while self.sock.recv(1 << 16):
                pass
        self.sock.close()
        self._process.kill()  # stopped, or stuck: it holds nothing worth waiting for
        self._process.wait()

    def abandon(self) -> None:
        """End the template, without the socket: the program may have closed that."""
        release(self.sock, self._mark)
        self._process.kill()
        self._process.wait()

    def after_fork_in_child(self) -> None:
        """Forget the template in a fork of its parent."""
        self.sock.close()
        self._process.after_fork_in_child()


class _Forked:
    """A worker that the template forked."""

    sentinel: int | None = None  # the template reports the end
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
        self.killed = True  # if there is no pid yet, when it comes
        if self.pid is not None and not self.ended:
            self._template.kill(self.pid)

    def is_surely_python(self) -> bool:
        return False

    def abort(self) -> None:
        if self.pid is not None and not self.ended:
            leave_no_core(self.pid)
            self._template.abort(self.pid)

    def terminate(self) -> None:
        if self.pid is None:  # it has nothing yet that it could end in order
            self.kill()
        elif not self.ended:
            self._template.terminate(self.pid)

    def reap(self) -> tuple[bool, int | None]:
        if not self.ended:
            self.kill()
            # Without the template nobody tells when it has ended, nor how.
            self.ended = not self._template.alive
        return self.ended, self.exitcode

    def release(self) -> None:
        pass

    def abandon(self) -> None:
        if self.pid is not None:
            kill_group(self.pid)

    def after_fork_in_child(self) -> None:
        pass
