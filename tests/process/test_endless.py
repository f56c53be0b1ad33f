"""No processes without end: pools at import time, in items, in what Python imports when it starts.

Each program runs confined, where few processes can be: see `tests.confinement`.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.confinement import can_confine, confined, confined_script
from tests.scripts import environment

if TYPE_CHECKING:
    from pmap._types import StartMethod

if not can_confine():
    pytest.skip("processes cannot be confined here", allow_module_level=True)

POOL_AT_IMPORT: Final = """
from pmap import Pool, pmap
def double(x):
    return 2 * x
with Pool(2, context=__import__("multiprocessing").get_context({method!r})) as pool:
    numbers = pool.map(double, [1, 2])
numbers += pmap(double, [3], processes=2, start_method={method!r})
"""


def test_a_module_that_makes_a_pool_when_it_is_imported(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    (tmp_path / "library.py").write_text(POOL_AT_IMPORT.format(method=start_method))
    done = confined_script(tmp_path, "import library\nprint(library.numbers)")
    assert (done.stdout, done.stderr) == ("[2, 4, 6]\n", "")


@pytest.mark.parametrize("name", ["sitecustomize.py", "usercustomize.py"])
def test_what_python_imports_when_it_starts(
    start_method: "StartMethod", name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(POOL_AT_IMPORT.format(method=start_method))
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    more = {"PYTHONPATH": path, "PYTHONUSERBASE": str(tmp_path)}
    text = f"import {name[:-3]} as it\nfrom pmap import pmap\nprint(it.numbers)\n"
    text += f"print(pmap(lambda x: x, [1, 2], processes=2, start_method={start_method!r}))"
    done = confined_script(tmp_path, text, **more)
    assert (done.stdout, done.stderr) == ("[2, 4, 6]\n[1, 2]\n", "")


def test_an_application_that_runs_its_own_program(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    program, script = tmp_path / "app", tmp_path / "app.py"
    text = f"import sys; sys.executable = {str(program)!r}\nfrom pmap import pmap\n"
    text += f"print(pmap(abs, [-1, 2], processes=2, start_method={start_method!r}))"
    script.write_text(text, encoding="utf-8")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    done = confined([str(program)], tmp_path)
    if start_method == "fork":
        assert done.stdout == "[1, 2]\n"
    else:
        assert done.stdout == ""
        assert "ran the program again instead of becoming a worker" in done.stderr
        assert "multiprocessing.set_executable" in done.stderr


NESTED: Final = """
import subprocess, sys
from multiprocessing import get_context
from pmap import Pool, pmap
context = get_context({method!r})
def inner(x):
    return x + 1
def outer(x):
    with Pool(2, context=context) as pool:
        return pool.map(inner, [x, x + 1])
def endless(x):
    with Pool(2, context=context) as pool:
        return pool.map(endless, [x, x])
def program(x):
    code = "from pmap import pmap; print(pmap(abs, [-1, -2], processes=2))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
def main():
    with Pool(2, context=context) as pool:
        print(pool.map(outer, [1, 5]))
        print(pool.map(program, [1]))
        try:
            pool.map(endless, [1])
        except RecursionError as error:
            print(error)
"""


def test_pools_in_items_are_pools_up_to_some_depth(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    (tmp_path / "functions.py").write_text(NESTED.format(method=start_method))
    done = confined_script(tmp_path, "from functions import main; main()")
    assert done.stderr == ""
    nested, of_a_program, error = done.stdout.splitlines()
    assert nested == "[[2, 3], [6, 7]]"
    assert of_a_program == "['[1, 2]\\n']"
    assert "4 deep" in error


def test_a_program_that_an_item_starts_endlessly(tmp_path: Path) -> None:
    text = """
import subprocess, sys
from pmap import pmap
def again(x):
    done = subprocess.run([sys.executable, sys.argv[0]], capture_output=True, text=True)
    return done.stdout + done.stderr
print(pmap(again, [1, 2], processes=2)[0])
"""
    done = confined_script(tmp_path, text)
    assert done.returncode == 0
    assert "RecursionError" in done.stdout
