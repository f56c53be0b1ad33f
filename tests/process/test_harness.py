"""What the other tests rely on: leaks are seen, and only ours; a test that hangs fails alone."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from tests.leaks import Leftovers, end_shared_pools
from tests.limits import HARD_LIMIT, TIME_LIMIT, seconds, until
from tests.processes import RUN, descendants, end, lives, our_processes, processes

from pmap import Pool

TOP: Final = Path(__file__).parents[2]

linux: Final = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
SLEEPER: Final = [sys.executable, "-S", "-c", f"import time; time.sleep({4 * TIME_LIMIT})"]


def foreign() -> dict[str, str]:
    """Return an environment that says nothing of this run."""
    return {name: value for name, value in os.environ.items() if name != RUN}


@pytest.fixture
def started() -> Iterator[list[int]]:
    """The ids of processes to end at last."""
    pids: list[int] = []
    yield pids
    end(pids)
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    until(lambda: not any(map(lives, pids)), "the end of what was started")


def left(before: Leftovers) -> list[str]:
    """Return what is left right now."""
    return before.left(warm=False, limit=0.0)


# --- what is not ours --------------------------------------------------------------------------


@linux
def test_a_file_of_another_program_is_none_of_ours() -> None:
    if not os.path.isdir("/dev/shm"):
        pytest.skip("there is no such folder")
    before = Leftovers.now()
    with tempfile.NamedTemporaryFile(
        dir="/dev/shm", prefix="another-program-", delete=False
    ) as one:
        pass
    try:
        assert not left(before)
    finally:
        os.unlink(one.name)


BESIDE: Final = """
import os, sys
if os.fork() == 0:
    os.setsid()
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.execv(sys.argv[1], sys.argv[1:])
os.wait()
"""


def begin_beside(environment: dict[str, str]) -> int:
    """Start a process whose parent is none of ours any more; return its id."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", BESIDE, *SLEEPER],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    until(lambda: processes()[int(done.stdout)].parent not in descendants(), "a new parent")
    return int(done.stdout)


@linux
def test_a_process_of_another_program_is_none_of_ours(started: list[int]) -> None:
    before = Leftovers.now()
    started.append(begin_beside(foreign()))
    assert not left(before)


@linux
def test_a_process_that_another_program_left_to_us_is_none_of_ours() -> None:
    # As it is where this process is the first one of a container, or what a debugger began.
    before = Leftovers.now()
    with subprocess.Popen(SLEEPER, env=foreign()) as process:
        try:
            assert not left(before)
        finally:
            process.kill()  # or the end of the block would wait for it


# --- what is ours ------------------------------------------------------------------------------


@linux
def test_a_process_is_seen() -> None:
    before = Leftovers.now()
    with subprocess.Popen(SLEEPER) as process:
        try:
            (line,) = left(before)
            assert line.startswith(f"process {process.pid} of {os.getpid()}, ")
        finally:
            process.kill()  # or the end of the block would wait for it
    assert not left(before)


@linux
def test_a_process_is_seen_while_it_begins_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel shows such a process without a command line and an environment, for a moment.
    looks = 0

    def read(path: Path) -> bytes:
        nonlocal looks
        of_it = path.parent.name == str(process.pid) and path.name in {"cmdline", "environ"}
        looks += of_it
        return b"" if of_it and looks <= 5 else by_path(path)

    by_path = Path.read_bytes
    before = Leftovers.now()
    with subprocess.Popen(SLEEPER) as process:
        try:
            monkeypatch.setattr(Path, "read_bytes", read)
            assert our_processes(but=before.processes or ()) == {process.pid}
        finally:
            process.kill()
    assert looks > 5


@linux
def test_a_process_that_has_ended_and_nobody_has_asked_how_is_seen() -> None:
    before = Leftovers.now()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    until(lambda: not lives(pid), "the end of a process")
    (line,) = left(before)
    assert line.startswith(f"process {pid} of {os.getpid()}, state Z")
    os.waitpid(pid, 0)
    assert not left(before)


@linux
def test_a_process_of_ours_is_seen_whoever_its_parent_is(started: list[int]) -> None:
    before = Leftovers.now()
    started.append(begin_beside({**os.environ}))
    (line,) = left(before)
    assert line.startswith(f"process {started[0]} of ")


def begin_below(_: object) -> int:
    """Start a process that says nothing of the run that it belongs to."""
    return subprocess.Popen(SLEEPER, env=foreign(), start_new_session=True).pid


