"""How worker processes are started, killed and reaped: all that depends on the platform.

==========  ==========================================================================
spawn       a fresh interpreter for each worker; works everywhere
forkserver  a fork of a prepared template (`_template`); POSIX
fork        a fork of this very process; POSIX, and only safe while it has no threads
==========  ==========================================================================

The default is forkserver on Linux, where it is both safe and fastest, and spawn elsewhere: on macOS
system libraries do not survive a fork, not even one of a process that hardly used them.
"""

import atexit
import contextlib
import errno
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

from . import _arena, _child, _template
from ._wire import FrameReader

if TYPE_CHECKING:
    from ._wire import Message

__all__ = [
    "Handle",
    "Lifeline",
    "Template",
    "default_start_method",
    "is_alive",
    "refused",
    "send_arena",
    "socketpair",
    "start_fork",
    "start_spawn",
]

_CODE = (
    "import sys; p = type(sys)('pmap'); p.__path__ = [sys.argv[1]]; "
    "sys.modules['pmap'] = p; from pmap._child import main; "
    "main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))"
)
_EXITING = 0x4  # PF_EXITING of Linux, set before a process that ends loses its sockets
_LAST_WAIT = 2.0  # seconds for a template to end by itself
_PACKAGE = os.path.dirname(os.path.abspath(_child.__file__))


def default_start_method() -> str:
    """Return the start method that is used when none is asked for."""
    return "forkserver" if sys.platform == "linux" else "spawn"


_FEWER = "or use fewer processes"
_REFUSALS: dict[int, str] = {
    errno.EMFILE: f"raise the limit of open files (ulimit -n), {_FEWER}",
    errno.ENFILE: f"the whole machine has too many files open: close some, {_FEWER}",
    errno.EAGAIN: f"raise the limit of processes (ulimit -u, or the container's), {_FEWER}",
    errno.ENOMEM: f"free memory, {_FEWER}",
}


def refused(error: OSError) -> str:
    """Return in words why a process could not be started, and what helps.

    >>> refused(OSError(errno.ENOMEM, "No memory"))
    'the operating system refused: [Errno 12] No memory; free memory, or use fewer processes'
    """
    advice = _REFUSALS.get(error.errno or 0)
    return f"the operating system refused: {error}" + (f"; {advice}" if advice else "")


class Handle(Protocol):
    """A started worker process, to be watched and ended."""

    @property
    def pid(self) -> int | None:
        """Its process id, or None while that is not known yet."""
        ...

    def met(self, pid: int) -> None:
        """Take in the process id that the worker itself tells."""
        ...

    @property
    def sentinel(self) -> int | None:
        """A descriptor that is readable when the process has ended, or None."""
        ...

    def kill(self) -> None:
        """End it by SIGKILL (TerminateProcess on Windows)."""
        ...

    def abort(self) -> None:
        """End it by SIGABRT, upon which it says where it was; or as `kill` does."""
        ...

    def reap(self) -> tuple[bool, int | None]:
        """Return whether it is known to have ended, and its exit code if that is known.

        Only called when its socket is at its end or its sentinel fires: it ends it first.
        """
        ...

    @property
    def failure(self) -> str:
        """Why it could not be started, or nothing."""
        ...

    def release(self) -> None:
        """Give back the sentinel."""
        ...

    def disown(self) -> None:
        """Forget the process: this one is a fork of its parent."""
        ...


class Lifeline:
    """A pipe through which nothing goes: that its writing end is closed tells of the caller's end.

    The workers have the other end, see `_child`. A fork of the caller closes both, or the caller's
    end would be noticed only with its own.
    """

    def __init__(self) -> None:
        """Open it, where the kernel can do what `_child` asks of it."""
        self.end, self._ours = os.pipe() if sys.platform == "linux" else (-1, -1)
        self.end = _not_standard(self.end)

    def close(self) -> None:
        """Close both ends; workers that are left are killed by it."""
        if self.end >= 0:
            os.close(self.end)
            os.close(self._ours)
            self.end = self._ours = -1


