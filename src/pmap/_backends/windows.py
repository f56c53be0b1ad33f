"""Worker processes on Windows: how they are started and ended.

Each worker is in a job object of its own, which only the caller has open. Processes that the worker
starts are in the job, too. When the caller closes the job, or ends for whatever reason, Windows
ends all processes in the job. On POSIX, process groups and the lifeline do the same.

A worker gets a copy of its socket through its standard input. No other process can use that copy,
because it is made for the process id of the worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import msvcrt
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from .._transport import journal, named_memory
from .boot import Start, freeze_support_pipe, is_frozen

if TYPE_CHECKING:
    from .._transport.light_stdlib import socket

assert sys.platform == "win32"

# The exit code of a worker process that pmap has ended.
_ENDED: Final = 1
# A worker that has closed its socket may be about to end with an exit code of its own, and gets
# this many seconds for that.
_LAST_MOMENT: Final = 1.0
# Constants of the Windows API, with the names that they have there.
_JOB_OBJECT_EXTENDED_LIMIT_INFORMATION: Final = 9
_JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE: Final = 0x2000


class _BasicLimits(ctypes.Structure):
    """The Windows structure JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("times", ctypes.c_int64 * 2),
        ("flags", ctypes.c_uint32),
        ("working_set", ctypes.c_size_t * 2),
        ("processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("classes", ctypes.c_uint32 * 2),
    )
    flags: int


class _Limits(ctypes.Structure):
    """The Windows structure JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", _BasicLimits),
        ("counters", ctypes.c_uint64 * 6),
        ("memory", ctypes.c_size_t * 4),
    )
    basic: _BasicLimits


def _kernel() -> ctypes.WinDLL:
    kernel = ctypes.WinDLL("kernel32")
    handle, number = ctypes.c_void_p, ctypes.c_uint32
    kernel.CreateJobObjectW.restype = handle
    kernel.CreateJobObjectW.argtypes = [handle, handle]
    kernel.SetInformationJobObject.argtypes = [handle, ctypes.c_int, handle, number]
    kernel.AssignProcessToJobObject.argtypes = [handle, handle]
    kernel.TerminateJobObject.argtypes = [handle, number]
    kernel.CloseHandle.argtypes = [handle]
    return kernel


class Job:
    """A job object: its processes end together, at the latest when this process ends."""

    def __init__(self) -> None:
        """Make a job without a process; if there is no memory for it, the object does nothing."""
        self._kernel = _kernel()
        # No child process inherits the handle of the job, so only this process has the job open.
        self._handle: int | None = self._kernel.CreateJobObjectW(None, None)
        limits = _Limits()
        limits.basic.flags = _JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        if self._handle is not None:
            self._kernel.SetInformationJobObject(
                self._handle,
                _JOB_OBJECT_EXTENDED_LIMIT_INFORMATION,
                ctypes.byref(limits),
                ctypes.sizeof(limits),
            )

    def add(self, process: int) -> bool:
        """Put the process with the handle `process` into the job, and all that it starts later.

        Return False if Windows refuses: this program may be in a job that allows no other jobs.
        """
        return self._handle is not None and bool(
            self._kernel.AssignProcessToJobObject(self._handle, process)
        )

    def end(self) -> None:
        """End all processes in the job."""
        if self._handle is not None:
            self._kernel.TerminateJobObject(self._handle, _ENDED)

    def close(self) -> None:
        """Close the job, which ends all processes in it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._kernel.CloseHandle(handle)

    def __del__(self) -> None:
        # If an exception has interrupted the start of a worker, no other code closes the job.
        self.close()


