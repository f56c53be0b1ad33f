"""What Windows has in place of POSIX: jobs, Ctrl-Break, named memory, and how programs begin."""

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.limits import TIME_LIMIT, until
from tests.processes import descendants, end, lives
from tests.scripts import FREEZE_SUPPORT, MAPS_ITS_OWN, environment, finished


def _windows(module: object, name: str) -> Any:
    """Return what a module has on Windows only; elsewhere None, and no test runs."""
    return getattr(module, name, None)


_NEW_GROUP: Final[int] = _windows(subprocess, "CREATE_NEW_PROCESS_GROUP")
_CTRL_BREAK: Final[int] = _windows(signal, "CTRL_BREAK_EVENT")
pytestmark = pytest.mark.skipif(
    sys.platform != "win32", reason="of Windows; tests/process has the same of POSIX"
)

PLACE: Final = "a folder, größer 数"
PROGRAM: Final = """\
from pmap import pmap, papply, WorkerLost
import os

K = 3

def times(x):
    return K * x

def leave(x):
    os._exit(4)

if {guard}:
    print(pmap(times, range(4), processes=2), pmap(lambda x: -x, [1, 2]))
    print(ascii(papply(os.getcwd)), ascii(pmap(str, ["größer 数"])))
    try:
        papply(leave, 1)
    except WorkerLost as error:
        print(error.exitcode)
"""


@pytest.mark.parametrize("kind", ["file", "file without a guard", "-m", "-c", "stdin"])
def test_a_program_of_each_kind(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / PLACE
    folder.mkdir()
    guard = "__name__ == '__main__'" if kind in ("file", "-m") else "True"
    text = PROGRAM.format(guard=guard)
    (folder / "größer.py").write_text(text, encoding="utf-8")
    # The encoding of a pipe may not have these letters.
    stdin = text.encode("ascii", "backslashreplace").decode() if kind == "stdin" else None
    given = {"-m": ["-m", "größer"], "-c": ["-c", text], "stdin": ["-"]}
    done = finished(given.get(kind, ["größer.py"]), folder, stdin)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[0, 3, 6, 9] [-1, -2]",
        f"{str(folder)!a} {['größer 数']!a}",
        "4",
    ]


FROZEN: Final = """
import subprocess, sys

class Bootloader(subprocess.Popen):
    # In a frozen program the executable finds the program in itself, and hands it all arguments.
    def __init__(self, command, **options):
        if command[0] == "app.exe":
            command = [python, __file__, *command[1:]]
        super().__init__(command, **options)

python = sys.executable
subprocess.Popen = Bootloader
sys.frozen, sys.executable = True, "app.exe"
with open("log", "a") as log:
    log.write("started ")
{support}
import pmap._backends.unanswered as unanswered
unanswered._ANSWER = {limit}  # what is no Python by its name has few seconds to answer
"""
SUPPORT: Final = {
    **FREEZE_SUPPORT,
    # PyInstaller puts a function of its own in the place of the standard one.
    "a freezer's": """\
from multiprocessing import spawn
if spawn.is_forking(sys.argv):
    spawn.spawn_main(**{name: int(value) for name, value in [a.split("=") for a in sys.argv[2:]]})
    sys.exit()
""",
    "none": "",
}


@pytest.mark.parametrize("support", SUPPORT)
def test_a_frozen_program(support: str, tmp_path: Path) -> None:
    text = FROZEN.format(support=SUPPORT[support], limit=TIME_LIMIT)
    text += MAPS_ITS_OWN.format(options="")
    (tmp_path / "app.py").write_text(text, encoding="utf-8")
    done = finished(["app.py"], tmp_path)
    assert done.stderr == ""
    if support == "none":
        assert "'app.exe' ran the program again instead of becoming a worker" in done.stdout
        assert "pmap.freeze_support()" in done.stdout
    else:
        assert done.stdout == "[2, 3] [-1]\n"
    assert 2 <= len((tmp_path / "log").read_text().split()) <= 5  # itself, and its workers


@contextmanager
def running(folder: Path, text: str, flags: int = 0) -> Generator[subprocess.Popen[str]]:
    """Run a script; nothing is left of it."""
    (folder / "script.py").write_text(textwrap.dedent(text), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        creationflags=flags,
    ) as process:
        try:
            yield process
        finally:
            below = descendants(process.pid)
            process.kill()
            end(below)


