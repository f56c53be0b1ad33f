"""The fork server: one prepared process without threads, from which workers are forked.

To start an interpreter takes tens of milliseconds; to fork a prepared interpreter takes one
millisecond. Unlike the caller, the fork server has no threads whose locks a fork could leave held.
If the fork server has threads all the same (a ``sitecustomize`` has started them, say), it starts a
fresh interpreter for each worker.

The fork server talks with the caller over one socket. A request is one struct; the socket of
the new worker comes with a request to fork. The answers are messages (see `framing`). When the
caller ends, by whatever signal, the fork server kills all workers, also those that are busy in
C code.
"""

from __future__ import annotations

import gc
import os
import select
import sys
import time

from .._transport.framing import frame
from .._transport.light_stdlib import receive_with_fds, signal, socket
from .._transport.protocol import (
    ABORT,
    FORK,
    IMPORT,
    PREPARE,
    REQUEST_SIZE,
    TERMINATE,
    make_crowded,
    make_exited,
    make_failed,
    make_forked,
    parse_request,
)
from .._transport.started import FOR_FREEZE_SUPPORT, FROZEN, depth, marked

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

    from .._transport.protocol import StartMessage


def serve_template(
    sock: socket,
    lifeline: int,
    enter_forked: Callable[[socket], NoReturn],
    import_script: Callable[[int], None],
    at_end: Callable[[], None] | None = None,
) -> NoReturn:
    """Serve the requests of the caller until the caller is gone; never return.

    Args:
        sock: the socket on which the requests of the caller come.
        lifeline: the reading end of a pipe that closes when the caller ends; -1: there is none.
        enter_forked: called in each forked process, with the socket of the worker to be.
        import_script: called with the descriptor of a file: see `protocol.IMPORT`.
        at_end: called when the caller needs no more workers or has ended.
    """
    children: set[int] = set()
    os.set_inheritable(sock.fileno(), False)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    # Let the end of a worker wake `select` in `_wait`, whenever it comes.
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _ignore)
    # `fcntl` is imported once here, so that the workers, which are forked later, have it.
    import fcntl  # noqa: F401  # pyright: ignore[reportUnusedImport]

    # After this call, garbage collections in workers do not touch the memory that the workers share
    # with this process, so the kernel does not copy that memory.
    gc.freeze()
    try:
        while True:
            if not _wait(sock, wake_read, children):
                continue
            request = _next_request(sock)
            if request is None:
                break  # the caller has ended: serve no more requests
            what, number, fd = request
            if what == FORK and fd is not None:
                threads = count_lasting_threads()
                if threads > 1:
                    sock.sendall(frame(make_crowded(threads)))
                    report = _spawn(number, fd, lifeline, children)
                else:
                    pipe = wake_read, wake_write
                    report = _fork(sock, number, fd, enter_forked, children, *pipe)
                sock.sendall(frame(report))
            elif what == PREPARE:
                _prepare()
            elif what == IMPORT and fd is not None:
                import_script(fd)
            elif number in children:
                _end(number, what)
    except (ConnectionError, BrokenPipeError):
        pass  # the caller has ended: serve no more requests
    finally:
        _end_all(children)
        if at_end is not None:
            at_end()
        os._exit(0)


def _wait(sock: socket, wake_read: int, children: set[int]) -> bool:
    """Wait for a request or for the end of a worker; return whether a request has come.

    Tell the caller of each worker that has ended.
    """
    watched: list[socket | int] = [sock, wake_read]
    readable, _, _ = select.select(watched, [], [])
    if wake_read in readable:
        _drain(wake_read)
    for pid, code in _reap(children):
        sock.sendall(frame(make_exited(pid, code)))
    return sock in readable


def _next_request(sock: socket) -> tuple[int, int, int | None] | None:
    """Return the next request: its kind, the worker's number or process id, and a socket.

    The socket is None if no descriptor came with the request. Return None if the caller is gone.
    """
    data, fds = receive_with_fds(sock, REQUEST_SIZE)
    if not data:
        return None
    while len(data) < REQUEST_SIZE:
        data += sock.recv(REQUEST_SIZE - len(data))
    what, number = parse_request(data)
    return what, number, fds[0] if fds else None


def _prepare() -> None:
    """Import the modules that workers need for functions that are pickled by value.

    The fork server imports the modules once for all workers: the import takes longer than many
    workers live.
    """
    try:
        from .._transport.by_value import full_pickler  # noqa: F401  # pyright: ignore[reportUnusedImport]

        # `full_pickler` imports cloudpickle, which imports ``logging``. Where ``logging`` is
        # imported, workers need the module `log_records`.
        from . import log_records, warning_records  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        pass  # a module is missing here: each worker tries again, with the caller's import path
    gc.freeze()