class WindowsProcess:
    """A worker process that was started on Windows; it has the methods of `launch.Handle`."""

    failure = ""
    hopeless = False
    sentinel: int | None = None  # the end of the process shows at its socket

    def __init__(self, program: str, popen: subprocess.Popen[bytes], job: Job) -> None:
        self.pid: int | None = popen.pid
        self._program = program
        self._popen = popen
        self._job = job
        self._was_ended = False

    def set_pid(self, pid: int) -> None:
        """Do nothing, because the process id is known."""

    def kill(self) -> None:
        """End the process, and all processes that it has started."""
        self._was_ended = True
        self._job.end()
        # PermissionError means that the process is ending already. It is ended as well as the job,
        # because Windows may have refused to put it into the job.
        with contextlib.suppress(PermissionError):
            self._popen.kill()

    def abort(self) -> None:
        """End the process. Windows has no signal at which the process could write its stack."""
        self.kill()

    def terminate(self) -> None:
        """End the process. Windows has no signal that asks a process to end by itself."""
        self.kill()

    def reap(self) -> tuple[bool, int | None]:
        """End the process and all that it has started; return True and the exit code."""
        if not self._was_ended:
            # Either the process has closed its socket because it is ending; then it has an exit
            # code of its own. Or an item has closed the socket, and the process goes on.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_LAST_MOMENT)
        self.kill()
        code = self._popen.wait()
        self._job.close()
        return True, code

    def is_surely_python(self) -> bool:
        """Return whether the process runs the interpreter that runs this program."""
        name = os.path.basename(self._program).lower()
        return self._program in (sys.executable, _base_executable()) and name.startswith("python")

    def release(self) -> None:
        """Do nothing, because there is no descriptor to close."""

    def abandon(self) -> None:
        """End the process."""
        self.reap()

    def after_fork_in_child(self) -> None:
        """Do nothing: Windows has no forks."""


def _base_executable() -> object:
    # In a virtual environment `sys.executable` is a small program, which starts the real
    # interpreter as another process. This attribute is the path of the real interpreter. It has no
    # public name; `multiprocessing` uses it, too.
    return getattr(sys, "_base_executable", sys.executable)


def start(sock: socket) -> WindowsProcess:
    """Start a fresh Python as a worker that is connected by the socket `sock`.

    If this program is frozen, start it anew; `freeze_support` makes a worker of it.
    """
    with freeze_support_pipe() as pipe:
        if pipe < 0:
            return _started(sock, -1)
        # The worker inherits this handle, and no other one besides those of the standard streams. A
        # program that another thread starts meanwhile may inherit it, too, which does no harm: the
        # pipe has nothing secret in it, and nobody waits for its end.
        handle = msvcrt.get_osfhandle(pipe)
        os.set_handle_inheritable(handle, True)
        return _started(sock, handle)


def _started(sock: socket, pipe: int) -> WindowsProcess:
    begin = Start("worker", -1, -1, os.getpid(), pipe)
    command, environment = begin.command, begin.environment
    base = _base_executable()
    if (
        command[0] == sys.executable
        and isinstance(base, str)
        and base != sys.executable
        and not is_frozen()
    ):
        # The real interpreter has to be the child itself, because the socket is copied for the
        # child only. Through this variable the interpreter finds the virtual environment.
        command = [base, *command[1:]]
        environment["__PYVENV_LAUNCHER__"] = sys.executable
    job = Job()
    startup = subprocess.STARTUPINFO()
    if pipe >= 0:
        startup.lpAttributeList = {"handle_list": [pipe]}
    popen = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        env=environment,
        startupinfo=startup,
        # In a process group of its own, the worker and what it starts get no Ctrl-C of the console.
        creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
    )
    try:
        # The worker waits for its socket, so it has not started any process that would be outside
        # the job. If this process ends before it adds the worker to the job, the worker reads the
        # end of its input, and ends.
        job.add(int(getattr(popen, "_handle")))  # noqa: B009  # typeshed does not have it
        assert popen.stdin is not None
        # OSError means that the new process has ended, or does not read its input. The exit code
        # tells that later.
        with contextlib.suppress(OSError), popen.stdin as stdin:
            stdin.write(sock.share(popen.pid))
    except BaseException:
        popen.kill()
        raise
    return WindowsProcess(command[0], popen, job)


def send_journal(sock: socket) -> journal.ResultJournal | None:
    """Make a result journal, send the name of its memory to the new worker, and return it.

    Return None if there is no memory to share.
    """
    size = journal.SIZE + journal.STACK
    made = named_memory.create(size)
    if made is None:
        sock.sendall(bytes(4))
        return None
    name, memory = made
    sock.sendall(size.to_bytes(4, "little") + name)
    return journal.ResultJournal(memory)