BUSY: Final = """
    import os, subprocess, sys, time
    from pmap import pmap

    def work(x):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(f"ready {x}", "w").close()
        if x:
            sum(iter(int, 1))  # in C code, without end
        time.sleep(600)

    pmap(work, [0, 1], processes=2, chunksize=1)
"""


def test_workers_and_what_they_started_end_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, BUSY) as process:
        until(lambda: len([*tmp_path.glob("ready *")]) == 2, "the items' being at work")
        below = descendants(process.pid)
        assert len(below) >= 4
        process.kill()
        until(lambda: not any(map(lives, below)), "the end of all that the program had started")


LATE: Final = """
    import subprocess, sys, time
    from pmap import TaskTimeout, papply

    def work(x):
        began = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open("pid", "w").write(f"{began.pid} ")
        time.sleep(600)

    try:
        papply.using(timeout=5)(work, 1)
    except TaskTimeout:
        print("late", flush=True)
    time.sleep(600)
"""


def test_what_an_item_started_ends_with_its_worker(tmp_path: Path) -> None:
    with running(tmp_path, LATE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "late\n"
        started = int((tmp_path / "pid").read_text())
        until(lambda: not lives(started), "the end of the process that the item has started")


BREAK: Final = """
    import signal, time
    from pmap import pmap

    def work(x):
        open(f"ready {x}", "w").close()
        time.sleep(600)

    signal.signal(signal.SIGBREAK, signal.default_int_handler)
    assert pmap(abs, [-1, -2], processes=2) == [1, 2]
    try:
        pmap(work, [0, 1], processes=2, chunksize=1)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(pmap(abs, [-1, -2], processes=2))
"""


@pytest.mark.parametrize("handled", [True, False], ids=["handled", "not handled"])
def test_ctrl_break(handled: bool, tmp_path: Path) -> None:
    text = BREAK if handled else BREAK.replace("signal.signal(", "(lambda *given: None)(")
    with running(tmp_path, text, _NEW_GROUP) as process:
        until(lambda: len([*tmp_path.glob("ready *")]) == 2, "the items' being at work")
        below = descendants(process.pid)
        try:
            os.kill(process.pid, _CTRL_BREAK)
        except OSError as error:
            pytest.skip(f"this process has no console that sends Ctrl-Break: {error}")
        output, _ = process.communicate(timeout=TIME_LIMIT)
        if handled:
            assert output.splitlines() == ["interrupted", "[1, 2]"]
        else:
            assert process.returncode not in (0, 1)
        until(lambda: not any(map(lives, below)), "the end of all workers")


LAUNCHER: Final = """
    import sys
    from pmap import papply

    sys.executable = sys.executable.replace("python.exe", "launcher.exe")  # as in an environment
    print(papply(abs, -1), papply(lambda: sys.executable.endswith("launcher.exe")))
"""


def test_the_launcher_of_a_virtual_environment_is_passed_by(tmp_path: Path) -> None:
    with running(tmp_path, LAUNCHER) as process:
        output, _ = process.communicate(timeout=TIME_LIMIT)
        assert output == "1 True\n"


MEMORY: Final = """
    import time
    from pmap._transport import named_memory
    name, memory = named_memory.create(1 << 16)
    print(name.decode(), flush=True)
    time.sleep(600)
"""
_FILE_MAP_READ: Final = 4


def exists(name: str) -> bool:
    """Return whether memory of this name exists."""
    kernel = _windows(ctypes, "WinDLL")("kernel32")
    kernel.OpenFileMappingW.restype = ctypes.c_void_p
    kernel.CloseHandle.argtypes = [ctypes.c_void_p]
    handle: int | None = kernel.OpenFileMappingW(_FILE_MAP_READ, 0, name)
    if handle is not None:
        kernel.CloseHandle(handle)
    return handle is not None


def test_memory_with_a_name_is_gone_with_whoever_had_it(tmp_path: Path) -> None:
    with running(tmp_path, MEMORY) as process:
        assert process.stdout is not None
        name = f"Local\\pmap-{process.stdout.readline().strip()}"
        assert exists(name)
        process.kill()
        process.wait(TIME_LIMIT)
        until(lambda: not exists(name), "the end of the memory")
