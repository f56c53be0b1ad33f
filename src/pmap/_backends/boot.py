"""Starts a fresh interpreter, which becomes a worker process or the fork server.

While the fork server starts on another processor, the caller imports the code of the pool (see the
module `first_call`). So this module imports only what the start of a process needs. `subprocess` is
imported in the functions that use it, because that import takes a third of the time in which an
interpreter starts.
"""

import atexit
import contextlib
import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

from .._transport.light_stdlib import SOL_SOCKET, signal, socket, socketpair
from .._transport.started import FOR_FREEZE_SUPPORT, FROZEN, depth, marked
from .inheritance import inherited_descriptors, sigint_blocked
from .start_method import default_start_method

if TYPE_CHECKING:
    import subprocess

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CODE = (
    "import sys; p = type(sys)('pmap'); p.__path__ = [sys.argv[1]]; "
    "sys.modules['pmap'] = p; from pmap._worker.startup import main; "
    "main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))"
)
# Linux starts no program if a variable of its environment has this many bytes. On a system without
# `os.sysconf` this number is also the limit for all environment variables together.
_LONGEST = 1 << 17
# SO_COOKIE, a socket option of Linux without a name in Python. To read it changes nothing.
_SO_COOKIE = 57


class Lifeline:
    """A pipe that tells worker processes that the caller has ended, whatever has ended it.

    Nothing is written to the pipe. Only the caller has the writing end, which the kernel closes
    when the caller ends. Workers watch the reading end, `end` (see the module `startup`): they end
    when the writing end is closed. If the caller forks, the forked process closes its copies of
    both ends. Otherwise the pipe would stay open, and the workers would live, until the forked
    process has ended, too.
    """

    end = -1
    closed = False
    _ours = -1
    _inodes = -1, -1

    def __init__(self) -> None:
        """Open the pipe; on Windows there is none, because no child inherits a descriptor there."""
        if sys.platform != "win32":
            end, self._ours = os.pipe()
            self.end = not_standard(end)
            # The inodes of both ends are kept, because on macOS the two ends have different inodes.
            self._inodes = inode_of(self.end), inode_of(self._ours)

    def close(self) -> None:
        """Close both ends of the pipe; workers that still watch the pipe end then."""
        self.closed = True
        ends = self.end, self._ours
        self.end = self._ours = -1
        for end, inode in zip(ends, self._inodes, strict=True):
            # If the inode is another one, the program has closed this end, and has opened another
            # file that has the same number.
            if end >= 0 and inode_of(end) == inode:
                os.close(end)

    def __del__(self) -> None:
        # If the start of a process has failed, only this method closes the pipe.
        self.close()


def inode_of(fd: int) -> int:
    """Return the inode behind an open descriptor, or -1 if the descriptor is not open.

    Each socket and each pipe has an inode of its own, so the inode tells them apart.
    """
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return -1


def mark_of(sock: "socket") -> object:
    """Return a value that identifies the open file behind a socket's descriptor.

    If the program closes the descriptor, its number may go to another file, and then the value
    differs. On Linux the value is the socket's cookie (SO_COOKIE), a number that the kernel gives
    to no other socket. To read the cookie takes less than half the time of reading an inode.
    """
    try:
        if sys.platform == "win32":
            # Windows has no inodes for sockets. The address identifies the socket, because no other
            # open socket has the same address.
            return sock.getsockname()
        return sock.getsockopt(SOL_SOCKET, _SO_COOKIE, 8)
    except OSError:  # the descriptor is no socket any more, or has no cookie
        return -1 if sys.platform == "win32" else inode_of(sock.fileno())


def release(sock: "socket", mark: object) -> None:
    """Close `sock`, unless its descriptor belongs to another file by now.

    `mark` is what `mark_of` returned earlier. If `mark_of` returns another value now, the
    descriptor belongs to another file, and `sock` only forgets its number.
    """
    if mark_of(sock) == mark:
        sock.close()
    else:
        sock.detach()


_kept: list[object] = []


def keep(what: object) -> None:
    """Keep an object until the process ends, so that the object never closes its descriptor.

    The program has closed that descriptor, so the number may belong to another open file now.
    """
    _kept.append(what)


def not_standard(fd: int) -> int:
    """Return `fd`; if `fd` is 0, 1 or 2, close it and return a copy with a higher number.

    A new descriptor gets one of these numbers if the program has closed a standard stream. In a
    child process these numbers belong to the standard streams, so the child could not inherit the
    descriptor under them.
    """
    if not 0 <= fd < 3 or sys.platform == "win32":
        return fd
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def connection() -> "tuple[socket, socket]":
    """Return two connected sockets: one for the caller, one for a child process to inherit."""
    ours, theirs = socketpair()
    if theirs.fileno() < 3:
        theirs = socket(fileno=not_standard(theirs.detach()))
    for end in (ours, theirs):
        end.setblocking(True)  # blocks, even if the program has set a default timeout for sockets
    return ours, theirs


