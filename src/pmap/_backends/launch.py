"""How worker processes are started, killed and waited for: all code that depends on the system.

==========  ====================================================================================
spawn       starts a fresh interpreter for each worker; works on every system
forkserver  forks each worker from a prepared process, the fork server; POSIX only
fork        forks each worker from the caller; POSIX only, safe only while the caller has no other
            threads
==========  ====================================================================================

The default is forkserver on Linux, where forkserver is both safe and fastest. On other systems the
default is spawn: on macOS system libraries do not survive a fork, not even the fork of a process
that has hardly used them.
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
from .boot import Lifeline, executable, interpreter, not_standard, remedy
from .inheritance import sigint_blocked
from .poller import comes_within
from .sentinel import sentinel_of
from .small_file import small_file

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


# Whether the program was warned that workers are not forked, because the fork server has threads.
_has_warned = False
# The system may forbid this process to send signals to a worker. This process then waits at most
# this many seconds for the worker's end.
_OUT_OF_REACH = 2.0
# PF_EXITING, a flag of Linux: the kernel sets it for a process before it closes the process's
# sockets.
_EXITING = 0x4
_FEWER = "or use fewer processes"
_REFUSALS: dict[int, str] = {
    errno.EMFILE: f"raise the limit of open files (ulimit -n), {_FEWER}",
    errno.ENFILE: f"the whole machine has too many files open: close some, {_FEWER}",
    errno.EAGAIN: f"raise the limit of processes (ulimit -u, or the container's), {_FEWER}",
    errno.ENOMEM: f"free memory, {_FEWER}",
}


# The values of `OSError.errno` that mean that there is no program to start for a worker. None means
# that pmap itself has raised the OSError.
NO_PROGRAM = (None, errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR)


def refused(error: OSError) -> str:
    """Return in words why a process could not be started, and what a user can do about it.

    >>> refused(OSError(errno.ENOMEM, "No memory"))
    'the operating system refused: [Errno 12] No memory; free memory, or use fewer processes'
    """
    if error.errno is None:
        return str(error)
    advice = remedy() if error.errno in NO_PROGRAM else _REFUSALS.get(error.errno)
    return f"the operating system refused: {error}" + (f"; {advice}" if advice else "")


def warn_of_threads(count: int) -> None:
    """Warn once that workers are started as fresh interpreters, with the reason not to fork them.

    Args:
        count: how many threads the fork server has.
    """
    global _has_warned
    if _has_warned:
        return
    _has_warned = True
    # If the program turns warnings into errors, the error is dropped: it would stop the pool.
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
        """Return the user and the groups with whose rights this process runs."""
        return os.getresuid(), os.getresgid(), os.getgroups()

else:

    def identity() -> tuple[object, ...]:
        """Return the user and the groups with whose rights this process runs.

        The saved user and the saved group are left out, because the system does not tell them.
        """
        if not hasattr(os, "getuid"):
            return ()
        return os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()


def no_python(exitcode: int | None) -> str:
    """Return the message for a process that was to become a worker and ended without an answer.

    Return "" if a signal has ended the process. Then memory may have been short, say, and the next
    start may succeed.
    """
    if exitcode is None or exitcode < 0:
        return ""
    how = how_it_ended(exitcode)
    return f"{executable()!r} did not answer as a Python: it {how}. {remedy()}"


def ran_again() -> str:
    """Return the message for a process that was to become a worker and ran the user's program.

    Such a process never becomes a worker.
    """
    return f"{executable()!r} ran the program again instead of becoming a worker. {remedy()}"


def not_in_time(limit: float) -> str:
    """Return the message for a process that was to become a worker and was silent for `limit` s."""
    return f"{executable()!r} did not answer as a Python within {limit:g} s. {remedy()}"


def is_surely_python(pid: int | None, command: list[str]) -> bool:
    """Return whether a process certainly runs the same Python as this program.

    Such a process gets more time for its first message than a process that may run any program.
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
        return not os.path.exists("/proc/self") and _is_own_interpreter(command[0])


def _is_own_interpreter(program: str) -> bool:
    """Return whether `program` is the interpreter of this program itself, and not a script.

    `sys.executable` may be a script that starts the interpreter, or anything else that the program
    has put there.
    """
    try:
        with open(program, "rb") as file:
            is_script = file.read(2) == b"#!"
    except OSError:
        return False
    return (
        program == sys.executable
        and os.path.basename(program).startswith("python")
        and not is_script
    )