@linux
def test_workers_and_what_their_items_started_are_seen(
    start_method: str, started: list[int]
) -> None:
    from multiprocessing import get_context

    before = Leftovers.now()
    pool = Pool(1, context=get_context(start_method))
    try:
        started.append(pool.apply(begin_below, (0,)))
        worker = pool.apply_async(os.getpid).get(TIME_LIMIT)
        assert {worker, *started} <= our_processes()
        text = "\n".join(left(before))
        assert f"process {worker} of " in text
        assert f"process {started[0]} of {worker}, " in text
        assert "thread <Thread(pmap-" in text
        assert "/memfd:pmap" in text
    finally:
        end(started)
        pool.terminate()
        pool.join()
    assert not before.left(warm=False)


@linux
def test_memory_of_ours_is_seen() -> None:
    before = Leftovers.now()
    fd = os.memfd_create("pmap")
    assert left(before) == [f"descriptor {fd}: /memfd:pmap (deleted)"]
    os.close(fd)
    assert not left(before)


@linux
def test_a_descriptor_is_seen() -> None:
    before = Leftovers.now()
    fd = os.open(os.devnull, os.O_RDONLY)
    assert left(before) == [f"descriptor {fd}: {os.devnull}"]
    os.close(fd)
    assert not left(before)


@pytest.mark.parametrize("name", ["pmap-1", "of a test"])
def test_a_thread_is_seen(name: str) -> None:
    end_shared_pools()
    before = Leftovers.now()
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name=name)
    thread.start()
    (line,) = left(before)
    assert line.startswith(f"thread <Thread({name}, ")
    go.set()
    thread.join()
    assert not left(before)


# --- whole runs --------------------------------------------------------------------------------


def run_tests(
    folder: Path, text: str, *options: str, before: Callable[[], object] | None = None
) -> tuple[dict[str, str], str]:
    """Run tests with this very conftest; return how each went, and all that was shown."""
    (folder / "test_inner.py").write_text(textwrap.dedent(text), encoding="utf-8")
    (folder / "empty.ini").write_text("[pytest]\n", encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-c", folder / "empty.ini", "-rA", "--tb=short", "--color=no"),
            *("--import-mode=prepend", folder / "test_inner.py"),
            *options,
        ],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=3 * TIME_LIMIT,
        check=False,
        preexec_fn=before,
    )
    shown = done.stdout + done.stderr
    lines = [line.split() for line in shown.splitlines() if "test_inner.py::" in line]
    words = {"PASSED", "FAILED", "ERROR"}
    went = {line[1].split("::")[1]: line[0] for line in lines if line[0] in words}
    return went, shown


HANGS: Final = """
    import asyncio
    import functools
    import os
    import signal
    import socket
    import subprocess
    import sys
    import threading
    import time

    import pytest
    from hypothesis import given, strategies
    from pmap import papply, pmap
    from tests import deadline
    from tests.files import mark, marks

    two = pmap.using(processes=2, start_method={method!r})

    def never(caller, folder, x):
        # The time of the test is up as soon as both are here.
        mark(folder, x)
        if len(marks(folder)) == 2:
            os.kill(caller, signal.SIGALRM)
        time.sleep(600)

    def lock():
        held = threading.Lock()
        held.acquire()
        held.acquire()

    def sock():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.recv(1)

    @given(strategies.integers())
    def examples(_):
        time.sleep(600)

    def swallowed():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(deadline, "AGAIN", 0.5)
            for _ in range(2):
                try:
                    time.sleep(600)
                except BaseException:
                    pass
            time.sleep(600)

    def swallowed_and_over():
        try:
            time.sleep(600)
        except BaseException:
            pass

    def taken_for_the_items_error():
        assert len(pmap.collecting(time.sleep, [600], backend="serial")) == 1

    def leave_threads(folder):
        here = functools.partial(never, os.getpid(), folder)
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        threading.Thread(target=two, args=(here, [1, 2]), daemon=True).start()
        time.sleep(600)

    WAYS = dict(
        lock=lock,
        event=lambda: threading.Event().wait(),
        sock=sock,
        loop=lambda: asyncio.run(asyncio.sleep(600)),
        program=lambda: subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"]),
        later=lambda: papply.async_(time.sleep, 600).get(),
        examples=examples,
        swallowed=swallowed,
        swallowed_and_over=swallowed_and_over,
        taken_for_the_items_error=taken_for_the_items_error,
    )
    MAPS = dict(
        mapped=lambda folder: two(functools.partial(never, os.getpid(), folder), [1, 2]),
        left_to_threads=leave_threads,
    )

    def works():
        assert two(abs, [-1, -2]) == [1, 2]

    def test_before():
        works()

    @pytest.mark.limit(1)
    @pytest.mark.parametrize("way", {ways!r})
    def test_hangs(way):
        WAYS[way]()

    @pytest.mark.parametrize("way", MAPS)
    def test_maps(way, tmp_path):
        MAPS[way](str(tmp_path))

    def test_after():
        works()

    @pytest.fixture
    def slow_to_begin():
        signal.raise_signal(signal.SIGALRM)

    def test_hangs_before(slow_to_begin):
        pass

    @pytest.fixture
    def slow_to_end():
        yield
        signal.raise_signal(signal.SIGALRM)

    def test_hangs_behind(slow_to_end):
        pass

    def test_last():
        works()
"""
WAYS: Final = (
    *("lock", "event", "sock", "loop", "program", "later", "examples"),
    *("swallowed", "swallowed_and_over", "taken_for_the_items_error"),
)


