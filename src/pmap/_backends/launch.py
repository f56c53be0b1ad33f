"""How worker processes are started, killed and reaped: all that depends on the platform.

==========  ==========================================================================
spawn       a fresh interpreter for each worker; works everywhere
forkserver  a fork of a prepared template (`template_client`); POSIX
fork        a fork of this very process; POSIX, and only safe while it has no threads
==========  ==========================================================================

The default is forkserver on Linux, where it is both safe and fastest, and spawn elsewhere: on macOS
system libraries do not survive a fork, not even one of a process that hardly used them.
"""

import contextlib
import errno
import mmap
import os
import sys
import warnings
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .._errors import how_it_ended
from .._transport import journal
from .._transport.light_stdlib import send_with_fds, signal, socket
from .._worker.template import kill_group
from .boot import Lifeline, executable, interpreter, not_standard, remedy, sigint_blocked
from .poller import comes_within

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


_has_warned = False  # of a template with threads
_OUT_OF_REACH = 2.0  # seconds for the end of a process that this one may not end
_EXITING = 0x4  # PF_EXITING of Linux, set before a process that ends loses its sockets
_FEWER = "or use fewer processes"
_REFUSALS: dict[int, str] = {
    errno.EMFILE: f"raise the limit of open files (ulimit -n), {_FEWER}",
    errno.ENFILE: f"the whole machine has too many files open: close some, {_FEWER}",
    errno.EAGAIN: f"raise the limit of processes (ulimit -u, or the container's), {_FEWER}",
    errno.ENOMEM: f"free memory, {_FEWER}",
}


# What says that there is no program to start. None: we say so ourselves.
NO_PROGRAM = (None, errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR)


def refused(error: OSError) -> str:
    """Return in words why a process could not be started, and what helps.

    >>> refused(OSError(errno.ENOMEM, "No memory"))
    'the operating system refused: [Errno 12] No memory; free memory, or use fewer processes'
    """
    if error.errno is None:
        return str(error)
    advice = remedy() if error.errno in NO_PROGRAM else _REFUSALS.get(error.errno)
    return f"the operating system refused: {error}" + (f"; {advice}" if advice else "")


def warn_of_threads(count: int) -> None:
    """Say once that workers are not forked, which takes longer, and why."""
    global _has_warned
    if _has_warned:
        return
    _has_warned = True
    # Where warnings are errors, this one is dropped: an exception here would stop the pool.
    with contextlib.suppress(RuntimeWarning):
        warnings.warn(
            f"workers are started as fresh interpreters and not forked, which would be faster: the "
            f"process to fork has {count} threads, whose locks a fork could leave held. Something "
            "starts them with each Python (sitecustomize, a .pth file) or is imported by it. "
            "start_method='spawn' does the same without this warning",
            RuntimeWarning,
            stacklevel=2,
        )


if hasattr(os, "getresuid"):

    def identity() -> tuple[object, ...]:
        """Return as whom this process runs: user, group and other groups."""
        return os.getresuid(), os.getresgid(), os.getgroups()

else:

    def identity() -> tuple[object, ...]:
        """Return the same, where the system does not tell of saved users and groups."""
        if not hasattr(os, "getuid"):
            return ()
        return os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()


def no_python(exitcode: int | None) -> str:
    """Return in words that what was started ended and never was a Python of ours.

    Nothing where it was killed: by a lack of memory, say, and another one may start.
    """
    if exitcode is None or exitcode < 0:
        return ""
    how = how_it_ended(exitcode)
    return f"{executable()!r} did not answer as a Python: it {how}. {remedy()}"


def ran_again() -> str:
    """Return in words that what was started ran the program, and did not become a worker."""
    return f"{executable()!r} ran the program again instead of becoming a worker. {remedy()}"


def not_in_time(limit: float) -> str:
    """Return in words that what was started said nothing for so many seconds."""
    return f"{executable()!r} did not answer as a Python within {limit:g} s. {remedy()}"


def is_surely_python(pid: int | None, command: list[str]) -> bool:
    """Return whether a process is known to be the very interpreter that runs this program.

    One that starts slowly gets more time than what may be anything.
    """
    try:
        program = os.readlink(f"/proc/{pid}/exe")
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            its = line.read()
        return (
            program == os.readlink("/proc/self/exe")
            and os.path.basename(program).startswith("python")
            and its == b"".join([os.fsencode(one) + b"\0" for one in command])
        )
    except OSError:
        return False


class Handle(Protocol):
    """A started worker process, to be watched and ended."""

    @property
    def pid(self) -> int | None:
        """Its process id, or None while that is not known yet."""
        ...

    def set_pid(self, pid: int) -> None:
        """Note the process id that the worker itself tells."""
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

    def terminate(self) -> None:
        """Send it SIGTERM, which it may handle; or end it as `kill` does."""
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

    @property
    def hopeless(self) -> bool:
        """Whether no other one could be started for the same reason."""
        ...

    def is_surely_python(self) -> bool:
        """Return whether it is known to be the interpreter that runs this program."""
        ...

    def release(self) -> None:
        """Give back the sentinel."""
        ...

    def after_fork_in_child(self) -> None:
        """Forget the process: this one is a fork of its parent."""
        ...

    def abandon(self) -> None:
        """End the process, without the sentinel: the program may have closed that."""
        ...