class Handle(Protocol):
    """A worker process that was started, with methods to watch it and to end it."""

    @property
    def pid(self) -> int | None:
        """The process id, or None while the process id is not known yet."""
        ...

    def set_pid(self, pid: int) -> None:
        """Record the process id, which the worker itself has sent in its first message."""
        ...

    @property
    def sentinel(self) -> int | None:
        """A descriptor that is readable when the process has ended; None if there is none."""
        ...

    def kill(self) -> None:
        """End the process with SIGKILL, or with TerminateProcess on Windows."""
        ...

    def abort(self) -> None:
        """End the process with SIGABRT, so that it writes its stack before it ends.

        If the system has no SIGABRT, kill the process.
        """
        ...

    def terminate(self) -> None:
        """Send the process SIGTERM, which it may handle; kill it if there is no SIGTERM."""
        ...

    def reap(self) -> tuple[bool, int | None]:
        """End the process; return whether it has certainly ended, and its exit code or None.

        The backend calls this method only for a worker that cannot go on: the backend has noticed
        the end of the process or was told of it, it has given the worker up, or the pool ends.
        """
        ...

    @property
    def failure(self) -> str:
        """The reason why the process could not be started, in words; "" if it was started."""
        ...

    @property
    def hopeless(self) -> bool:
        """Whether every other process would fail to start, for the same reason."""
        ...

    def is_surely_python(self) -> bool:
        """Return whether the process certainly runs the same Python as this program."""
        ...

    def release(self) -> None:
        """Close the descriptor that shows the end of the process."""
        ...

    def after_fork_in_child(self) -> None:
        """Forget the process: this process is a fork of its parent, and cannot wait for it."""
        ...

    def abandon(self) -> None:
        """End the process, but do not close its descriptor, which the program may have closed."""
        ...


class StartedProcess(NamedTuple):
    """A worker process that was started, and how the caller reaches it.

    `sock` is the caller's end of the worker's socket. `handle` ends the process. `journal` is
    memory that the worker shares with the caller, and in which the worker notes results; None if
    there is no such memory.
    """

    sock: socket
    handle: Handle
    journal: journal.ResultJournal | None


class _Child:
    """A worker process that is a child of the caller: started by spawn or by fork."""

    failure = ""
    hopeless = False

    def __init__(
        self, pid: int, popen: "subprocess.Popen[bytes] | None", lifeline: Lifeline
    ) -> None:
        self._lifeline = lifeline
        self.pid: int | None = pid
        self._sentinel = sentinel_of(pid)
        self._popen = popen
        self.command: list[str] = []
        self._ended: tuple[bool, int | None] | None = None

    @property
    def sentinel(self) -> int | None:
        return None if self._sentinel is None else self._sentinel.fd

    def set_pid(self, pid: int) -> None:
        pass

    def kill(self) -> None:
        if self._ended is None:
            if hasattr(os, "killpg"):
                if not kill_group(self.pid or 0) and is_alive(self.pid):
                    # The caller was root when it started the worker, and is not root any more, so
                    # it may not send the worker a signal. But all workers that watch the lifeline,
                    # a pipe, end when the caller closes its end of the pipe.
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
            # If the process has closed its socket and goes on, it is not a worker any more, so it
            # is killed. If the process is just ending, the signal comes too late to change its exit
            # code.
            self.kill()
            self._ended = True, self._wait()
        return self._ended

    def _wait(self) -> int | None:
        if self._lifeline.closed and not self._ends_soon():
            # This process may not send a signal to the worker. The worker ends by itself when it
            # reads the end of its socket.
            return None
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid or 0, os.WEXITED | os.WNOWAIT)
                # The worker may have left processes of its own, which are in its process group. The
                # worker's exit code has not been read yet, so no other group can have this number.
                kill_group(self.pid or 0)
        if self._popen is not None:
            return self._popen.wait()
        try:
            _, status = os.waitpid(self.pid or 0, 0)
        # ChildProcessError means that other code of the program has waited for the worker, or that
        # the program ignores SIGCHLD.
        except ChildProcessError:
            return None
        return os.waitstatus_to_exitcode(status)

    def _ends_soon(self) -> bool:
        """Return whether the process ends within `_OUT_OF_REACH` seconds.

        Return True if that is unknown.
        """
        return self.sentinel is None or comes_within(_OUT_OF_REACH, self.sentinel)

    def is_surely_python(self) -> bool:
        return self._popen is not None and is_surely_python(self.pid, self.command)

    def release(self) -> None:
        sentinel, self._sentinel = self._sentinel, None
        if sentinel is not None:
            sentinel.close()

    def abandon(self) -> None:
        sentinel, self._sentinel = self._sentinel, None
        if sentinel is not None:
            sentinel.abandon()
        self.reap()

    def after_fork_in_child(self) -> None:
        sentinel, self._sentinel = self._sentinel, None
        if sentinel is not None:
            sentinel.after_fork_in_child()
        if self._popen is not None:
            self._popen.returncode = 0