def _fork(
    sock: socket,
    number: int,
    fd: int,
    enter_forked: Callable[[socket], NoReturn],
    children: set[int],
    *pipe: int,
) -> StartMessage:
    try:
        pid = os.fork()
    except OSError as error:
        os.close(fd)
        return make_failed(number, error.errno or 0)
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sock.close()
        for end in pipe:
            os.close(end)
        enter_forked(socket(fileno=fd))
    os.close(fd)
    children.add(pid)
    return make_forked(number, pid)


def count_threads() -> int:
    """Return how many threads this process has, even those that Python did not start.

    Where the system does not tell, only the threads that Python started count.
    """
    try:
        # The folder `task` has one folder in it for each thread. The number of links of `task` is
        # the number of threads plus 2.
        return os.stat("/proc/self/task").st_nlink - 2
    except OSError:
        import _thread

        return _thread._count() + 1


# How many threads were left after `count_lasting_threads` last waited for threads to end.
_lasting = 1


def count_lasting_threads() -> int:
    """Return how many threads this process has, without those that are about to end.

    A thread whose end Python has seen exists for some moments more: `join` returns before the
    system has removed the thread. So this function waits for up to a tenth of a second for threads
    that were not there at the last call.
    """
    global _lasting
    threads = count_threads()
    for _ in range(20):
        if threads <= _lasting:
            return threads
        time.sleep(0.005)
        threads = count_threads()
    _lasting = threads
    return threads


def _spawn(number: int, fd: int, lifeline: int, children: set[int]) -> StartMessage:
    """Start a fresh Python as a worker, with the command with which this process was started."""
    ours = [fd]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        command = [*sys.orig_argv]
        if FROZEN in command[1:2]:
            end, write = os.pipe()
            ours.append(end)
            os.write(write, FOR_FREEZE_SUPPORT)
            os.close(write)
            command[-1] = f"pipe_handle={end}"
        else:
            command[-3:] = "worker", str(fd), str(lifeline)
        for one in ours:
            os.set_inheritable(one, True)
        mark = marked("worker", fd, lifeline, os.fstat(fd).st_ino, depth())
        reset = [signal.SIGPIPE, signal.SIGXFSZ]
        environment = {**os.environ, **mark}
        pid = os.posix_spawn(sys.executable, command, environment, setsigdef=reset)
    except OSError as error:
        return make_failed(number, error.errno or 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for one in ours:
            os.close(one)
    children.add(pid)
    return make_forked(number, pid)


def _end_all(children: set[int]) -> None:
    for pid in children:
        kill_group(pid)
    for pid in children:
        os.waitpid(pid, 0)


def _end(pid: int, how: int) -> None:
    if how == ABORT:
        os.kill(pid, signal.SIGABRT)
    elif how == TERMINATE:
        os.kill(pid, signal.SIGTERM)
    else:
        kill_group(pid)


def _ignore(signum: int, stack: FrameType | None) -> None:
    """Do nothing at SIGCHLD (the end of a child): Python itself then wakes `select`."""


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        pass


def _reap(children: set[int]) -> list[tuple[int, int]]:
    gone: list[tuple[int, int]] = []
    while children:
        pid, status = _ended(children)
        if not pid:
            break
        # A process that is not in `children` was started by the script, when the script was
        # imported.
        if pid in children:
            children.discard(pid)
            gone.append((pid, os.waitstatus_to_exitcode(status)))
    return gone


def _ended(children: set[int]) -> tuple[int, int]:
    """Return the process id and the exit status of a child that has ended, or else (0, 0).

    Kill the processes in the child's process group: those that the child started and left behind.
    """
    if hasattr(os, "waitid"):
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is None:
            return 0, 0
        kill_group(info.si_pid)  # no other process has this id: the child was not waited for
        return os.waitpid(info.si_pid, 0)
    # Before Python 3.13, macOS has no `waitid`. A child that was waited for has no process id any
    # more. But the child's process group keeps this number while any process is in the group.
    for child in children:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            kill_left_behind(pid)
            return pid, status
    return 0, 0


def wait_for(pid: int) -> None:
    """Wait until a child has ended; then kill what is left of its process group."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        kill_group(pid)  # no other process has this id: the child was not waited for
    else:
        os.waitpid(pid, 0)
        kill_left_behind(pid)


def kill_left_behind(group: int) -> None:
    """Kill the processes in the process group of a child that has ended and was waited for."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # the child has left no process behind


def kill_group(pid: int) -> bool:
    """Kill a child process, which was not waited for yet, and its process group.

    Return False if this process may not kill the child: the child runs as another user.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # ProcessLookupError: the child leads no process group yet; or, on macOS, has ended
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return True