class _Child:
    """A child process of this one."""

    failure = ""

    def __init__(self, pid: int, popen: "subprocess.Popen[bytes] | None") -> None:
        self.pid: int | None = pid
        self.sentinel = _pidfd(pid)
        self._popen = popen
        self._ended: tuple[bool, int | None] | None = None

    def met(self, pid: int) -> None:
        pass

    def kill(self) -> None:
        if self._ended is None:
            if hasattr(os, "killpg"):
                _template.kill_group(self.pid or 0)
            elif self._popen is not None:
                self._popen.kill()

    def abort(self) -> None:
        if self._ended is None and self.pid is not None and hasattr(signal, "SIGABRT"):
            _no_core(self.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGABRT)

    def reap(self) -> tuple[bool, int | None]:
        if self._ended is None:
            # A process that closed its socket but lives on is not a worker any more. One that is
            # ending keeps the exit code it had: the signal comes too late to change it.
            self.kill()
            self._ended = True, self._wait()
        return self._ended

    def _wait(self) -> int | None:
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid or 0, os.WEXITED | os.WNOWAIT)
                _template.kill_group(self.pid or 0)  # what it left behind, while its id is its own
        if self._popen is not None:
            return self._popen.wait()
        try:
            _, status = os.waitpid(self.pid or 0, 0)
        except ChildProcessError:  # somebody else reaped it, or SIGCHLD is ignored
            return None
        return os.waitstatus_to_exitcode(status)

    def release(self) -> None:
        if self.sentinel is not None:
            os.close(self.sentinel)
            self.sentinel = None

    def disown(self) -> None:
        if self._popen is not None:
            self._popen.returncode = 0


def _pidfd(pid: int) -> int | None:
    """Return a descriptor that tells of the end of `pid`, where the system has such a thing.

    Without one the end shows as the end of the worker's socket, unless something that the worker
    started holds that open.
    """
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def is_alive(pid: int | None) -> bool:
    """Return whether a process is known to live and not to be ending; only Linux tells."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            flags = int(stat.read().rpartition(b")")[2].split()[6])
    except (OSError, IndexError, ValueError):
        return False
    return not flags & _EXITING


def _no_core(pid: int) -> None:
    """Let a process that we end leave no core file: nothing is wrong with the interpreter."""
    with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):
        import resource

        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def socketpair() -> tuple[socket.socket, socket.socket]:
    """Return the ends of a connection: ours, and one that a child process can be given."""
    ours, theirs = socket.socketpair()
    if theirs.fileno() < 3:
        theirs = socket.socket(fileno=_not_standard(theirs.detach()))
    return ours, theirs


def _not_standard(fd: int) -> int:
    """Return `fd`, or a copy in its stead if it stands where a standard stream was closed.

    For what a child process is to have under the same number: there it has streams of its own.
    """
    if not 0 <= fd < 3 or sys.platform == "win32":
        return fd
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def start_spawn(sock: socket.socket, lifeline: Lifeline) -> Handle:
    """Start a fresh interpreter as a worker on `sock`."""
    popen = _interpreter("worker", sock, lifeline)
    return _Child(popen.pid, popen)


def start_fork(sock: socket.socket, theirs: socket.socket, lifeline: Lifeline) -> Handle:
    """Fork this process into a worker on `sock`; `theirs` is the end that the caller keeps."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # None or closed; else the child would write it again
            stream.flush()
    # A copy: what is the caller's own, a fork closes before anything else.
    own = _not_standard(os.dup(lifeline.end)) if lifeline.end >= 0 else -1
    try:
        with _sigint_blocked():
            pid = os.fork()
            if pid == 0:
                theirs.close()
                _child.enter_forked(sock, own)
    finally:
        if own >= 0:
            os.close(own)
    return _Child(pid, None)


