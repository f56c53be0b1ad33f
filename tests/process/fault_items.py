"""What the items of the fault table do; workers import it, so it imports little."""

import ctypes
import gc
import os
import pickle
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Final, Never

from tests.acts import quietly
from tests.bad_objects import Loading
from tests.limits import TIME_LIMIT

SLEEPER: Final = [sys.executable, "-S", "-c", f"import time; time.sleep({4 * TIME_LIMIT})"]
kept: Final[list[object]] = []  # what is to outlive its item


def close_all() -> None:
    """Close every descriptor, also those that the item was not given."""
    os.closerange(0, 65536)


def close_ours() -> None:
    """Close every descriptor but the standard streams: those are the library's."""
    os.closerange(3, 65536)


def close_and_take() -> None:
    """Put sockets of the item's own where the library's were."""
    close_ours()
    kept.append([socket.socketpair() for _ in range(64)])


def write_into_sockets(data: bytes) -> None:
    """Write into every socket that is open, as one who mixes up descriptors does."""
    for fd in range(3, 64):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                os.write(fd, data)
        except OSError:
            continue  # it is not open


def fork_and_return() -> None:
    """Return twice: from the worker, and from a fork of it."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)


def fork_and_raise() -> None:
    """Return from the worker, and raise from a fork of it."""
    pid = os.fork()
    if not pid:
        raise SystemExit(4)
    os.waitpid(pid, 0)


def daemonise() -> None:
    """Leave the session and the parent, as daemons do; the child comes back as if it were it."""
    if os.fork():
        os._exit(0)
    os.setsid()


def ignore_children() -> None:
    """Have the kernel reap the children."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def block_signals() -> None:
    """Block every signal that can be blocked."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())


def block_signals_and_stay() -> None:
    """Stay, and hear nothing."""
    block_signals()
    time.sleep(2 * TIME_LIMIT)


def stop_myself() -> None:
    """Stop: not even Python runs any more."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(2 * TIME_LIMIT)


def print_without_end() -> None:
    """Fill a pipe that nobody reads, for ever."""
    kept.append(os.pipe())
    os.dup2(os.pipe()[1], 1)
    # Not to what pytest has put there in a fork of it: that takes hundreds of megabytes.
    with open(1, "w", encoding="utf-8", closefd=False) as stream:
        while True:
            print("x" * 10_000, file=stream)


def read_stdin() -> None:
    """Read all there is: nothing."""
    assert os.read(0, 1) == b""


def lower_the_limit() -> None:
    """Leave hardly any recursion: enough to return, and for little more."""
    limit = 1
    while True:
        try:
            sys.setrecursionlimit(limit)
        except RecursionError:
            limit += 1
        else:
            break
    sys.setrecursionlimit(limit + 10)


def leave_threads() -> None:
    """Leave a daemon and a thread that is none."""
    for daemon in (True, False):
        threading.Thread(target=time.sleep, args=(4 * TIME_LIMIT,), daemon=daemon).start()


def close_stdout() -> None:
    """Close what Python prints to."""
    sys.stdout.close()


class Hostile:
    """A stream of which every use ends the program."""

    def __getattr__(self, name: str) -> Never:
        raise SystemExit(name)


def replace_stdout() -> None:
    """Put something else in the place of what Python prints to."""
    sys.stdout = sys.stderr = Hostile()  # as careless code does


class Endless:
    """A stream whose flush never comes back."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        time.sleep(4 * TIME_LIMIT)


def endless_stdout() -> None:
    """Put something in the place of what Python prints to that holds up the end."""
    sys.stdout = Endless()


def no_exit() -> None:
    """Take away what ends the process."""
    os._exit = lambda status: None  # type: ignore[assignment,return-value]
    sys.exit = lambda status=None: None  # type: ignore[assignment,return-value]


def change_pickle() -> None:
    """Take away what the library sends with."""
    for name in ("dumps", "loads", "dump", "load", "Pickler", "Unpickler"):
        setattr(pickle, name, None)


def change_the_rest() -> None:
    """Change what a process has one of, and nobody puts back."""
    os.umask(0o077)
    random.seed(1)
    gc.disable()
    gc.freeze()
    import locale

    locale.setlocale(locale.LC_ALL, "C")


def delete_the_temporary_directory() -> None:
    """Delete the directory for temporary files: one that is ours, but the default."""
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp()
    shutil.rmtree(tempfile.tempdir)
    if sys.platform != "win32":  # where no process can delete its current directory
        os.mkdir(tempfile.tempdir)
        os.chdir(tempfile.tempdir)
        os.rmdir(tempfile.tempdir)


def alarm() -> None:
    """Be ended by a timer of one's own, whatever another item has left of the signals."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(2 * TIME_LIMIT)


def no_descriptors() -> None:
    """Leave no descriptor to open."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def overflow() -> None:
    """Use up the stack of C."""
    nest: list[object] = []
    for _ in range(3_000_000):
        nest = [nest]
    kept.append(nest)
    sys.setrecursionlimit(1 << 30)
    ctypes.string_at(8)


def interrupt() -> Never:
    """Raise a KeyboardInterrupt."""
    raise KeyboardInterrupt("not a real one")


class ExitsInReduce:
    """A result that ends the process when it is pickled."""

    def __reduce__(self) -> Never:
        os._exit(8)


class SystemExitInReduce:
    """A result that ends the program, politely, when it is pickled."""

    def __reduce__(self) -> Never:
        sys.exit(8)


class OddText(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> Never:
        raise RuntimeError("no text")

    __repr__ = __str__


def odd_text() -> Never:
    """Raise an error that cannot say what it is."""
    raise OddText


ACTS: Final[dict[str, Callable[[], object]]] = {
    "closes all descriptors": close_all,
    "closes our descriptors": close_ours,
    "takes our descriptors": close_and_take,
    "writes text to us": lambda: write_into_sockets(b"GET / HTTP/1.0\r\n\r\n"),
    "writes one byte to us": lambda: write_into_sockets(b"x"),
    "writes zeros to us": lambda: write_into_sockets(bytes(64)),
    "writes a length to us": lambda: write_into_sockets((1 << 40).to_bytes(8, "little")),
    "forks and returns twice": fork_and_return,
    "forks and raises there": fork_and_raise,
    "daemonises itself": daemonise,
    "ignores SIGCHLD": ignore_children,
    "blocks signals": block_signals,
    "blocks signals and stays": block_signals_and_stay,
    "stops itself": stop_myself,
    "prints without end": print_without_end,
    "reads stdin": read_stdin,
    "lowers the recursion limit": lower_the_limit,
    "leaves threads": leave_threads,
    "closes stdout": close_stdout,
    "replaces stdout": replace_stdout,
    "blocks stdout": endless_stdout,
    "takes os._exit away": no_exit,
    "changes pickle": change_pickle,
    "changes the rest": change_the_rest,
    "deletes the temporary directory": delete_the_temporary_directory,
    "leaves its session": lambda: os.setsid(),  # Windows has none
    "leaves its group": lambda: os.setpgid(0, 0),
    "sets a timer": alarm,
    "leaves no descriptors": no_descriptors,
    "overflows": quietly(overflow),
    "result exits when pickled": ExitsInReduce,
    "result leaves when pickled": SystemExitInReduce,
    "result interrupts when loaded": lambda: Loading(_call, interrupt),
    "error without a text": odd_text,
    "kills its parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
}


def _call(function: Callable[[], object]) -> object:
    return function()


def act_at(name: str, bad: int, x: int) -> object:
    """Square, but at one item do what `name` says before."""
    if x == bad:
        result = ACTS[name]()
        if result is not None:
            return result
    return x * x