def is_alive(pid: int | None) -> bool:
    """Return whether a process certainly lives and is not ending; False if nothing is certain."""
    return _is_ending(pid) is False


def has_ended(pid: int | None) -> bool:
    """Return whether a process certainly has ended or is ending; False if nothing is certain."""
    return _is_ending(pid) is True


def _is_ending(pid: int | None) -> bool | None:
    """Return whether a process has ended or is ending; None if nothing is certain."""
    if pid is None:
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return bool(int(stat.read().rpartition(b")")[2].split()[6]) & _EXITING)
    except (FileNotFoundError, ProcessLookupError):
        # Some systems have no /proc.
        return True if os.path.exists("/proc/self/stat") else None
    except (OSError, IndexError, ValueError):
        return None


def leave_no_core(pid: int) -> None:
    """Keep the process `pid` from writing a core file when pmap ends it by SIGABRT."""
    with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):
        import resource

        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def start_spawn(sock: socket, lifeline: Lifeline) -> Handle:
    """Start a fresh Python as a worker that is connected by the socket `sock`."""
    if sys.platform == "win32":
        from .windows import start

        return start(sock)
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
    """Fork the caller; the new process becomes a worker that is connected by the socket `sock`.

    Args:
        sock: the worker's end of the socket pair.
        theirs: the caller's end of the pair; the fork closes its copy of this end.
        lifeline: the pipe that tells the worker that the caller has ended.
        initializer: the initializer and its arguments; the fork inherits them. None if there is
            none, or if it is sent in a message.
    """
    # Only the start method fork needs these imports. They come before the fork: a worker that
    # changes its user may not be able to read the files.
    import fcntl  # noqa: F401  # pyright: ignore[reportUnusedImport]

    from .._worker import startup

    for stream in (sys.stdout, sys.stderr):
        # Both processes would write the text that waits in the stream's buffer, so the buffer is
        # emptied before the fork. An exception means that the stream is None or closed.
        with contextlib.suppress(Exception):
            stream.flush()
    # A forked process closes the caller's descriptor of the lifeline first, so the worker needs a
    # copy of its own.
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
    """Make the memory of a result journal, and send it to the new worker through `sock`.

    Return the journal. Return None if no memory can be shared: then the worker sends each result in
    a message of its own.
    """
    if sys.platform == "win32":
        from .windows import send_journal

        return send_journal(sock)
    size = journal.SIZE + journal.STACK
    fd = small_file()
    memory: mmap.mmap | None = None
    try:
        if fd >= 0:
            # OSError means that the memory cannot be made: the system has none left, or forbids
            # files of this size.
            with contextlib.suppress(OSError):
                os.ftruncate(fd, size)
                memory = mmap.mmap(fd, size)
        if memory is None:
            sock.sendall(bytes(4))
            return None
        # A crashing worker writes its stack at the position of the file, so this position is set
        # behind the results.
        os.lseek(fd, journal.SIZE, os.SEEK_SET)
        # macOS may close a file that is referred to only by descriptors on their way to another
        # process. The mapping keeps a descriptor of the file, so the file stays open until the
        # worker has received its own.
        send_with_fds(sock, size.to_bytes(4, "little"), [fd])
        return journal.ResultJournal(memory)
    finally:
        if fd >= 0:
            os.close(fd)
