"""Classes with one job stay small: backends, connections, workers."""

import ast
from pathlib import Path
from typing import Final

import pytest

import pmap

PACKAGE: Final = Path(pmap.__file__).parent
FOLDERS: Final = ["_backends", "_worker"]
MODULES: Final = sorted(
    path.relative_to(PACKAGE).as_posix()
    for folder in [*FOLDERS, "_transport"]
    for path in (PACKAGE / folder).glob("*.py")
    if folder != "_transport" or path.name == "protocol.py"
)
MOST_LINES: Final = 500
MOST_METHODS: Final = 40
MOST_ATTRIBUTES: Final = 25
MOST_LINES_OF_A_FUNCTION: Final = 60


@pytest.mark.parametrize("module", MODULES)
def test_modules_classes_and_functions_are_small(module: str) -> None:
    text = (PACKAGE / module).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MOST_LINES_OF_A_FUNCTION, node.name
        if isinstance(node, ast.ClassDef):
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
            assert len(methods) <= MOST_METHODS, node.name
            attributes = {
                one.attr
                for method in methods
                for one in ast.walk(method)
                if isinstance(one, ast.Attribute)
                and isinstance(one.ctx, ast.Store)
                and isinstance(one.value, ast.Name)
                and one.value.id == "self"
            }
            assert len(attributes) <= MOST_ATTRIBUTES, (node.name, len(attributes))