class StartedProcess(NamedTuple):
    """A worker process that was started, and how it is reached.

    `sock`: our end of its socket. `journal`: the memory that is shared with it, if there is any.
    """

    sock: socket
    handle: Handle
    journal: journal.ResultJournal | None


class _Child:
    """A child process of this one."""

    failure = ""
    hopeless = False

    def __init__(
        self, pid: int, popen: "subprocess.Popen[bytes] | None", lifeline: Lifeline
    ) -> None:
        self._lifeline = lifeline
        self.pid: int | None = pid
        self.sentinel = _pidfd(pid)
        self._popen = popen
        self.command: list[str] = []
        self._ended: tuple[bool, int | None] | None = None

    def set_pid(self, pid: int) -> None:
        pass

    def kill(self) -> None:
        if self._ended is None:
            if hasattr(os, "killpg"):
                if not kill_group(self.pid or 0) and is_alive(self.pid):
                    # This process was root when it started it, and is not any more. The kernel may
                    # still end it: with all others that were started by then.
                    self._lifeline.close()
            elif self._popen is not None:
                self._popen.kill()

    def abort(self) -> None:
        if self._ended is None and self.pid is not None and hasattr(signal, "SIGABRT"):
            leave_no_core(self.pid)
            self._signal(signal.SIGABRT)

    def terminate(self) -> None:
        if self._ended is None and self.pid is not None:
            self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        try:
            os.kill(self.pid or 0, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            self.kill()

    def reap(self) -> tuple[bool, int | None]:
        if self._ended is None:
            # A process that closed its socket but lives on is not a worker any more. One that is
            # ending keeps the exit code it had: the signal comes too late to change it.
            self.kill()
            self._ended = True, self._wait()
        return self._ended

    def _wait(self) -> int | None:
        if self._lifeline.closed and not self._ends_soon():
            return None  # it is out of reach; it ends when it sees that its socket has
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid or 0, os.WEXITED | os.WNOWAIT)
                kill_group(self.pid or 0)  # what it left behind, while its id is its own
        if self._popen is not None:
            return self._popen.wait()
        try:
            _, status = os.waitpid(self.pid or 0, 0)
        except ChildProcessError:  # somebody else reaped it, or SIGCHLD is ignored
            return None
        return os.waitstatus_to_exitcode(status)

    def _ends_soon(self) -> bool:
        """Return whether it ends before anybody would take the wait for it for a hang."""
        return self.sentinel is None or comes_within(_OUT_OF_REACH, self.sentinel)

    def is_surely_python(self) -> bool:
        return self._popen is not None and is_surely_python(self.pid, self.command)

    def release(self) -> None:
        if self.sentinel is not None:
            os.close(self.sentinel)
            self.sentinel = None

    def abandon(self) -> None:
        self.sentinel = None
        self.reap()

    def after_fork_in_child(self) -> None:
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
    except (OSError, AttributeError):  # an interpreter may be built for older systems
        return None


def is_alive(pid: int | None) -> bool:
    """Return whether a process is known to live and not to be ending; only Linux tells."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            flags = int(stat.read().rpartition(b")")[2].split()[6])
    except (OSError, IndexError, ValueError):
        return False
    return not flags & _EXITING


def leave_no_core(pid: int) -> None:
    """Let a process that we end leave no core file: nothing is wrong with the interpreter."""
    with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):
        import resource

        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def start_spawn(sock: socket, lifeline: Lifeline) -> Handle:
    """Start a fresh interpreter as a worker on `sock`."""
    popen, command = interpreter(sock, lifeline)
    child = _Child(popen.pid, popen, lifeline)
    child.command = command
    return child


def start_fork(
    sock: socket,
    theirs: socket,
    lifeline: Lifeline,
    initializer: "tuple[Callable[..., object], tuple[object, ...]] | None",
) -> Handle:
    """Fork this process into a worker on `sock`; `theirs` is the end that the caller keeps."""
    # Only here, before the fork, and not with this module: no other way to start needs it. All of
    # it now: a process that has become another user's may not find it later.
    import fcntl  # noqa: F401  # pyright: ignore[reportUnusedImport]

    from .._worker import startup

    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # None or closed; else the child would write it again
            stream.flush()
    # A copy: what is the caller's own, a fork closes before anything else.
    own = not_standard(os.dup(lifeline.end)) if lifeline.end >= 0 else -1
    try:
        with sigint_blocked():
            pid = os.fork()
            if pid == 0:
                theirs.close()
                startup.enter_forked(sock, own, initializer)
    finally:
        if own >= 0:
            os.close(own)
    return _Child(pid, None, lifeline)


def send_journal(sock: socket) -> journal.ResultJournal | None:
    """Send a worker-to-be the memory to share with it, and return it; None if there is none.

    Without it each result is a message of its own.
    """
    size = journal.SIZE + journal.STACK
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
        os.lseek(fd, journal.SIZE, os.SEEK_SET)  # where a crashing worker writes its stack
        send_with_fds(sock, size.to_bytes(4, "little"), [fd])
        return journal.ResultJournal(memory)
    finally:
        if fd >= 0:
            os.close(fd)
