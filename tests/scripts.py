"""Scripts that a test runs as a user would: whole programs, in a process of their own."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

from tests.limits import TIME_LIMIT, until
from tests.processes import descendants, end, lives
from tests.signals import ended_by

PREAMBLE: Final = """\
import os, sys, threading
from pmap import pmap, pstarmap, papply, Pool, ControlFlowError, PoolClosedError
pmap = pmap.using(processes=2, start_method={method!r})
pstarmap = pstarmap.using(processes=2, start_method={method!r})
papply = papply.using(processes=2, start_method={method!r})
"""

# What a frozen program does here, and the ways in which it may let its copies become workers.
MAPS_ITS_OWN: Final = """\
from pmap import pmap, WorkerStartError
class Number:
    def __init__(self, x):
        self.x = x
def add(number):
    return Number(number.x + 1)
try:
    numbers = pmap(add, [Number(1), Number(2)], processes=2{options})
    print([number.x for number in numbers], pmap(lambda x: -x, [1]{options}))
except WorkerStartError as error:
    print(error)
"""
FREEZE_SUPPORT: Final = {
    "ours": "from pmap import freeze_support; freeze_support()",
    "the standard one": "import multiprocessing, pmap; multiprocessing.freeze_support()",
}


def program(method: str, body: str) -> str:
    """Return a program that has the verbs with a start method."""
    return PREAMBLE.format(method=method) + textwrap.dedent(body)


def environment() -> dict[str, str]:
    """Return an environment in which the library is found and warnings are errors to look at."""
    path = os.pathsep.join(dict.fromkeys(p for p in sys.path if p))
    return os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": ""}


def finished(
    arguments: list[str],
    folder: Path,
    stdin: str | None = None,
    limit: float = TIME_LIMIT,
    **more: str,
) -> subprocess.CompletedProcess[str]:
    """Run a program, with `more` in its environment; return what came of it."""
    return subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment() | more,
        timeout=limit,
        check=False,
        start_new_session=True,
    )


def run(
    arguments: list[str],
    folder: Path,
    stdin: str | None = None,
    code: int = 0,
    limit: float = TIME_LIMIT,
) -> str:
    """Run a program; return what it printed, once its stderr is seen to be empty."""
    done = finished(arguments, folder, stdin, limit)
    assert done.stderr == "", done.stderr
    assert done.returncode == code
    return done.stdout


def run_script(folder: Path, text: str, code: int = 0) -> list[str]:
    """Run a script from a file; return the lines that it printed."""
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    return run([str(script)], folder, code=code).splitlines()


def kill_the_caller(folder: Path, text: str, number: signal.Signals, **more: str) -> None:
    """Run a program until its workers are up, kill it, and see them end.

    Args:
        folder: where it runs.
        text: what it does; it makes the file "ready" when its workers are up.
        number: the signal that kills it.
        more: what is in its environment besides.
    """
    (folder / "script.py").write_text(text, encoding="utf-8")
    below: set[int] = set()
    with subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment() | more,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            until((folder / "ready").exists, "the workers' being ready")
            below = descendants(process.pid)
            assert len(below) >= 2
            process.send_signal(number)
            assert process.wait(TIME_LIMIT) == ended_by(number)
            until(lambda: not any(map(lives, below)), "the end of all workers")
        finally:
            process.kill()
            end(filter(lives, below))
