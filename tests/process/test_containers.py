"""Where a container has less: /dev/shm, a writable disk, /proc, CPUs, memory, processes; PID 1.

Each program runs in namespaces of its own, for which nobody has to be root. The limits of a cgroup
want root: `nox -s containers`. docs/platforms.md has the table.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.limits import TIME_LIMIT
from tests.scripts import environment, finished

if TYPE_CHECKING:
    from pmap._types import StartMethod

APART: Final = ["unshare", "-Urmpf", "--mount-proc", "--kill-child"]
GROUPS: Final = Path("/sys/fs/cgroup")
BEGIN: Final = """
import os, signal, sys, time
from pmap import TaskTimeout, WorkerLost, pmap, restart, shutdown
method = {method!r}
pmap = pmap.using(start_method=method, processes=2)
def double(x): return 2 * x
def end(x): os.kill(os.getpid(), signal.SIGKILL) if x == 1 else None
def only_me(*others):
    # This is the first process of its namespace: whatever has lost its parent is its child.
    shutdown()
    for orphan in others:
        os.waitpid(orphan, 0)  # pmap has killed it; the kernel may not have ended it yet
    left = []
    try:
        while not left or left[-1][0]:
            left.append(os.waitpid(-1, os.WNOHANG))
    except ChildProcessError:
        pass
    print("left behind:", left)
"""


def can_be_apart() -> bool:
    """Return whether programs can have namespaces of their own here, with mounts in them."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    tried = [*APART, "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


apart = pytest.mark.skipif(
    not can_be_apart(), reason="no namespaces here: test_poor_machines.py refuses calls instead"
)


def program(folder: Path, method: str, text: str) -> Path:
    script = folder / "script.py"
    script.write_text(BEGIN.format(method=method) + textwrap.dedent(text), encoding="utf-8")
    return script


