"""Starting a fresh interpreter for workers, and a template's ahead of everything else.

A template boots on another processor while the caller imports the pool, so this module imports what
it takes to start a process and no more: nothing here is imported by the first call before that one
is on its way (see `first_call`). Not even `subprocess`: to import it takes a third of the time in
which the interpreter starts.
"""

import atexit
import contextlib
import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

from .._transport.light_stdlib import SOL_SOCKET, signal, socket, socketpair
from .._transport.started import FOR_FREEZE_SUPPORT, FROZEN, depth, marked

if TYPE_CHECKING:
    import subprocess

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CODE = (
    "import sys; p = type(sys)('pmap'); p.__path__ = [sys.argv[1]]; "
    "sys.modules['pmap'] = p; from pmap._worker.startup import main; "
    "main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))"
)
# Bytes of one variable of an environment, from which on Linux starts no program; others have less
# room for all of them together than Linux for one.
_LONGEST = 1 << 17
_SO_COOKIE = 57  # of Linux; Python has no name for it. It is read only, and nothing elsewhere.


def default_start_method() -> str:
    """Return the start method that is used when none is asked for."""
    return "forkserver" if sys.platform == "linux" else "spawn"


class Lifeline:
    """A pipe by which workers notice that the caller has ended, whatever has ended it.

    Nothing is written to it. Only the caller has the writing end, which the kernel closes when the
    caller ends; workers watch the reading end, see `startup`. A fork of the caller closes both of
    its copies: else workers would notice nothing before that fork has ended, too.
    """

    end = -1
    closed = False
    _ours = -1
    _inode = 0

    def __init__(self) -> None:
        """Open it, where the kernel can do what `startup` asks of it."""
        if sys.platform == "linux":
            end, self._ours = os.pipe()
            self.end = not_standard(end)
            self._inode = os.fstat(self._ours).st_ino

    def close(self) -> None:
        """Close both ends; workers that are left are killed by it."""
        self.closed = True
        ends = self.end, self._ours
        self.end = self._ours = -1
        for end in ends:
            if end >= 0 and inode_of(end) == self._inode:  # else the program has closed it
                os.close(end)

    def __del__(self) -> None:
        # Where the start of a process failed or was interrupted, nothing else closes it.
        self.close()


def inode_of(fd: int) -> int:
    """Return the inode of what has a descriptor, or -1: nothing has it.

    Sockets and pipes have each one of its own.
    """
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return -1


def mark_of(sock: "socket") -> object:
    """Return a mark of what a socket's descriptor stands for; another one, if that is replaced.

    On Linux the mark is the socket's cookie, which the kernel gives to no other socket, and which
    takes less than half the time of an inode.
    """
    try:
        return sock.getsockopt(SOL_SOCKET, _SO_COOKIE, 8)
    except OSError:  # it is none, or this system has no such thing
        return inode_of(sock.fileno())


def release(sock: "socket", mark: object) -> None:
    """Close `sock`, unless the program has closed its descriptor, which may be in use again."""
    if mark_of(sock) == mark:
        sock.close()
    else:
        sock.detach()


_kept: list[object] = []


def keep(what: object) -> None:
    """Keep an object for good that would close its descriptor: something else may have that now."""
    _kept.append(what)


def not_standard(fd: int) -> int:
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


def connection() -> "tuple[socket, socket]":
    """Return the ends of a connection: ours, and one that a child process can be given."""
    ours, theirs = socketpair()
    if theirs.fileno() < 3:
        theirs = socket(fileno=not_standard(theirs.detach()))
    for end in (ours, theirs):
        end.setblocking(True)  # whatever default timeout the program has set
    return ours, theirs


def interpreter(sock: "socket", lifeline: Lifeline) -> "tuple[subprocess.Popen[bytes], list[str]]":
    """Start a fresh interpreter that is a worker on `sock`; return it, and its command."""
    import subprocess

    if sys.platform == "win32":  # a socket is no descriptor there: it is shared through stdin
        start = _Start("worker", -1, -1, 0, -1)
        popen = subprocess.Popen(start.command, stdin=subprocess.PIPE, env=start.environment)
        assert popen.stdin is not None
        with popen.stdin as stdin:
            stdin.write(sock.share(popen.pid))
        return popen, start.command
    with _pipe() as pipe:
        fds = [fd for fd in (sock.fileno(), lifeline.end, pipe) if fd >= 0]
        inode = os.fstat(sock.fileno()).st_ino
        start = _Start("worker", sock.fileno(), lifeline.end, inode, pipe)
        with sigint_blocked():
            popen = subprocess.Popen(
                start.command, pass_fds=fds, stdin=subprocess.DEVNULL, env=start.environment
            )
        return popen, start.command


# What makes the hashes of strings: one secret for all workers that begin as fresh interpreters, as
# forks have one. That of this process is not to be had, unless it was set.
_hash_seed = str(int.from_bytes(os.urandom(4), "little"))


