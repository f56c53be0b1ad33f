"""What measures or stops a program meets its workers, too: coverage, debuggers, options."""

import ast
from pathlib import Path
from typing import Final

import pytest
from tests.scripts import finished

METHODS: Final = ("spawn", "forkserver", "fork")

MEASURED: Final = """
import sys
from pmap import pmap

def item(x):
    y = x + 1
    return y

print(pmap(item, range(4), processes=2, start_method=sys.argv[1]))
"""
CONFIGS: Final = {
    "multiprocessing": "concurrency = multiprocessing\nparallel = true",
    "subprocess": "patch = subprocess, _exit",
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("config", CONFIGS)
def test_coverage_counts_the_lines_of_items(config: str, method: str, tmp_path: Path) -> None:
    coverage = pytest.importorskip("coverage")
    (tmp_path / "program.py").write_text(MEASURED)
    (tmp_path / ".coveragerc").write_text(f"[run]\nsource = .\n{CONFIGS[config]}\n")
    done = finished(["-m", "coverage", "run", "program.py", method], tmp_path)
    assert (done.stdout, done.stderr) == ("[1, 2, 3, 4]\n", "")
    data = coverage.CoverageData(basename=str(tmp_path / "combined"))
    for path in tmp_path.glob(".coverage.*"):
        part = coverage.CoverageData(basename=str(path))
        part.read()
        data.update(part)
    assert {6, 7} <= {*data.lines(str(tmp_path / "program.py"))}


DEBUGGED: Final = """
import os, pdb, sys
from pmap import pmap

def tried(f):
    try:
        return pmap(f, [1], processes=1, start_method=sys.argv[1])
    except Exception as error:
        return type(error).__name__, str(error)

if sys.argv[2:]:
    sys.breakpointhook = lambda: "mine"
print([tried(lambda x: breakpoint()), tried(lambda x: pdb.set_trace()), tried(lambda x: input())])
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_debugger_in_an_item_says_what_to_do(method: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(DEBUGGED)
    done = finished(["program.py", method], tmp_path)
    told = ast.literal_eval(done.stdout.splitlines()[-1])
    assert [name for name, _ in told] == ["RuntimeError", "RuntimeError", "EOFError"]
    assert all('backend="serial"' in text for _, text in told)
    assert done.stdout.count("\n-> ") == 1  # of pdb's own call: breakpoint() does not come so far
    # A hook that the caller has put in place is in its forks only: to others the same is said.
    done = finished(["program.py", method, "with a hook"], tmp_path)
    first, *others = ast.literal_eval(done.stdout.splitlines()[-1])
    assert (first, others) == (["mine"] if method == "fork" else told[0], told[1:])
    # A hook of the program's own is called instead.
    done = finished(["program.py", method], tmp_path, PYTHONBREAKPOINT="builtins.int")
    assert ast.literal_eval(done.stdout.splitlines()[-1])[0] == [0]


OPTIONS: Final = """
import faulthandler, sys
from pmap import pmap
faulthandler.enable()

def found(_):
    flags = [getattr(sys.flags, name) for name in
             ("optimize", "dev_mode", "utf8_mode", "dont_write_bytecode", "no_user_site")]
    return flags, sorted(sys._xoptions), sys.warnoptions, faulthandler.is_enabled(), unbuffered()

def unbuffered():
    return "-u" in sys.orig_argv

print(pmap(found, [0], processes=1, start_method=sys.argv[1]) == [found(0)])
"""


@pytest.mark.parametrize("method", METHODS)
def test_options_of_the_interpreter_reach_workers(method: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(OPTIONS)
    given = ["-u", "-B", "-O", "-s", "-X", "dev", "-X", "utf8", "-X", "no_debug_ranges"]
    done = finished([*given, "-W", "error::ImportWarning", "program.py", method], tmp_path)
    assert (done.stdout, done.stderr) == ("True\n", "")