def run_apart(folder: Path, method: str, text: str, before: str = "", code: int = 0) -> list[str]:
    """Run a program as the first process of a namespace; return the lines that it printed.

    Args:
        folder: where it runs.
        method: the start method.
        text: what it does.
        before: commands of the shell, which take something away from it.
        code: with which exit code it is to end.
    """
    script = program(folder, method, text)
    done = subprocess.run(
        [*APART, "bash", "-ec", before + '\nexec "$@"', "bash", sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        timeout=TIME_LIMIT,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", code)
    return done.stdout.splitlines()


@apart
def test_a_small_dev_shm(start_method: "StartMethod", tmp_path: Path) -> None:
    text = """
        def make(n): return bytes(n)
        def used(_):
            there = os.statvfs("/dev/shm")
            return there.f_blocks - there.f_bfree
        made = pmap(make, [24 << 20] * 4, chunksize=1)
        print({len(one) for one in made}, pmap(len, made, chunksize=1) == [24 << 20] * 4)
        print(used(0), pmap(used, range(2)))
    """
    before = "mount -t tmpfs -o size=64m tmpfs /dev/shm"
    assert run_apart(tmp_path, start_method, text, before) == ["{25165824} True", "0 [0, 0]"]


READ_ONLY: Final = """
mount --rbind / /
awk '{print $5}' /proc/self/mountinfo | sort -r | while read -r place; do
    mount -o remount,bind,ro "$place" 2> /dev/null || true
done
"""


@apart
def test_a_root_that_is_read_only(start_method: "StartMethod", tmp_path: Path) -> None:
    text = """
        import tempfile
        try:
            print("there is room:", tempfile.gettempdir())
        except FileNotFoundError:
            print("no file can be made")
        print(pmap(double, range(3)), [len(one) for one in pmap(bytes, [10_000_000])])
        failed = pmap.collecting(end, range(3), chunksize=1)
        print([type(one).__name__ for one in failed])
    """
    assert run_apart(tmp_path, start_method, text, READ_ONLY) == [
        "no file can be made",
        "[0, 2, 4] [10000000]",
        "['NoneType', 'Failure', 'NoneType']",
    ]


@apart
def test_no_proc(start_method: "StartMethod", tmp_path: Path) -> None:
    text = """
        print(os.listdir("/proc"), pmap(double, range(3)))
        try:
            pmap(end, [1])
        except WorkerLost as error:
            print("SIGKILL" in str(error))
        try:
            pmap.using(timeout=0.2)(time.sleep, [600])
        except TaskTimeout:
            print("ended")
        print(pmap(double, range(3)))
        only_me()
    """
    before = "mount -t tmpfs tmpfs /proc"
    shown = run_apart(tmp_path, start_method, text, before)
    assert shown == ["[] [0, 2, 4]", "True", "ended", "[0, 2, 4]", "left behind: []"]


@apart
def test_no_proc_and_the_program_is_killed(start_method: "StartMethod", tmp_path: Path) -> None:
    text = """
        def item(_):
            open("began", "w").close()
            while True:  # it is busy, and does not look at its socket
                pass
        caller = os.fork()
        if caller == 0:
            pmap(item, [1])
        while not os.path.exists("began"):
            time.sleep(0.01)
        os.kill(caller, signal.SIGKILL)
        try:
            while True:
                os.waitpid(-1, 0)
        except ChildProcessError:
            print("alone")
    """
    before = "mount -t tmpfs tmpfs /proc"
    assert run_apart(tmp_path, start_method, text, before) == ["alone"]


@apart
def test_pid_1(start_method: "StartMethod", tmp_path: Path) -> None:
    text = """
        print(os.getpid(), pmap(double, range(3)))
        def orphan(_):
            pid = os.fork()
            return pid or signal.pause()
        orphans = pmap(orphan, range(4), chunksize=1)
        try:
            pmap(end, [1])
        except WorkerLost:
            print("lost")
        restart()
        # The kernel passes on no signal to it for which it has no handler.
        print(pmap(os.kill, [1], [signal.SIGTERM]), pmap(double, range(3)))
        only_me(*orphans)  # they are dead, and it is for the program to take note of that
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        pmap(lambda x: (x or os.kill(1, signal.SIGTERM), time.sleep(600)), range(2))
    """
    shown = run_apart(tmp_path, start_method, text, code=5)
    assert shown == ["1 [0, 2, 4]", "lost", "[None] [0, 2, 4]", "left behind: []"]


# --- cgroups -------------------------------------------------------------------------------------


@pytest.fixture
def group() -> Iterator[str]:
    """The name of a cgroup, made for each limit that is set; they end with the test."""
    if os.getuid() != 0 or not os.access(GROUPS / "memory" / "cgroup.procs", os.W_OK):
        pytest.skip(
            "cgroups (version 1) want root; tests/unit/calls/test_cpus.py reads made-up ones"
        )
    name = f"pmap-tests-{os.getpid()}"
    yield name
    for kind in ("cpu", "memory", "pids"):
        if (GROUPS / kind / name).is_dir():
            (GROUPS / kind / name).rmdir()


def run_limited(folder: Path, group: str, limit: str, value: int, text: str) -> list[str]:
    """Run a program in a cgroup with a limit; return the lines that it printed."""
    kind = GROUPS / limit.partition(".")[0] / group
    kind.mkdir()
    (kind / limit).write_text(str(value), encoding="ascii")
    command = 'import os, sys; open(sys.argv[1], "w").write(str(os.getpid())); '
    command += "os.execv(sys.executable, [sys.executable, sys.argv[2]])"
    script = program(folder, "forkserver", text)
    done = finished(["-c", command, str(kind / "cgroup.procs"), str(script)], folder)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.splitlines()


def test_a_part_of_a_cpu(group: str, tmp_path: Path) -> None:
    text = """
        from pmap import Pool
        with Pool() as pool:
            print(len(pool.map(double, range(20), chunksize=1)), "Pool 1 process" in repr(pool))
    """
    assert run_limited(tmp_path, group, "cpu.cfs_quota_us", 50_000, text) == ["20 True"]


def test_too_little_memory(group: str, tmp_path: Path) -> None:
    text = """
        def take(size): return len(b"x" * size)
        sizes = [1000, 900 << 20, 2000]
        small, large, other = pmap.collecting(take, sizes, chunksize=1)
        print(small, type(large.error).__name__, "SIGKILL" in str(large.error), other)
        print(pmap(double, range(3)))
    """
    shown = run_limited(tmp_path, group, "memory.limit_in_bytes", 300 << 20, text)
    assert shown == ["1000 WorkerLost True 2000", "[0, 2, 4]"]


def test_few_processes(group: str, tmp_path: Path) -> None:
    text = "print(sum(pmap.using(processes=40)(double, range(100), chunksize=1)))"
    assert run_limited(tmp_path, group, "pids.max", 12, text) == ["9900"]