class Template:
    """The template process and the workers that it forked for us."""

    def __init__(self, lifeline: Lifeline, by_value: bool = False) -> None:
        self.lifeline = lifeline  # that of its workers, who may outlive it
        self._by_value = by_value
        ours, theirs = socketpair()
        with theirs:
            kind = "template by value" if by_value else "template"
            self._popen = _interpreter(kind, theirs, lifeline)
        self.sock = ours
        self._reader = FrameReader()
        self.alive = True
        self._by_number: dict[int, _Forked] = {}
        self._by_pid: dict[int, _Forked] = {}

    def start(self, number: int, sock: socket.socket) -> Handle:
        """Ask for a worker on `sock`; its pid is known when the template has answered."""
        if not self._by_value and f"{__package__}._by_value" in sys.modules:
            self._by_value = True
            self._ask(_template.PREPARE, 0)  # before it forks the first that needs it
        handle = self._by_number[number] = _Forked(self)
        # If the template is gone by now, its socket says so when it is read.
        with contextlib.suppress(OSError):
            socket.send_fds(
                self.sock, [_template.REQUEST.pack(_template.FORK, number)], [sock.fileno()]
            )
        return handle

    def read(self) -> list[int]:
        """Take in what the template reports; return the numbers of workers that have ended."""
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
        what, key, value = message
        assert isinstance(key, int)
        assert isinstance(value, int)
        if what == _template.FORKED:
            handle = self._by_number[key]
            self._by_pid[value] = handle
            handle.met(value)
            return None
        handle = self._by_number[key] if what == _template.FAILED else self._by_pid.pop(key)
        number = next(n for n, h in self._by_number.items() if h is handle)
        del self._by_number[number]
        handle.ended = True
        if what == _template.FAILED:
            handle.failure = refused(OSError(value, os.strerror(value)))
        else:
            handle.exitcode = value
        return number

    def kill(self, pid: int) -> None:
        """End a worker. The template does it: it knows the pid is still that worker's."""
        if not self.alive:  # nobody reaps it but init, and its group is its own while it lives
            _template.kill_group(pid)
            return
        self._ask(_template.KILL, pid)

    def abort(self, pid: int) -> None:
        """Let a worker say where it is, and end."""
        self._ask(_template.ABORT, pid)

    def _ask(self, what: int, pid: int) -> None:
        # If the template is gone by now, its socket says so when it is read.
        with contextlib.suppress(OSError):
            self.sock.sendall(_template.REQUEST.pack(what, pid))

    def _lost(self) -> None:
        """Take in that the template is no more.

        The workers that it started work on; their sockets tell of their ends. The same holds for
        one of which it did not report: it may have been killed just between the fork and the
        report. If there was no fork, nobody has the other end of that worker's socket any more.
        """
        self.alive = False
        self._popen.kill()
        self._popen.wait()
        for handle in self._by_number.values():
            if handle.pid is None:
                handle.failure = "the template process was killed"
            elif handle.killed:
                self.kill(handle.pid)  # it may not have read the request
        self._by_number.clear()
        self._by_pid.clear()

    def close(self) -> None:
        """Let the template go; it ends workers that are left."""
        # It reads that nothing comes any more, ends, and with it its end of the socket; a wait for
        # a process with a time limit would look now and then, up to 50 ms apart.
        with contextlib.suppress(OSError):  # it is gone already, or the time is over
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(_LAST_WAIT)
            while self.sock.recv(1 << 16):
                pass
        self.sock.close()
        self._popen.kill()  # stopped, or stuck: it holds nothing worth waiting for
        self._popen.wait()

    def abandon(self) -> None:
        """Forget the template in a fork of its parent."""
        self.sock.close()
        self._popen.returncode = 0


