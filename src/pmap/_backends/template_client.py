"""The template process and the workers that it forks, as the caller sees them."""

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


_LAST_WAIT = 2.0  # seconds in which a template process may end by itself before it is killed


def _file() -> "IO[bytes]":
    """Return an empty file that has no name."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("pmap", os.MFD_CLOEXEC), "wb")
    import tempfile

    return tempfile.TemporaryFile()


class Template:
    """The template process, and the workers that it has forked for the caller.

    Attributes:
        lifeline: the lifeline of the workers, which may outlive the template process.
        answered: whether the template process has shown by a message that it runs pmap's code.
        threads: how many threads the template process has; with more than one it does not fork.
        why: why the template process never answered, or "".
        sock: the caller's end of the socket of the template process.
        alive: whether the template process has not ended, as far as was noticed.
        script: the script that the template process imports for its workers; None: no script.
        reports: what the script printed, logged or warned of during the import: kind and bytes.
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

    def import_script(self, script: "Script", about: bytes) -> None:
        """Ask the template process to import the script before it forks the first worker.

        See `protocol.IMPORT`. If the request cannot be sent, each worker imports the script.
        """
        self.script = script
        # `about` travels in a file, because the template process may not read its socket yet and
        # the buffer of the socket is small.
        with contextlib.suppress(OSError), _file() as file:
            file.write(about)
            file.flush()
            request = protocol.make_request(protocol.IMPORT, 0)
            send_with_fds(self.sock, request, [file.fileno()])

    def start(self, number: int, sock: socket) -> Handle:
        """Ask the template process to fork a worker on the socket `sock`.

        The process id of the worker is known when the template process has answered.
        """
        if not self._by_value and "pmap._transport.by_value.full_pickler" in sys.modules:
            self._by_value = True
            # The template process imports the code for pickling by value before it forks the first
            # worker that needs that code.
            self._ask(protocol.PREPARE, 0)
        handle = self._by_number[number] = _Forked(self)
        # OSError: the template process has ended. The next read of its socket notices that.
        with contextlib.suppress(OSError):
            request = protocol.make_request(protocol.FORK, number)
            send_with_fds(self.sock, request, [sock.fileno()])
        return handle

    @property
    def is_unused(self) -> bool:
        """Whether the template process has no workers."""
        return not self._by_number

    @property
    def pid(self) -> int:
        """The process id of the template process."""
        return self._process.pid

    def is_surely_python(self) -> bool:
        """Return whether the template process is known to run the interpreter of this program."""
        return is_surely_python(self.pid, self._process.command)

    def give_up(self, why: str) -> None:
        """Kill the template process: it did not answer in time, or it ran the user's program."""
        self.why = self.why or why
        self._process.kill()

    def read(self) -> list[int]:
        """Read what the template process reports; return the numbers of workers that have ended."""
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
        """Note one report of the template process; return the number of an ended worker or None."""
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
        return None  # a message HELLO says only that the template process has answered

    def kill(self, pid: int) -> None:
        """Kill a worker through the template process, which knows whose the process id is now."""
        # If the template process has ended, the caller kills the worker's process group itself:
        # only init can reap the worker, and while the worker lives no other group has its number.
        if not self.alive:
            kill_group(pid)
            return
        self._ask(protocol.KILL, pid)

    def abort(self, pid: int) -> None:
        """Let a worker write the stack of its threads and end, by SIGABRT."""
        self._ask(protocol.ABORT, pid)

    def terminate(self, pid: int) -> None:
        """Send a worker SIGTERM, or kill the worker if the template process has ended.

        Without the template process nobody knows whether the process id is still the worker's.
        """
        if self.alive:
            self._ask(protocol.TERMINATE, pid)
        else:
            self.kill(pid)

    def _ask(self, what: int, pid: int) -> None:
        # OSError: the template process has ended. The next read of its socket notices that.
        with contextlib.suppress(OSError):
            self.sock.sendall(protocol.make_request(what, pid))

    def _lost(self) -> None:
        """Record that the template process has ended.

        The workers that the template process has forked go on; the end of a worker shows at the
        worker's socket. So does the end of a worker whose start the template process has not
        reported: the template process may have been killed between the fork and the report. If
        there was no fork, the socket is at its end already, because the template process was the
        last process that had the other end open.
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
                self.kill(handle.pid)  # the template process may not have read the kill request
        self._by_number.clear()
        self._by_pid.clear()

    def close(self) -> None:
        """Let the template process end; it ends its workers first, and it is killed if it is late.

        The template process reads that the caller has shut its socket down, and ends. The end of
        the process shows at once as the end of the socket. `subprocess.Popen.wait` with a time
        limit would poll the process, up to 50 ms apart.
        """
        # OSError: the template process has ended already, or the time is over.
        with contextlib.suppress(OSError):
            self.sock.shutdown(SHUT_WR)
            self.sock.settimeout(_LAST_WAIT)
            while self.sock.recv(1 << 16):
                pass
        self.sock.close()
        # A template process that is still there is stopped or hangs. It holds nothing that would
        # be worth a longer wait.
        self._process.kill()
        self._process.wait()

    def abandon(self) -> None:
        """Kill the template process and leave its socket alone if the program has closed that."""
        release(self.sock, self._mark)
        self._process.kill()
        self._process.wait()

    def after_fork_in_child(self) -> None:
        """Forget the template process: this process is a fork of the template's parent."""
        self.sock.close()
        self._process.after_fork_in_child()


class _Forked:
    """The handle of a worker that the template process forks: see `launch.Handle`."""

    sentinel: int | None = None  # no sentinel: the template process reports the worker's end
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
        self.killed = True  # if the process id is not known yet, `set_pid` kills the worker
        if self.pid is not None and not self.ended:
            self._template.kill(self.pid)

    def is_surely_python(self) -> bool:
        return False

    def abort(self) -> None:
        if self.pid is not None and not self.ended:
            leave_no_core(self.pid)
            self._template.abort(self.pid)

    def terminate(self) -> None:
        # A worker whose process id is not known yet has run no item that could set a handler of
        # SIGTERM.
        if self.pid is None:
            self.kill()
        elif not self.ended:
            self._template.terminate(self.pid)

    def reap(self) -> tuple[bool, int | None]:
        if not self.ended:
            self.kill()
            # If the template process has ended, nobody reports the end of the worker or its exit
            # code. The worker counts as ended once it was killed.
            self.ended = not self._template.alive
        return self.ended, self.exitcode

    def release(self) -> None:
        pass

    def abandon(self) -> None:
        if self.pid is not None:
            kill_group(self.pid)

    def after_fork_in_child(self) -> None:
        pass