def interpreter(
    sock: "socket", lifeline: Lifeline, kind: str = "worker"
) -> "tuple[subprocess.Popen[bytes], list[str]]":
    """Start a Python as a worker with the socket `sock`; return the process and its command.

    `kind`: "template" starts a fork server instead.
    """
    import subprocess

    with freeze_support_pipe() as pipe:
        fds = [fd for fd in (sock.fileno(), lifeline.end, pipe) if fd >= 0]
        inode = os.fstat(sock.fileno()).st_ino
        start = Start(kind, sock.fileno(), lifeline.end, inode, pipe)
        with sigint_blocked():
            popen = subprocess.Popen(
                start.command, pass_fds=fds, stdin=subprocess.DEVNULL, env=start.environment
            )
        return popen, start.command


# The seed of the hashes of strings. All workers that are fresh interpreters get this seed, as all
# forked workers have the caller's. The caller's cannot be read, unless PYTHONHASHSEED has set it.
_hash_seed = str(int.from_bytes(os.urandom(4), "little"))


class Start:
    """The command line and the environment with which a worker or a fork server is started."""

    def __init__(self, kind: str, fd: int, lifeline: int, inode: int, pipe: int) -> None:
        """Make the command and the environment.

        Args:
            kind: what the process is to become: "worker" or "template".
            fd: the number that the socket's descriptor has in the new process.
            lifeline: the number that the lifeline's descriptor has in the new process, or -1.
            inode: the inode of the socket.
            pipe: the number that the pipe for `freeze_support` has in the new process (on Windows
                its handle); -1 if this program is not frozen.
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
    """Return the path of the Python that `multiprocessing` would start for a worker, or ""."""
    spawn = sys.modules.get("multiprocessing.spawn")
    found: object = sys.executable if spawn is None else spawn.get_executable()
    return os.fsdecode(found) if isinstance(found, str | bytes) else ""


def remedy() -> str:
    """Return advice for the user, for the case that `executable` names no Python."""
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
    """Return whether this program is frozen: an executable with Python in it that takes no ``-c``.

    The attribute `sys.frozen` alone does not prove it: a test may set the attribute while a normal
    Python runs.
    """
    return bool(getattr(sys, "frozen", False)) and not os.path.basename(executable()).startswith(
        "python"
    )


@contextlib.contextmanager
def freeze_support_pipe() -> Generator[int, None, None]:
    """Yield the end of a pipe that tells a frozen child its role; -1 if this one is not frozen."""
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
    """Return the environment variables with which a new process can be started.

    A worker gets all variables later, through its socket, and those that an interpreter needs while
    it starts are short. So if the variables have too many bytes, the longest are left out.
    """
    most = os.sysconf("SC_ARG_MAX") // 2 if hasattr(os, "sysconf") else _LONGEST
    sizes = {name: len(name) + len(os.fsencode(value)) for name, value in environment.items()}
    if sum(sizes.values()) < _LONGEST // 4:  # usually the environment is small enough
        return environment
    sent: dict[str, str] = {}
    total = 0
    for name in sorted(sizes, key=sizes.__getitem__):
        total += sizes[name] + 16  # the kernel adds "=", a zero byte and a pointer
        if sizes[name] >= _LONGEST - 16 or total > most:
            break
        sent[name] = environment[name]
    return sent


def interpreter_flags() -> list[str]:
    """Return the options of the command line that started this interpreter, such as -X and -W."""
    flags = sys.flags
    asked = (
        *(flags.debug, flags.optimize, flags.no_site, flags.verbose, flags.bytes_warning),
        *(flags.quiet, flags.isolated, flags.ignore_environment, flags.no_user_site),
        *(flags.dev_mode, sys.warnoptions, sys._xoptions),
    )
    found: list[str] = []
    if any(asked):
        import subprocess

        # `multiprocessing` uses this private function of `subprocess`, too; type checkers do not
        # know it.
        found += getattr(subprocess, "_args_from_interpreter_flags")()  # noqa: B009
    # `_args_from_interpreter_flags` leaves out -u, most -X options, and -B if the program itself
    # has set it.
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
    """A child process that was started by `posix_spawn`, until its exit code has been read."""

    _over = True  # whether no child is left to be waited for

    def __init__(self, kind: str, sock: "socket", lifeline: Lifeline) -> None:
        """Start a worker or a fork server, as `kind` says, connected by the socket `sock`.

        The process inherits the socket, the lifeline, the pipe for `freeze_support` if this program
        is frozen, and the standard streams, and no other descriptor. Its stdin is empty.
        """
        self.exitcode: int | None = None
        inherited = inherited_descriptors()
        if max(inherited, default=0) >= os.sysconf("SC_OPEN_MAX"):
            # The program has lowered its limit below a descriptor that it has. `posix_spawn` cannot
            # close such a descriptor in the child; `subprocess` can.
            popen, self.command = interpreter(sock, lifeline, kind)
            popen.returncode = 0  # this object waits for the child, so `popen` must not
            self.pid = popen.pid
            self._over = False
            return
        with freeze_support_pipe() as pipe:
            self._start(kind, [sock.fileno(), lifeline.end, pipe], inherited)

    def _start(self, kind: str, ours: list[int], inherited: list[int]) -> None:
        # In the child, the descriptors get numbers that none of the originals has, so no original
        # is overwritten before it is copied. Only the copies are inheritable: a program that
        # another thread starts meanwhile does not inherit the originals.
        free = [number for number in range(3, 9) if number not in ours]
        theirs = [free.pop(0) if fd >= 0 else -1 for fd in ours]
        fd, lifeline, pipe = theirs
        start = Start(kind, fd, lifeline, os.fstat(ours[0]).st_ino, pipe)
        self.command = start.command
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
            *[(os.POSIX_SPAWN_CLOSE, fd) for fd in inherited],
            *[(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in zip(ours, theirs, strict=True) if to > 0],
        ]
        # Python ignores SIGPIPE and SIGXFSZ. The child starts with the default actions of these
        # signals, like a child of `subprocess`.
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
        # If an exception has interrupted the start, no other code ends the child process.
        if not self._over:
            self.kill()
            self.wait()

    def kill(self) -> None:
        """Kill the child process, if it has not ended."""
        if not self._reaped(os.WNOHANG):
            # PermissionError means that the child belongs to another user; it ends when its socket
            # ends. No other process has the process id, because the child's exit code has not been
            # read.
            with contextlib.suppress(PermissionError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until the child process has ended."""
        self._reaped(0)

    def after_fork_in_child(self) -> None:
        """Forget the child process: this process is a fork of its parent and cannot wait for it."""
        self._over = True

    def _reaped(self, how: int) -> bool:
        if not self._over:
            try:
                pid, status = os.waitpid(self.pid, how)
                self._over = pid != 0
                if pid:
                    self.exitcode = os.waitstatus_to_exitcode(status)
            except ChildProcessError:  # other code of the program has read the exit code
                self._over = True
        return self._over


