"""What pmap does on systems that lack what Linux has: macOS, old and poor ones.

The features are taken away from this system, in the caller and in each interpreter below it
(`tests.lacking`): one by one, all that macOS lacks, and all that can be done without. What a test
of this kind cannot show is in docs/platforms.md.
"""

import signal
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest
from tests.lacking import BARE, MACOS, lacking
from tests.scripts import finished, kill_the_caller, program

if TYPE_CHECKING:
    from pmap._types import StartMethod

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="nothing to take away: here all other tests are of this kind"
)

# What each program has besides the verbs of `PREAMBLE`.
TOOLS: Final = """
import faulthandler, multiprocessing, signal, time, traceback
from pmap import TaskTimeout, WorkerLost, shutdown
os.environ.pop("PYTHONFAULTHANDLER", None)  # else a worker without a journal writes its stack
faulthandler.disable()

def double(x):
    return 2 * x

def told(call):
    # What a call returns, or the name of its error and what that says.
    try:
        return call()
    except Exception as error:
        return type(error).__name__, str(error)

def kinds(results):
    return [type(one).__name__ for one in results]

def descriptors():
    found = []
    for fd in range(200):
        try:
            os.fstat(fd)
        except OSError:
            continue
        found.append(fd)
    return found
"""

Acts: TypeAlias = dict[str, tuple[str, list[str]]]

# By name: what a program does, and what it prints.
ACTS: Final[Acts] = {
    "values": (
        """
        def reply(data):
            return data[::-1]
        large = [bytes([n]) * 3_000_000 for n in range(4)]
        print(pmap(double, range(5)), pmap(reply, large, chunksize=1) == large)
        print(sum(pmap.iter(double, iter(range(50)))))
        """,
        ["[0, 2, 4, 6, 8] True", "2450"],
    ),
    "a crash": (
        """
        def leave(x):
            return os._exit(3) if x == 1 else x
        print(kinds(pmap.collecting(leave, range(4), chunksize=2)))
        print("exited with code 3" in told(lambda: pmap(leave, [1]))[1], pmap(double, [1]))
        """,
        ["['int', 'Failure', 'int', 'int']", "True [2]"],
    ),
    "a timeout": (
        """
        print(told(lambda: pmap.using(timeout=0.2)(time.sleep, [600]))[0], pmap(double, [1]))
        """,
        ["TaskTimeout [2]"],
    ),
    "fresh processes": (
        """
        def whoami(_):
            return os.getpid()
        print(len({*pmap.using(isolate=True)(whoami, range(3))}))
        def grow(_):
            globals()["kept"] = b"x" * (64 << 20)
            return os.getpid()
        one = pmap.using(processes=1, max_memory_per_child=1, chunksize=1)
        print(len({*one(grow, range(3))}))
        """,
        ["3", "3"],
    ),
    "memory": (
        """
        def eat(_):
            kept = bytearray(300 << 20)
            kept[::4096] = b"x" * len(kept[::4096])
            time.sleep(600)
        limited = pmap.using(max_memory_per_child=200 << 20, kill_over_memory=True)
        print(told(lambda: limited(eat, [1]))[0], limited(double, [1]))
        """,
        ["WorkerLost [2]"],
    ),
    "a pool": (
        """
        def begin(name):
            global known
            known = name
        def ask(x):
            return known * x
        with Pool(2, begin, ["ab"]) as pool:
            print(pool.map(ask, range(3)), pool.apply_async(ask, [1]).get())
        """,
        ["['', 'ab', 'abab'] ab"],
    ),
    "a descriptor": (
        """
        here, there = multiprocessing.Pipe()
        print(pmap(lambda end: end.send(5), [there]), here.recv())
        here.close(), there.close()
        """,
        ["[None] 5"],
    ),
    "Ctrl-C": (
        """
        def interrupt(pid):
            os.kill(pid, signal.SIGINT)
            time.sleep(600)
        try:
            pmap(interrupt, [os.getpid()])
        except KeyboardInterrupt:
            print("interrupted", pmap(double, [1]))
        """,
        ["interrupted [2]"],
    ),
    "a fork of the caller": (
        """
        def in_a_fork(then):
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                os._exit(then())
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(in_a_fork(lambda: pmap(double, [1])[0]), pmap(double, [1]))
        """,
        ["2 [2]"],
    ),
    # The last of all.
    "no leak": (
        """
        shutdown()
        for thread in {*threading.enumerate()} - {threading.main_thread()}:
            thread.join()  # the thread of a pool ends when the pool has ended
        try:
            print("left:", os.waitpid(-1, os.WNOHANG))
        except ChildProcessError:
            print("no process", [*{*descriptors()} - {*before}])
        """,
        ["no process []"],
    ),
}
# What a bare system has not.
MORE: Final[Acts] = {
    # A worker has a sentinel: a process that the worker leaves behind, and that holds its socket
    # open, delays nothing.
    "left behind": (
        """
        def leave_a_process_behind(x):
            if os.fork() == 0:
                time.sleep(600)
            os._exit(4)
        print("exited with code 4" in told(lambda: pmap(leave_a_process_behind, [1]))[1])
        """,
        ["True"],
    ),
    # A worker has a result journal, which says why it has ended, and where it was.
    "last words": (
        """
        def stay(_):
            kept = b"x" * (64 << 20)
            time.sleep(600)
        error = told(lambda: pmap.using(max_memory_per_child=1, kill_over_memory=True)(stay, [1]))
        print("took more than 1 bytes" in error[1])
        try:
            pmap.using(timeout=0.2)(stay, [1])
        except TaskTimeout as late:
            print("in stay" in "".join(traceback.format_exception(late)))
        """,
        ["True", "True"],
    ),
}


