"""How a program ends, or is disturbed, while it has workers: nobody is left behind.

What test_program_ends and test_repl have is not here: workers that are idle or sleep, a terminal.
"""

import atexit
import contextlib
import gc
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Generator
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.limits import TIME_LIMIT, until
from tests.processes import descendants, end, lives
from tests.scripts import environment, kill_the_caller, program
from tests.signals import KILL, ended_by

from pmap import Pool
from pmap._engine import process_end as _process_end

if TYPE_CHECKING:
    from pmap._types import StartMethod

# Both workers are in C code that never gives the interpreter's lock back.
HELD: Final = """
    import re, time
    def work(x):
        open(f"began{x}", "x").close()
        while not (os.path.exists("began0") and os.path.exists("began1")):
            time.sleep(0.001)
        open("ready", "a").close()
        re.match(r"(a+)+$", "a" * 64 + "b")
    later = pmap.async_(work, range(2), chunksize=1)
"""
WAITS: Final = HELD + "    later.get()\n"
EXITS: Final = HELD + "    while not os.path.exists('go'): time.sleep(0.001)\n    os._exit(7)\n"
KILLS: Final = """
    group = os.getpgrp()
    def work(x):
        os.killpg(group, 9)
    pmap(work, range(4))
"""


@contextlib.contextmanager
def running(folder: Path, text: str) -> Generator[subprocess.Popen[str]]:
    """Run a program in a process group of its own; nothing is left of it."""
    (folder / "script.py").write_text(text, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            end(those_in(folder))


def those_in(folder: Path) -> list[int]:
    """Return the processes whose current directory this is, orphans too."""
    found: list[int] = []
    for name in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc/self") else []):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{name}/cwd") == str(folder):
                found.append(int(name))
    return found


@pytest.mark.parametrize(
    "number",
    sorted({signal.SIGTERM, getattr(signal, "SIGHUP", KILL), KILL}),
    ids=lambda number: number.name,
)
def test_workers_in_c_code_do_not_outlive_their_caller(
    start_method: "StartMethod", number: signal.Signals, tmp_path: Path
) -> None:
    kill_the_caller(tmp_path, program(start_method, WAITS), number)


def test_a_caller_that_leaves_without_a_word(start_method: "StartMethod", tmp_path: Path) -> None:
    with running(tmp_path, program(start_method, EXITS)) as process:
        until((tmp_path / "ready").exists, "the workers' being ready")
        below = descendants(process.pid)
        (tmp_path / "go").touch()
        assert process.wait(TIME_LIMIT) == 7
        until(lambda: not any(map(lives, below)), "the end of all workers")


def test_an_item_that_kills_its_caller(start_method: "StartMethod", tmp_path: Path) -> None:
    with running(tmp_path, program(start_method, KILLS)) as process:
        assert process.wait(TIME_LIMIT) == ended_by(KILL)
        # The pipe is at its end when the last process that has it is gone.
        assert process.communicate(timeout=TIME_LIMIT)[0] == ""


# --- Ctrl-C ------------------------------------------------------------------------------------

STARTING: Final = """
    import time
    def begin():
        open("ready", "a").close()
        time.sleep(600)
    pmap.using(initializer=begin)(abs, range(4))
"""
SLEEPING: Final = """
    import time
    def work(x):
        open("ready", "a").close()
        time.sleep(600)
    pmap(work, range(4), chunksize=1)
"""


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("text", [STARTING, SLEEPING], ids=["starting", "at work"])
def test_ctrl_c_ends_a_program(
    start_method: "StartMethod", text: str, times: int, tmp_path: Path
) -> None:
    with running(tmp_path, program(start_method, text)) as process:
        until((tmp_path / "ready").exists, "a worker's beginning")
        below = descendants(process.pid)
        for _ in range(times):
            # As a terminal does: to all of the group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        _, shown = process.communicate(timeout=TIME_LIMIT)
        assert process.returncode == -signal.SIGINT
        assert "RemoteTraceback" not in shown
        assert "thread pmap-" not in shown  # of no thread of ours; a path may have that name
        until(lambda: not any(map(lives, below)), "the end of all workers")


# --- signals that are the caller's --------------------------------------------------------------

OWN_SIGNALS: Final = """
    import signal, subprocess, threading
    from pmap import WorkerLost, Failure
    heard = []
    def hear(number, frame):
        heard.append(number)
    numbers = [signal.SIGALRM, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
    for number in numbers:
        signal.signal(number, hear)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    ends = os.pipe()
    os.set_blocking(ends[1], False)
    signal.set_wakeup_fd(ends[1], warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    def f(x):
        return x * x
    for _ in range(20):
        assert pmap(f, range(100), chunksize=1) == [x * x for x in range(100)]
    answers = pmap.collecting(lambda x: os._exit(3) if x == 1 else x, range(3), chunksize=1)
    assert [type(answer) for answer in answers] == [int, Failure, int]
    assert answers[1].error.exitcode == 3
    assert subprocess.run([sys.executable, "-S", "-c", "raise SystemExit(4)"]).returncode == 4
    assert all(signal.getsignal(number) is hear for number in numbers)
    assert signal.getitimer(signal.ITIMER_REAL)[1] == 0.001
    assert signal.set_wakeup_fd(-1) == ends[1]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR2}
    assert signal.SIGALRM in heard
    os.kill(os.getpid(), signal.SIGINT)
    assert signal.SIGINT in heard
    signal.setitimer(signal.ITIMER_REAL, 0)  # at its end the interpreter hears nothing any more
    print("all well")
"""
NO_CHILDREN: Final = """
    import signal
    from pmap import Failure
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(3):
        answers = pmap.collecting(lambda x: os._exit(3) if x == 1 else x, range(3), chunksize=1)
        assert [type(answer) for answer in answers] == [int, Failure, int]
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    print("all well")
"""


@pytest.mark.parametrize("text", [OWN_SIGNALS, NO_CHILDREN], ids=["handlers", "SIGCHLD ignored"])
def test_signals_are_the_callers(start_method: "StartMethod", text: str, tmp_path: Path) -> None:
    with running(tmp_path, program(start_method, "    import sys\n" + text)) as process:
        out, shown = process.communicate(timeout=TIME_LIMIT)
        assert (out, shown, process.returncode) == ("all well\n", "", 0)


def end_slowly(path: str) -> None:
    """Let the end of this worker wait for a file."""
    atexit.register(lambda: until(Path(path).exists))


@pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool:ResourceWarning")
def test_a_pool_that_was_dropped_is_known_until_its_workers_are_gone(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    # What ends with the interpreter is found by that: else its thread, in the midst of a flush of
    # what a worker says last, made Python abort.
    pool = Pool(1, end_slowly, (str(tmp_path / "go"),), context=get_context(start_method))
    assert pool.map(abs, [-1]) == [1]
    driver = weakref.ref(pool._driver)
    del pool
    gc.collect()
    assert driver() in {*_process_end.engines}
    (tmp_path / "go").touch()
    until(lambda: driver() is None, "the end of the pool")