class _Start:
    """What a process is started with that is to become a worker, or the template of workers."""

    def __init__(self, kind: str, fd: int, lifeline: int, inode: int, pipe: int) -> None:
        """Make command and environment.

        Args:
            kind: "worker" or "template".
            fd: its descriptor of the socket.
            lifeline: its descriptor of the lifeline, or -1.
            inode: of the socket.
            pipe: its descriptor of what `freeze_support` reads; -1: this program is not frozen.
        """
        program = executable()
        if not program:
            raise OSError(
                f"sys.executable is {sys.executable!r}, so no worker can be started. {remedy()}"
            )
        if pipe >= 0:
            self.command = [program, FROZEN, f"pipe_handle={pipe}"]
        else:
            where = _PACKAGE, kind, str(fd), str(lifeline)
            self.command = [program, *interpreter_flags(), "-P", "-c", _CODE, *where]
        self.environment = {
            "PYTHONHASHSEED": _hash_seed,
            **_sendable(os.environ.copy()),
            **marked(kind, fd, lifeline, inode, depth() + 1),
        }


def executable() -> str:
    """Return the program that is started for workers, or nothing: what multiprocessing starts."""
    spawn = sys.modules.get("multiprocessing.spawn")
    found: object = sys.executable if spawn is None else spawn.get_executable()
    return os.fsdecode(found) if isinstance(found, str | bytes) else ""


def remedy() -> str:
    """Return in words what to do where `executable` is no Python that can be a worker."""
    if is_frozen():
        return (
            "This program is frozen: it has to call multiprocessing.freeze_support() or "
            "pmap.freeze_support() before anything else; or use start_method='fork'"
        )
    return (
        "multiprocessing.set_executable(path) says which Python is to be started for workers; "
        "start_method='fork' needs none"
    )


def is_frozen() -> bool:
    """Return whether this program is its own interpreter, and takes no code on its command line.

    Tests of programs that are to be frozen say so, too, while a Python runs them.
    """
    return bool(getattr(sys, "frozen", False)) and not os.path.basename(executable()).startswith(
        "python"
    )


@contextlib.contextmanager
def _pipe() -> Generator[int, None, None]:
    """Give a pipe with what `freeze_support` reads, where this program is frozen; else -1."""
    if not is_frozen():
        yield -1
        return
    end, ours = os.pipe()
    end = not_standard(end)
    try:
        try:
            os.write(ours, FOR_FREEZE_SUPPORT)
        finally:
            os.close(ours)
        yield end
    finally:
        os.close(end)


def _sendable(environment: dict[str, str]) -> dict[str, str]:
    """Return the part of an environment with which a program can be started.

    All of it reaches the worker later, by its socket. What the interpreter itself may need is
    short; so if there is too much, the longest are left out.
    """
    most = os.sysconf("SC_ARG_MAX") // 2 if hasattr(os, "sysconf") else _LONGEST
    sizes = {name: len(name) + len(os.fsencode(value)) for name, value in environment.items()}
    if sum(sizes.values()) < _LONGEST // 4:  # nearly always
        return environment
    sent: dict[str, str] = {}
    total = 0
    for name in sorted(sizes, key=sizes.__getitem__):
        total += sizes[name] + 16  # and two pointers, or what stands between
        if sizes[name] >= _LONGEST - 16 or total > most:
            break
        sent[name] = environment[name]
    return sent


def interpreter_flags() -> list[str]:
    """Return the options that this interpreter was started with: -X, -W and the like."""
    flags = sys.flags
    asked = (
        *(flags.debug, flags.optimize, flags.no_site, flags.verbose, flags.bytes_warning),
        *(flags.quiet, flags.isolated, flags.ignore_environment, flags.no_user_site),
        *(flags.dev_mode, sys.warnoptions, sys._xoptions),
    )
    found: list[str] = []
    if any(asked):
        import subprocess

        # Private, and what multiprocessing uses. typeshed does not know it.
        found += getattr(subprocess, "_args_from_interpreter_flags")()  # noqa: B009
    # What that leaves out: what the program has set since, -u, and most of the -X options.
    if sys.dont_write_bytecode and "-B" not in found:
        found.append("-B")
    if getattr(sys.__stdout__ or sys.__stderr__, "write_through", False):
        found.append("-u")
    for name, value in sys._xoptions.items():
        option = name if value is True else f"{name}={value}"
        if option not in found:
            found += ["-X", option]
    return found


