"""Where something is missing: descriptors, processes, memory, disk, streams, directories.

What can be done without is done without; else the error says what to change. Nothing hangs: a
program that does not end in time is a failure. Limits are set, and calls that the system is to
refuse are replaced, in programs of their own.
"""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.scripts import program, run_script

if TYPE_CHECKING:
    from pmap._types import StartMethod

TOOLS: Final = textwrap.dedent(
    """\
    import errno, faulthandler, resource, time
    from pmap import InterruptedPoolError, TransportError, WorkerStartError

    # Else a worker that is ended writes its stack to stderr where it has nowhere else to.
    os.environ.pop("PYTHONFAULTHANDLER", None)
    faulthandler.disable()

    def limit(what, soft):
        resource.setrlimit(what, (soft, resource.getrlimit(what)[1]))

    def refuse(number):
        def refused(*args, **kwargs):
            raise OSError(number, os.strerror(number))
        return refused

    def tell(make, *words):
        # What came of it: a result, or the error and which of the words its message has.
        try:
            print(make())
        except Exception as error:
            print(type(error).__name__, *[word for word in words if word in str(error)])

    def double(x):
        return 2 * x
    """
)
MAP: Final = "[0, 2, 4, 6, 8]"

# By name: what the program does, and what it prints.
WORKS: Final = {
    "64 descriptors": (
        """
        limit(resource.RLIMIT_NOFILE, 64)
        tell(lambda: pmap(double, range(5)))
        # As many workers as there is room for, and no error.
        tell(lambda: sum(pmap.using(processes=40)(double, range(100), chunksize=1)))
        """,
        [MAP, "9900"],
    ),
    "only high descriptors": (
        """
        # select() takes none above 1023.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        many = 1500 if hard == resource.RLIM_INFINITY else min(hard, 1500)
        limit(resource.RLIMIT_NOFILE, many)
        taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(many - 100)]
        tell(lambda: pmap(double, range(5)))
        tell(lambda: sum(pmap.using(processes=3)(double, range(100), chunksize=1)))
        """,
        [MAP, "9900"],
    ),
    "a default timeout for sockets": (
        """
        import socket
        for seconds in (0.001, 0, 30):
            socket.setdefaulttimeout(seconds)
            each = pmap.using(processes=1, threads_per_worker=1 + int(seconds * 1000))
            tell(lambda: each(double, range(5)))
            time.sleep(0.1)  # they wait for work meanwhile
            tell(lambda: each(double, range(5)))
        """,
        [MAP] * 6,
    ),
    "no shared memory": (
        """
        os.memfd_create = refuse(errno.ENOSYS)
        tell(lambda: pmap(double, range(5), chunksize=5))
        def leave(x):
            return os._exit(3) if x == 1 else x
        tell(lambda: pmap.collecting(leave, range(4), chunksize=4)[2:])
        tell(lambda: pmap.using(timeout=0.2)(time.sleep, [60]), "timeout of 0.2 s")
        """,
        [MAP, "[2, 3]", "TaskTimeout timeout of 0.2 s"],
    ),
    "no room for shared memory": (
        """
        os.ftruncate = refuse(errno.ENOSPC)
        tell(lambda: pmap(double, range(5), chunksize=5))
        """,
        [MAP],
    ),
    "no address space for shared memory": (
        """
        import mmap
        mmap.mmap = refuse(errno.ENOMEM)
        tell(lambda: pmap(double, range(5), chunksize=5))
        """,
        [MAP],
    ),
    "no file may have a size": (
        """
        limit(resource.RLIMIT_FSIZE, 0)
        tell(lambda: pmap(double, range(5), chunksize=5))
        tell(lambda: len(pmap(bytes, [10_000_000])[0]))
        """,
        [MAP, "10000000"],
    ),
    "no room for words about a stack": (
        """
        limit(resource.RLIMIT_FSIZE, (1 << 16) + (1 << 13))
        tell(lambda: pmap.using(timeout=0.2)(time.sleep, [60]), "timeout of 0.2 s")
        """,
        ["TaskTimeout timeout of 0.2 s"],
    ),
    "no directory for temporary files": (
        """
        import tempfile
        os.environ["TMPDIR"] = tempfile.tempdir = "/nowhere/at/all"
        tell(lambda: pmap(double, range(5)))
        """,
        [MAP],
    ),
    "a directory that was deleted": (
        """
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
        tell(lambda: pmap(double, range(5)))
        """,
        [MAP],
    ),
    "streams that are None": (
        """
        out, sys.stdin, sys.stdout, sys.stderr = sys.stdout, None, None, None
        results = pmap(double, range(5))
        sys.stdout = out
        print(results)
        """,
        [MAP],
    ),
    "streams that are closed": (
        """
        out = os.fdopen(os.dup(1), "w")
        sys.stdin.close(), sys.stdout.close(), sys.stderr.close()
        results = pmap(double, range(5))
        sys.stdout = out
        print(results)
        """,
        [MAP],
    ),
    "no process descriptors": (
        """
        os.pidfd_open = refuse(errno.ENOSYS)
        tell(lambda: pmap(double, range(5)))
        tell(lambda: pmap(os._exit, [3]), "exited with code 3")
        """,
        [MAP, "WorkerLost exited with code 3"],
    ),
    "an interpreter that is built for older systems": (
        """
        del os.pidfd_open, os.memfd_create, os.MFD_CLOEXEC
        tell(lambda: pmap(double, range(5)))
        tell(lambda: len(pmap(bytes, [10_000_000])[0]))
        tell(lambda: pmap(os._exit, [3]), "exited with code 3")
        """,
        [MAP, "10000000", "WorkerLost exited with code 3"],
    ),
    "no /proc": (
        """
        import builtins
        exists, open_ = os.path.exists, builtins.open
        def blind(path, *args, **kwargs):
            if str(path).startswith("/proc"):
                raise FileNotFoundError(path)
            return open_(path, *args, **kwargs)
        # Also in workers that are forks of this process.
        os.path.exists = lambda path: not str(path).startswith("/proc") and exists(path)
        builtins.open = blind
        tell(lambda: pmap(double, range(5)))
        """,
        [MAP],
    ),
    "one processor": (
        """
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        tell(lambda: pmap.using(processes=None)(double, range(5)))
        tell(lambda: pmap(double, range(5)))
        """,
        [MAP, MAP],
    ),
    "little memory in an item": (
        """
        def eat(x):
            if x == 1:
                resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
                bytearray(1 << 30)
            return 2 * x
        tell(lambda: pmap(eat, range(5)))
        tell(lambda: [type(r).__name__ for r in pmap.collecting(eat, range(3), chunksize=3)])
        """,
        ["MemoryError", "['int', 'Failure', 'int']"],
    ),
    "little memory": (
        """
        size = int(open("/proc/self/statm").read().split()[0]) * 4096
        limit(resource.RLIMIT_AS, size + (100 << 20))
        tell(lambda: pmap(double, range(5)))
        try:
            pmap(bytearray, [80_000_000] * 2)
        except Exception as error:  # in the worker or in the caller, wherever it is too much
            print("MemoryError" in type(error).__name__ + str(error))
        tell(lambda: pmap(double, range(5)))
        """,
        [MAP, "True", MAP],
    ),
    "little of the stack left": (
        """
        def at(depth):
            return pmap(double, range(5)) if depth == 0 else at(depth - 1)
        limits = RecursionError, TransportError, InterruptedPoolError
        for left in range(1, 120, 7):
            try:
                assert at(sys.getrecursionlimit() - left - 3) == [0, 2, 4, 6, 8]
            except limits as error:
                assert left < 100, error
            assert pmap(double, range(5)) == [0, 2, 4, 6, 8]
        print("done")
        """,
        ["done"],
    ),
}

