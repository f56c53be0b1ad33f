"""A program that PyInstaller has frozen, as a folder and as one file, on each start method.

Slow, since it is built first: ``nox -s frozen`` installs what it takes. What can be had without a
build is in ``tests/process/test_programs.py``.
"""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.confinement import can_confine, confined
from tests.limits import HARD_LIMIT, TIME_LIMIT
from tests.scripts import environment

if TYPE_CHECKING:
    from pmap._types import StartMethod

pytest.importorskip("PyInstaller", reason="PyInstaller is not installed: see `nox -s frozen`")
# On Windows the job of this process says how many processes there may be: see `windows_processes`.
if not can_confine() and sys.platform != "win32":
    pytest.skip("processes cannot be confined here", allow_module_level=True)

PROGRAM: Final = """
import os
import sys

from pmap import Pool, WorkerStartError, pmap

K = 3

class Number:
    def __init__(self, x):
        self.x = x

def add(number):
    return Number(number.x + K)

def nested(x):
    return pmap(abs, [x, -x], processes=2, start_method=sys.argv[1])

def main(method):
    verb = pmap.using(processes=2, start_method=method)
    try:
        print([number.x for number in verb(add, [Number(1), Number(2)])])
    except WorkerStartError as error:
        print(error)
        return
    print(verb(lambda x: -x, [1]), verb(len, ["a"]), verb(nested, [2]))
    verb(print, ["said"])
    os.environ["SET"] = "late"
    from multiprocessing import get_context
    with Pool(2, context=get_context(method)) as pool:
        print(pool.map(os.environ.get, ["SET"]))

if __name__ == "__main__":
    if os.environ["SUPPORT"] == "ours":
        from pmap import freeze_support
        freeze_support()
    elif os.environ["SUPPORT"] == "the standard one":
        import multiprocessing
        multiprocessing.freeze_support()
    main(*sys.argv[1:2])
"""
PRINTED: Final = "[4, 5]\n[-1] [1] [[2, 2]]\nsaid\n['late']\n"


@pytest.fixture(scope="module", params=["onedir", "onefile"])
def frozen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a frozen program."""
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "app.py").write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, "-m", "PyInstaller", f"--{request.param}", "--log-level", "ERROR"]
    command += ["--paths", str(Path(__file__).parents[2] / "src"), "app.py"]
    subprocess.run(command, cwd=folder, check=True, timeout=HARD_LIMIT)
    app = "app.exe" if sys.platform == "win32" else "app"
    return folder / "dist" / (f"app/{app}" if request.param == "onedir" else app)


def run_where_there_are_few(
    command: list[str], folder: Path, support: str
) -> subprocess.CompletedProcess[str]:
    """Run a program where it cannot start processes without end."""
    if can_confine():
        return confined(command, folder, SUPPORT=support)
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment() | {"SUPPORT": support},
        timeout=TIME_LIMIT,
        check=False,
    )


@pytest.mark.parametrize("support", ["ours", "the standard one", "none"])
def test_a_frozen_program(
    start_method: "StartMethod", support: str, frozen: Path, tmp_path: Path
) -> None:
    done = run_where_there_are_few([str(frozen), start_method], tmp_path, support)
    if support == "none" and start_method != "fork":
        # What is to be a worker runs the program, which finds no start method on its command line.
        assert "pmap.freeze_support()" in done.stdout
        assert repr(str(frozen)) in done.stdout
    else:
        assert (done.stdout, done.stderr) == (PRINTED, "")