class _Spawned:
    """A process that was started, until it is waited for."""

    _over = True  # there is nothing to wait for yet

    def __init__(self, kind: str, sock: "socket", lifeline: Lifeline) -> None:
        """Start a worker, or the template of workers, on `sock`.

        It has this, the lifeline and the standard streams, of which the first is empty, and nothing
        else.
        """
        self.exitcode: int | None = None
        with _pipe() as pipe:
            self._start(kind, [sock.fileno(), lifeline.end, pipe])

    def _start(self, kind: str, ours: list[int]) -> None:
        # Numbers of their own, so that none is written over before it is copied. The copies are
        # inherited; the originals are no other program's that is started meanwhile.
        free = [number for number in range(3, 9) if number not in ours]
        theirs = [free.pop(0) if fd >= 0 else -1 for fd in ours]
        fd, lifeline, pipe = theirs
        start = _Start(kind, fd, lifeline, os.fstat(ours[0]).st_ino, pipe)
        self.command = start.command
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
            *[(os.POSIX_SPAWN_CLOSE, fd) for fd in _inherited()],
            *[(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in zip(ours, theirs, strict=True) if to > 0],
        ]
        # As subprocess does: what this interpreter ignores is not for others to ignore.
        reset = [signal.SIGPIPE, signal.SIGXFSZ]
        with sigint_blocked():
            self.pid = os.posix_spawn(
                start.command[0],
                start.command,
                start.environment,
                file_actions=actions,
                setsigdef=reset,
            )
            self._over = False

    def __del__(self) -> None:
        # Where its start was interrupted, nothing else would end it.
        if not self._over:
            self.kill()
            self.wait()

    def kill(self) -> None:
        """End it, if it has not ended."""
        if not self._reaped(os.WNOHANG):
            with contextlib.suppress(PermissionError):  # it is another user's: its socket ends it
                os.kill(self.pid, signal.SIGKILL)  # it is still ours: nobody else has its id

    def wait(self) -> None:
        """Return when it has ended."""
        self._reaped(0)

    def after_fork_in_child(self) -> None:
        """Forget it: this is a fork of its parent."""
        self._over = True

    def _reaped(self, how: int) -> bool:
        if not self._over:
            try:
                pid, status = os.waitpid(self.pid, how)
                self._over = pid != 0
                if pid:
                    self.exitcode = os.waitstatus_to_exitcode(status)
            except ChildProcessError:  # somebody else has reaped it
                self._over = True
        return self._over


def _inherited() -> list[int]:
    """Return what this process has open for each program that it starts, but the standard streams.

    None where the system does not tell.
    """
    inherited: list[int] = []
    with contextlib.suppress(OSError):
        for fd in map(int, os.listdir("/dev/fd")):
            with contextlib.suppress(OSError):  # closed since, as what the list was read from
                if fd > 2 and os.get_inheritable(fd):
                    inherited.append(fd)
    return inherited


@contextlib.contextmanager
def sigint_blocked() -> Generator[None, None, None]:
    """Block Ctrl-C for what is started here, until it has its own handler."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Boot:
    """A template process that has just been started, and our end of its socket."""

    def __init__(self, lifeline: Lifeline) -> None:
        self.lifeline = lifeline  # that of its workers
        self.by_value = False  # whether it was asked to prepare for what travels by value
        self.executable: str = executable()
        self.sock, theirs = connection()
        try:
            self.process = _Spawned("template", theirs, lifeline)
        except BaseException:
            self.sock.close()
            raise
        finally:
            theirs.close()

    def prepare(self) -> None:
        """Let it prepare for what travels by value, before it forks the first worker."""
        from .._transport.protocol import PREPARE, make_request

        self.by_value = True
        with contextlib.suppress(OSError):  # it has ended: the next read of its socket tells
            self.sock.sendall(make_request(PREPARE, 0))

    def after_fork_in_child(self) -> None:
        """Forget it: this is a fork of its parent."""
        self.sock.close()
        self.process.after_fork_in_child()
        self.lifeline.close()

    def end(self) -> None:
        """End it; it has no workers yet."""
        self.process.kill()
        self.process.wait()
        self.sock.close()
        self.lifeline.close()


# A template that was started ahead of the pool that will use it.
_ahead: list[Boot] = []


def begin(start_method: str | None) -> Boot | None:
    """Start a template if that is how workers begin; `take` gives it to a pool."""
    if (start_method or default_start_method()) == "forkserver" and not _ahead:
        with contextlib.suppress(OSError):  # the pool tries again, and says what is wrong
            _ahead.append(Boot(Lifeline()))
            return _ahead[0]
    return None


def take(lifeline: Lifeline | None) -> Boot:
    """Return a template that nobody uses yet, on `lifeline` if there is one already."""
    if _ahead and lifeline is None:
        boot = _ahead.pop()
        if boot.executable == executable():
            return boot
        boot.end()  # another one was chosen since
    return Boot(lifeline or Lifeline())


def _end_ahead() -> None:
    while _ahead:
        _ahead.pop().end()


def _abandon_ahead() -> None:
    while _ahead:
        _ahead.pop().after_fork_in_child()


atexit.register(_end_ahead)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_ahead)
