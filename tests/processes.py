"""Other processes: which there are, which of them are ours, and what they are at.

All of it is read from Linux's /proc; on Windows `tests.windows_processes` has it. Elsewhere there
seem to be no other processes.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from tests import windows_processes
from tests.limits import seconds

# Each program that is started below this process has this in its environment, with a value of its
# own for each run: it is known by that, whoever its parent is by now.
RUN: Final = "PMAP_TEST_RUN"
_KERNEL_THREAD: Final = 0x00200000  # PF_KTHREAD, a flag of Linux
# It lives as long as this process, by design, and whoever needs it first starts it.
_TRACKER: Final = b"from multiprocessing.resource_tracker import main"


class HasWorkers(Protocol):
    """A backend, as far as it tells of its workers."""

    def workers(self) -> dict[int, int | None]: ...


def pids_of(backend: HasWorkers) -> list[int]:
    """Return the process ids of a backend's workers, as far as they are known."""
    return [pid for pid in backend.workers().values() if pid is not None]


class Process(NamedTuple):
    """What the kernel says of a process; `pid` and `began` are of no other one ever."""

    pid: int
    began: int
    parent: int
    session: int
    state: str

    @property
    def has_ended(self) -> bool:
        """Whether it only waits for its parent to ask how it ended."""
        return self.state in "ZX"


def _process(pid: int) -> Process | None:
    # Each test looks at all processes twice: `read_text` takes four times as long.
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        try:
            stat = os.read(file, 4096)
        finally:
            os.close(file)
    except OSError:
        return None  # it ended meanwhile
    fields = stat.rpartition(b")")[2].split()
    if int(fields[6]) & _KERNEL_THREAD:
        return None  # no program started it, and it never has a command line
    return Process(pid, int(fields[19]), int(fields[1]), int(fields[3]), fields[0].decode())