class Boot:
    """A fork server that has just been started, and the caller's end of its socket.

    Attributes:
        lifeline: the pipe that tells the fork server's workers that the caller has ended.
        by_value: whether the fork server was told to import the code for pickling by value.
        executable: the Python that the fork server runs.
    """

    def __init__(self, lifeline: Lifeline) -> None:
        self.lifeline = lifeline
        self.by_value = False
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
        """Let the fork server import the code for pickling by value before its first fork."""
        from .._transport.protocol import PREPARE, make_request

        self.by_value = True
        # OSError means that the fork server has ended; the next read of its socket notices that.
        with contextlib.suppress(OSError):
            self.sock.sendall(make_request(PREPARE, 0))

    def after_fork_in_child(self) -> None:
        """Forget the fork server: this process is a fork of its parent, and cannot wait for it."""
        self.sock.close()
        self.process.after_fork_in_child()
        self.lifeline.close()

    def end(self) -> None:
        """End the fork server, which has not forked any worker yet."""
        self.process.kill()
        self.process.wait()
        self.sock.close()
        self.lifeline.close()


# The fork server that was started before the first pool exists; there is at most one.
_ahead: list[Boot] = []


def begin(start_method: str | None) -> Boot | None:
    """Start a fork server before the first pool exists, if the start method is forkserver.

    Return None if the start method is another one, if such a fork server exists already, or if none
    can be started.
    """
    if (start_method or default_start_method()) == "forkserver" and not _ahead:
        # OSError means that the start has failed. The pool will try again and report the error.
        with contextlib.suppress(OSError):
            _ahead.append(Boot(Lifeline()))
            return _ahead[0]
    return None


def take(lifeline: Lifeline | None) -> Boot:
    """Return a fork server that no pool uses yet: the one that `begin` has started, or a new one.

    Its workers watch the pipe `lifeline`; if that is None, the pipe is a new one.
    """
    if _ahead and lifeline is None:
        boot = _ahead.pop()
        if boot.executable == executable():
            return boot
        boot.end()  # the program has chosen another Python since `begin` has started this one
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