@linux
def test_a_test_that_hangs_fails_alone_and_shows_where(tmp_path: Path, start_method: str) -> None:
    ways = WAYS if start_method == "forkserver" else ()
    went, shown = run_tests(tmp_path, HANGS.format(method=start_method, ways=ways))
    hang = [*(f"test_hangs[{way}]" for way in ways), "test_maps[mapped]"]
    hang.append("test_maps[left_to_threads]")
    expected = dict.fromkeys(hang, "FAILED")
    expected |= {"test_before": "PASSED", "test_after": "PASSED", "test_last": "PASSED"}
    expected |= {"test_hangs_before": "ERROR", "test_hangs_behind": "ERROR"}
    went.pop("test_hangs[way0]", None)  # where there are none it is skipped
    assert went == expected, shown
    assert "the set-up of this test did not end within" in shown
    assert "the tear-down of this test did not end within" in shown
    for name in hang:
        told = shown.partition(f"_ {name} _")[2].partition("_____ test_")[0]
        limit = seconds(1) if name.startswith("test_hangs") else HARD_LIMIT
        assert f"the call of this test did not end within {limit} s" in told
        assert "thread MainThread\n" in told
        assert f" in {name.partition('[')[0]}\n" in told
        if name.startswith("test_maps"):
            assert told.count(" in never\n") >= 2, told  # of both workers


@linux
@pytest.mark.parametrize("options", [[], ["-n1"]], ids=["here", "in a process of pytest-xdist"])
def test_a_leak_fails_the_test_that_leaves_it_and_no_other(
    options: list[str], tmp_path: Path
) -> None:
    text = """
        import os, subprocess, sys
        from pmap._backends import boot
        from tests import leaks

        leaks.Leftovers.left.__defaults__ = (0.2,)

        def test_before():
            assert "-u" not in boot.interpreter_flags()

        def test_leaves_a_process():
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid

        def test_leaves_a_descriptor():
            os.pipe()

        def test_after():
            pass
    """
    went, shown = run_tests(tmp_path, text, *options)
    assert went == {
        "test_before": "PASSED",
        "test_leaves_a_process": "ERROR",
        "test_leaves_a_descriptor": "ERROR",
        "test_after": "PASSED",
    }, shown
    assert "left after the test: ['process " in shown
    assert "left after the test: ['descriptor " in shown
    assert "left after the module" not in shown


def ignore_signals() -> None:
    """Ignore what a background job and ``nohup`` ignore."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_signals_that_were_ignored_when_the_run_began_are_heard(tmp_path: Path) -> None:
    text = """
        import signal, subprocess, sys
        import pytest

        def test_here():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGHUP)  # that one is still ignored, in this process

        @pytest.mark.parametrize("name", ["SIGINT", "SIGQUIT", "SIGHUP"])
        def test_below(name):
            code = f"import signal; signal.raise_signal(signal.{name}); print('ignored')"
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=False
            )
            assert done.stdout == ""
            assert done.returncode == -getattr(signal, name)
    """
    went, shown = run_tests(tmp_path, text, before=ignore_signals)
    assert went == dict.fromkeys(
        ["test_here", *(f"test_below[{name}]" for name in ("SIGINT", "SIGQUIT", "SIGHUP"))],
        "PASSED",
    ), shown