def text_of(method: str, acts: Acts) -> tuple[str, list[str]]:
    """Return a program that does these acts, and what it prints."""
    body = "before = descriptors()\n" + "".join(textwrap.dedent(text) for text, _ in acts.values())
    return program(method, TOOLS + body), [line for _, lines in acts.values() for line in lines]


def check(folder: Path, features: tuple[str, ...], text: str, expected: list[str]) -> None:
    """Run a program on a system without these features; compare what it prints."""
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    # From Python 3.12 on there is a warning of forks beside threads, which some acts make.
    command = ["-W", "ignore::DeprecationWarning", str(script)]
    done = finished(command, folder, PYTHONPATH=lacking(folder, features))
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == expected


def test_macos(start_method: "StartMethod", tmp_path: Path) -> None:
    check(tmp_path, MACOS, *text_of(start_method, MORE | ACTS))


def test_a_bare_system(tmp_path: Path) -> None:
    check(tmp_path, BARE, *text_of("spawn", ACTS))


# By what is missing: the start method whose ways are others without it, and what a program does.
ALONE: Final[dict[str, tuple["StartMethod", tuple[str, ...]]]] = {
    "memfd": ("spawn", ("values", "a crash", "memory")),
    "memfd, temporary": ("forkserver", ("values", "a crash")),
    "pidfd": ("spawn", ("a crash", "a timeout")),
    "epoll": ("forkserver", ("values", "a fork of the caller")),
    "poll": ("spawn", ("values", "a timeout")),
    "waitid": ("forkserver", ("a crash", "a timeout")),
    "sockets": ("forkserver", ("values", "a descriptor")),
    "F_SETSIG": ("fork", ("values", "a timeout")),
}


@pytest.mark.parametrize("feature", ALONE)
def test_without_one_feature(feature: str, tmp_path: Path) -> None:
    method, names = ALONE[feature]
    acts = {name: ACTS[name] for name in (*names, "no leak")}
    check(tmp_path, tuple(feature.split(", ")), *text_of(method, acts))


def test_macos_forks_nothing_unasked(tmp_path: Path) -> None:
    text = """
    import os, sys
    def fork(*_):
        sys.stderr.write("a fork\\n")
        os._exit(1)
    os.fork = os.forkpty = fork
    import multiprocessing
    from pmap import Executor, Pool, papply, pmap
    print(pmap(abs, [-1, 2]), papply(abs, -3))
    def inner(x):
        return pmap(abs, [x, -x])
    print(pmap(inner, range(2)))
    with Pool(1) as pool, Executor(1) as executor:
        print(pool.map(abs, [-4]), executor.submit(abs, -5).result(), repr(pool)[-6:])
    # A lock of the kind that only a fork can have, and nobody has asked for forks.
    lock = multiprocessing.get_context("fork").Lock()
    try:
        Pool(1, print, [lock])
    except Exception as error:
        print(type(error).__name__, "fork" in str(error))
    """
    expected = ["[1, 2] 3", "[[0, 0], [1, 1]]", "[4] 5 spawn>", "NotPicklableError True"]
    check(tmp_path, MACOS, textwrap.dedent(text), expected)


BUSY: Final = """
def item(n):
    if n == 0:
        open("ready", "w").close()
    while n != 1:  # busy in Python, and it does not look at its socket
        pass
    time.sleep(600)
pmap(item, range(2), chunksize=1)
"""


@pytest.mark.parametrize("features", [MACOS, BARE], ids=["macos", "bare"])
def test_workers_end_with_a_caller_that_is_killed(
    start_method: "StartMethod", features: tuple[str, ...], tmp_path: Path
) -> None:
    path = lacking(tmp_path, features)
    text = program(start_method, TOOLS + BUSY)
    kill_the_caller(tmp_path, text, signal.SIGKILL, PYTHONPATH=path)


def test_a_script_that_workers_import_on_macos(tmp_path: Path) -> None:
    text = """
        import os, subprocess
        from pmap import pmap
        def whoami(_):
            return __name__, os.getppid()
        if __name__ == "__mp_main__":
            subprocess.Popen(["sleep", "600"])  # it ends with the process that has imported this
        if __name__ == "__main__":
            run = pmap.using(main="import", start_method="forkserver", processes=2, chunksize=1)
            names, parents = zip(*run(whoami, range(4)))
            # One process has imported the script, and has forked both workers.
            print({*names}, len({*parents}), os.getpid() not in parents)
    """
    check(tmp_path, MACOS, textwrap.dedent(text), ["{'__mp_main__'} 1 True"])


def test_what_the_doctor_says_on_macos(tmp_path: Path) -> None:
    path = lacking(tmp_path, MACOS)
    done = finished(["-m", "pmap", "doctor"], tmp_path, PYTHONPATH=path)
    assert done.stderr == ""
    assert "spawn" in done.stdout
    assert "no /dev/shm" in done.stdout
