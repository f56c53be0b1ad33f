"""Each example prints what its docstring shows, and each example in a docstring is true."""

import ast
import doctest
import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.limits import TIME_LIMIT

import pmap

TOP: Final = Path(__file__).parents[2]
EXAMPLES: Final = sorted((TOP / "examples").glob("*.py"))
SOURCE: Final = TOP / "src"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_it_shows(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    _, _, output = docstring.partition("Output:\n")
    done = subprocess.run(
        [sys.executable, path],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.splitlines() == textwrap.dedent(output).splitlines() != []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


def docstrings(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield (name, line, text) of each docstring in a module that has examples.

    They are read from the source: a finder that goes through objects misses what a property or a
    verb, which is an object of its own, hides from it.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and ">>>" in text:
                name = "" if isinstance(node, ast.Module) else node.name
                yield name, getattr(node, "lineno", 1), text


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SHOWN: Final = [
    pytest.param(path, line, text, id=f"{module_of(path)}:{name}")
    for path in sorted(SOURCE.rglob("*.py"))
    for name, line, text in docstrings(path)
]


@pytest.mark.parametrize(("path", "line", "text"), SHOWN)
def test_a_docstring_is_true(path: Path, line: int, text: str) -> None:
    known = dict(vars(importlib.import_module(module_of(path))))
    if "._" in module_of(path):
        # A reader of the public face has the public names, as in `from pmap import *`.
        known = {name: getattr(pmap, name) for name in pmap.__all__} | known
    test = doctest.DocTestParser().get_doctest(text, known, module_of(path), str(path), line)
    said: list[str] = []
    ran = doctest.DocTestRunner().run(test, out=said.append)
    assert ran.attempted > 0
    assert ran.failed == 0, "".join(said)


def test_what_is_public_shows_an_example() -> None:
    verbs = [pmap.Map, pmap.StarMap, pmap.Apply]
    methods = [getattr(verb, name) for verb in verbs for name in ("__call__", "async_")]
    properties = [vars(verb)["collecting"] for verb in verbs]
    for thing in [pmap, pmap.Pool, pmap.AsyncResult, *methods, *properties]:
        assert ">>>" in (thing.__doc__ or ""), thing
