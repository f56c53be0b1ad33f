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

from .._transport.light_stdlib import signal, socket, socketpair

if TYPE_CHECKING:
    import subprocess

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CODE = (
    "import sys; p = type(sys)('pmap'); p.__path__ = [sys.argv[1]]; "
    "sys.modules['pmap'] = p; from pmap._worker.startup import main; "
    "main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))"
)


def default_start_method() -> str:
    """Return the start method that is used when none is asked for."""
    return "forkserver" if sys.platform == "linux" else "spawn"


class Lifeline:
    """A pipe through which nothing goes: that its writing end is closed tells of the caller's end.

    The workers have the other end, see `startup`. A fork of the caller closes both, or the caller's
    end would be noticed only with its own.
    """

    end = -1
    _ours = -1

    def __init__(self) -> None:
        """Open it, where the kernel can do what `startup` asks of it."""
        if sys.platform == "linux":
            end, self._ours = os.pipe()
            self.end = not_standard(end)

    def close(self) -> None:
        """Close both ends; workers that are left are killed by it."""
        ends = self.end, self._ours
        self.end = self._ours = -1
        for end in ends:
            if end >= 0:
                os.close(end)

    def __del__(self) -> None:
        # Where starting a process failed, or was interrupted, nobody else has it.
        self.close()


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


def interpreter(sock: "socket", lifeline: Lifeline) -> "subprocess.Popen[bytes]":
    """Start a fresh interpreter that is a worker on `sock`."""
    import subprocess

    command = _command("worker")
    if sys.platform == "win32":  # a socket is no descriptor there: it is shared through stdin
        popen = subprocess.Popen([*command, "-1", "-1"], stdin=subprocess.PIPE, env=_environment())
        assert popen.stdin is not None
        with popen.stdin as stdin:
            stdin.write(sock.share(popen.pid))
        return popen
    fds = [fd for fd in (sock.fileno(), lifeline.end) if fd >= 0]
    command += [str(sock.fileno()), str(lifeline.end)]
    with sigint_blocked():
        return subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL, env=_environment())


# What makes the hashes of strings: one secret for all workers that begin as fresh interpreters, as
# forks have one. That of this process is not to be had, unless it was set.
_hash_seed = str(int.from_bytes(os.urandom(4), "little"))


def _environment() -> dict[str, str]:
    return {"PYTHONHASHSEED": _hash_seed, **os.environ}


def _command(kind: str) -> list[str]:
    program = executable()
    if not program:
        raise OSError("sys.executable is empty, so no interpreter can be started")
    return [program, *interpreter_flags(), "-P", "-c", _CODE, _PACKAGE, kind]


def executable() -> str:
    """Return the interpreter to start: ``multiprocessing.set_executable`` may have said which."""
    spawn = sys.modules.get("multiprocessing.spawn")
    chosen: str | bytes | None = getattr(spawn, "_python_exe", None)
    return os.fsdecode(chosen) if chosen else sys.executable


def interpreter_flags() -> list[str]:
    """Return the options that this interpreter was started with: -X, -W and the like."""
    flags = sys.flags
    asked = (
        *(flags.debug, flags.optimize, flags.no_site, flags.verbose, flags.bytes_warning),
        *(flags.quiet, flags.isolated, flags.ignore_environment, flags.no_user_site),
        *(flags.dev_mode, sys.warnoptions, sys._xoptions),
    )
    if not any(asked):
        return ["-B"] if flags.dont_write_bytecode else []
    import subprocess

    # Private, and what multiprocessing uses. typeshed does not know it.
    found: list[str] = getattr(subprocess, "_args_from_interpreter_flags")()  # noqa: B009
    return found


class _Spawned:
    """A process that was started, until it is waited for."""

    _over = True  # there is nothing to wait for yet

    def __init__(self, command: list[str], fds: list[int]) -> None:
        """Start `command`; the numbers under which it has `fds` are its last arguments.

        It has these and the standard streams, of which the first is empty, and nothing else.
        """
        # Numbers of their own, so that none is written over before it is copied. The copies are
        # inherited; the originals are no other program's that is started meanwhile.
        there = [number for number in range(3, 7) if number not in fds]
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
            *[(os.POSIX_SPAWN_CLOSE, fd) for fd in _inherited()],
            *[(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in zip(fds, there, strict=False)],
        ]
        numbers = [*map(str, there[: len(fds)]), "-1"]
        # As subprocess does: what this interpreter ignores is not for others to ignore.
        reset = [signal.SIGPIPE, signal.SIGXFSZ]
        with sigint_blocked():
            self.pid = os.posix_spawn(
                command[0],
                [*command, *numbers[:2]],
                _environment(),
                file_actions=actions,
                setsigdef=reset,
            )
            self._over = False

    def __del__(self) -> None:
        # Where what was to follow was interrupted, nobody else knows of it.
        if not self._over:
            self.kill()
            self.wait()

    def kill(self) -> None:
        """End it, if it has not ended."""
        if not self._reaped(os.WNOHANG):
            os.kill(self.pid, signal.SIGKILL)  # it is still ours: nobody else has its id

    def wait(self) -> None:
        """Return when it has ended."""
        self._reaped(0)

    def disown(self) -> None:
        """Forget it: this is a fork of its parent."""
        self._over = True

    def _reaped(self, how: int) -> bool:
        if not self._over:
            try:
                self._over = os.waitpid(self.pid, how)[0] != 0
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
            fds = [fd for fd in (theirs.fileno(), lifeline.end) if fd >= 0]
            self.process = _Spawned(_command("template"), fds)
        except BaseException:
            self.sock.close()
            raise
        finally:
            theirs.close()

    def prepare(self) -> None:
        """Let it prepare for what travels by value, before it forks the first worker."""
        from .._transport.protocol import PREPARE, REQUEST

        self.by_value = True
        with contextlib.suppress(OSError):  # it is gone: whoever reads its socket learns of it
            self.sock.sendall(REQUEST.pack(PREPARE, 0))

    def abandon(self) -> None:
        """Forget it: this is a fork of its parent."""
        self.sock.close()
        self.process.disown()
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
        _ahead.pop().abandon()


atexit.register(_end_ahead)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_ahead)