def processes() -> dict[int, Process]:
    """Return all processes of the machine; on Windows those below this one."""
    if sys.platform == "win32":
        below = windows_processes.below()
        return {pid: Process(pid, began, os.getpid(), 0, "R") for pid, began in below.items()}
    names = os.listdir("/proc") if os.path.isdir("/proc/self") else []
    found = (_process(int(name)) for name in names if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def lives(pid: int) -> bool:
    """Return whether a process has not ended."""
    if sys.platform == "win32":
        return windows_processes.lives(pid)
    process = _process(pid)
    return process is not None and not process.has_ended


def descendants(of: int | None = None) -> set[int]:
    """Return the ids of all processes below `of`, this one by default; zombies count."""
    if sys.platform == "win32":
        return windows_processes.children(of or os.getpid())
    return _below(processes(), of or os.getpid())


def _below(there: dict[int, Process], top: int) -> set[int]:
    found = {top}
    while more := {p.pid for p in there.values() if p.parent in found} - found:
        found |= more
    return found - {top}


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:  # it ended, or is another user's
        return b""


def _command(process: Process) -> bytes:
    """Return the command line of a process that has not ended.

    While a process exchanges its program for another one, the kernel shows it without a command
    line and without an environment. `Popen` may return before that is over: tens of milliseconds
    before, on a busy machine. So this function waits for it.
    """
    deadline = time.monotonic() + seconds(2)
    while True:
        command = _read(process.pid, "cmdline")
        if command or not lives(process.pid) or time.monotonic() > deadline:
            return command
        time.sleep(0.001)


def our_processes(but: Iterable[tuple[int, int]] = ()) -> set[int]:
    """Return the ids of the processes that this run of the tests has started.

    They are what has this run's mark in its environment, whether it is still below this process or
    not; forks of this very process, while they are below it; and what is below one of these. What
    is below this process and none of that is another program's: of a debugger, or left to us by a
    parent that ended.

    Args:
        but: the id and the beginning of processes that are not looked at.
    """
    if sys.platform == "win32":
        return {pid for pid, _ in windows_processes.below().items() - set(but)}
    there = processes()
    passed = set(but)
    below = _below(there, os.getpid())
    mark = f"{RUN}={os.environ.get(RUN, '')}".encode()
    command = _read(os.getpid(), "cmdline")
    known: dict[int, bool] = {os.getpid(): False}

    def is_ours(process: Process) -> bool:
        answer = known.get(process.pid)
        if answer is None:
            above = there.get(process.parent) if process.pid in below else None
            answer = (above is not None and is_ours(above)) or is_itself(process)
            known[process.pid] = answer
        return answer

    def is_itself(process: Process) -> bool:
        is_child = process.parent == os.getpid()
        if process.has_ended:  # of which little is known; but nobody else will ask how it ended
            return is_child and process.session in {process.pid, os.getsid(0)}
        its_command = _command(process)
        if _TRACKER in its_command:
            return False
        if is_child and its_command == command:
            return True
        return mark in _read(process.pid, "environ").split(b"\0")

    new = [process for process in there.values() if (process.pid, process.began) not in passed]
    return {process.pid for process in new if process.pid != os.getpid() and is_ours(process)}


def describe_process(pid: int) -> str:
    """Return what there is to say of a process in one line."""
    if sys.platform == "win32":
        return windows_processes.described(pid)
    process = _process(pid)
    if process is None:
        return f"{pid} (gone)"
    command = _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
    where = _read(pid, "wchan").decode()
    if len(command) > 100:
        command = f"{command[:60]}...{command[-40:]}"
    return f"{pid} of {process.parent}, state {process.state} in {where}: {command}"


# --- the end, and last words -------------------------------------------------------------------


def end(pids: Iterable[int]) -> None:
    """Kill processes."""
    for pid in pids:
        if sys.platform == "win32":
            windows_processes.end(pid)
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end_with_stacks(pids: Iterable[int]) -> list[str]:
    """Kill processes; return for each what it was, and its stacks if it could tell.

    A worker has ``faulthandler`` on: upon SIGABRT it writes its stacks to memory that it shares
    with its caller, or to its stderr. One after another, so that it is known whose they are.
    """
    said: list[str] = []
    for pid in sorted(pids):
        description = describe_process(pid)
        if sys.platform == "win32":
            windows_processes.end(pid)
            said.append(f"process {description}")
            continue
        places = _places(pid)
        try:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGABRT)
                os.kill(pid, signal.SIGCONT)  # one that was stopped hears nothing else
            deadline = time.monotonic() + seconds(2)
            while lives(pid) and time.monotonic() < deadline:
                time.sleep(0.002)
            end([pid])
            stacks = "\n".join(filter(None, (_dump(fd, size) for fd, size in places)))
        finally:
            for fd, _ in places:
                os.close(fd)
        said.append(f"process {description}\n{stacks or '  (it did not say where it was)'}")
    return said


def _places(pid: int) -> list[tuple[int, int]]:
    """Open what a process may write its stacks to; return that, and where in it to look."""
    found: list[tuple[int, int]] = []
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for name in names:
        path = f"/proc/{pid}/fd/{name}"
        with contextlib.suppress(OSError):
            shared = os.readlink(path).startswith("/memfd:pmap")
            if shared or (name == "2" and os.path.isfile(path)):
                fd = os.open(path, os.O_RDONLY)
                found.append((fd, 0 if shared else os.fstat(fd).st_size))
    return found


def _dump(fd: int, start: int) -> str:
    size = min(os.fstat(fd).st_size - start, 16 << 20)
    data = os.pread(fd, max(size, 0), start)
    if b"(most recent call first)" not in data:
        return ""
    found = [data.find(word) for word in (b"Fatal ", b"Thread 0x", b"Current ")]
    begin = min(at for at in found if at >= 0)
    return data[begin:].partition(b"\0")[0].decode(errors="replace")