# Too few for anything: first for the pool itself, then for its workers.
SCARCE: Final = (4, 5, 10)
REFUSED: Final = {
    **{
        f"{count} descriptors": (
            f"""
            papply.using(backend="serial")(abs, 1)  # what is imported by a call is there
            from pmap import _multiprocessing_errors
            from pmap._api import result_stream
            from pmap._backends import processes as process
            before = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            limit(resource.RLIMIT_NOFILE, {count})
            tell(lambda: papply.async_(double, 1).get(), "open files", "ulimit -n")
            tell(lambda: pmap(double, range(5)), "open files", "ulimit -n")
            tell(lambda: list(pmap.iter(double, range(5))), "open files", "ulimit -n")
            limit(resource.RLIMIT_NOFILE, before)
            tell(lambda: pmap(double, range(5)))
            """,
            [*["WorkerStartError open files ulimit -n"] * 3, MAP],
        )
        for count in SCARCE
    },
    "no processes": (
        """
        import _posixsubprocess, subprocess
        kept = os.fork, os.posix_spawn, subprocess._fork_exec
        os.fork = os.posix_spawn = subprocess._fork_exec = refuse(errno.EAGAIN)
        tell(lambda: papply.async_(double, 1).get(), "ulimit -u")
        tell(lambda: pmap(double, range(5)), "ulimit -u", "fewer processes")
        os.fork, os.posix_spawn, subprocess._fork_exec = kept
        tell(lambda: pmap(double, range(5)))
        """,
        ["WorkerStartError ulimit -u", "WorkerStartError ulimit -u fewer processes", MAP],
    ),
    "no waiting": (
        """
        from pmap._backends.processes import ProcessBackend
        threading.excepthook = lambda args: None
        kept = ProcessBackend.poll
        def refused(self, timeout):
            ProcessBackend.poll = kept
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        ProcessBackend.poll = refused
        tell(lambda: papply.async_(double, 1).get(), "OSError struck")
        tell(lambda: pmap(double, range(5)))
        """,
        ["InterruptedPoolError OSError struck", MAP],
    ),
    "no threads": (
        """
        kept = threading.Thread.start
        def refused(thread):
            raise RuntimeError("can't start new thread")
        threading.Thread.start = refused
        tell(lambda: papply.async_(print, "never"), "can't start new thread")
        tell(lambda: pmap(double, range(5)))
        threading.Thread.start = kept
        tell(lambda: papply.async_(double, 1).get())
        """,
        ["RuntimeError can't start new thread", MAP, "2"],
    ),
}
CASES: Final = WORKS | REFUSED


@pytest.mark.parametrize("case", CASES)
def test_poor_machine(start_method: "StartMethod", case: str, tmp_path: Path) -> None:
    body, expected = CASES[case]
    text = program(start_method, TOOLS + textwrap.dedent(body))
    assert run_script(tmp_path, text) == expected


# Closed before anything else is opened, so that what the first call opens comes into these places.
CLOSED: Final = """\
import os, sys
os.dup2(1, 50)
for fd in {closed}:
    os.close(fd)
    setattr(sys, ("stdin", "stdout", "stderr")[fd], None)
from pmap import pmap

def item(x):
    # Into what is at these numbers now, which must not be what workers speak through.
    for fd in {closed}:
        try:
            os.write(fd, b"noise")
        except OSError:
            pass
    return 2 * x

verb = pmap.using(processes=2, start_method={method!r})
results = verb(item, range(5), chunksize=1), verb.async_(item, [1]).get()
os.write(50, repr(results).encode())
"""


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1, 2)], ids=str)
def test_closed_descriptors(
    start_method: "StartMethod", closed: tuple[int, ...], tmp_path: Path
) -> None:
    text = CLOSED.format(closed=closed, method=start_method)
    assert run_script(tmp_path, text) == [f"({MAP}, [2])"]