class _Forked:
    """A worker that the template forked."""

    sentinel: int | None = None  # the template reports the end

    def __init__(self, template: Template) -> None:
        self._template = template
        self.pid: int | None = None
        self.killed = False
        self.ended = False
        self.exitcode: int | None = None
        self.failure = ""

    def met(self, pid: int) -> None:
        if self.pid is None:
            self.pid = pid
            self.failure = ""
            if self.killed:
                self.kill()

    def kill(self) -> None:
        self.killed = True  # if there is no pid yet, when it comes
        if self.pid is not None and not self.ended:
            self._template.kill(self.pid)

    def abort(self) -> None:
        if self.pid is not None and not self.ended:
            _no_core(self.pid)
            self._template.abort(self.pid)

    def reap(self) -> tuple[bool, int | None]:
        if not self.ended:
            self.kill()
            # Without the template nobody tells when it has ended, nor how.
            self.ended = not self._template.alive
        return self.ended, self.exitcode

    def release(self) -> None:
        pass

    def disown(self) -> None:
        pass


def _interpreter(kind: str, sock: socket.socket, lifeline: Lifeline) -> "subprocess.Popen[bytes]":
    if not sys.executable:
        raise OSError("sys.executable is empty, so no interpreter can be started")
    # Private, and what multiprocessing uses: -X, -W and the like. typeshed does not know it.
    flags: list[str] = getattr(subprocess, "_args_from_interpreter_flags")()  # noqa: B009
    command = [sys.executable, *flags, "-P", "-c", _CODE, _PACKAGE, kind]
    if sys.platform == "win32":  # a socket is no descriptor there: it is shared through stdin
        popen = subprocess.Popen([*command, "-1", "-1"], stdin=subprocess.PIPE)
        assert popen.stdin is not None
        with popen.stdin as stdin:
            stdin.write(sock.share(popen.pid))
        return popen
    fds = [fd for fd in (sock.fileno(), lifeline.end) if fd >= 0]
    command += [str(sock.fileno()), str(lifeline.end)]
    with _sigint_blocked():
        return subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def _sigint_blocked() -> Generator[None, None, None]:
    """Block Ctrl-C for what is started here, until it has its own handler."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# A template that was started ahead of the pool that will use it.
_ahead: list[Template] = []


def begin(start_method: str | None, by_value: bool) -> None:
    """Start a template if that is how workers begin; `take_template` gives it to a pool.

    `by_value`: whether it is prepared for what travels by value from the start.
    """
    if (start_method or default_start_method()) == "forkserver" and not _ahead:
        with contextlib.suppress(OSError):  # the pool tries again, and says what is wrong
            _ahead.append(Template(Lifeline(), by_value))


def take_template(lifeline: Lifeline | None) -> Template:
    """Return a template that nobody uses yet, on `lifeline` if there is one already."""
    if _ahead and lifeline is None:
        return _ahead.pop()
    return Template(lifeline or Lifeline())


def _close_ahead() -> None:
    while _ahead:
        template = _ahead.pop()
        template.close()
        template.lifeline.close()


def _abandon_ahead() -> None:
    while _ahead:
        template = _ahead.pop()
        template.abandon()
        template.lifeline.close()


atexit.register(_close_ahead)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_ahead)


def send_arena(sock: socket.socket) -> _arena.Arena | None:
    """Send a worker-to-be the memory to share with it, and return it; None if there is none.

    Without it each result is a message of its own.
    """
    size = _arena.SIZE + _arena.STACK
    try:
        fd = os.memfd_create("pmap", os.MFD_CLOEXEC) if hasattr(os, "memfd_create") else -1
    except OSError:
        fd = -1
    memory: mmap.mmap | None = None
    try:
        if fd >= 0:
            with contextlib.suppress(OSError):  # no memory left, or no file may be so large
                os.ftruncate(fd, size)
                memory = mmap.mmap(fd, size)
        if memory is None:
            sock.sendall(bytes(4))
            return None
        os.lseek(fd, _arena.SIZE, os.SEEK_SET)  # where the worker writes its last words
        socket.send_fds(sock, [size.to_bytes(4, "little")], [fd])
        return _arena.Arena(memory)
    finally:
        if fd >= 0:
            os.close(fd)
