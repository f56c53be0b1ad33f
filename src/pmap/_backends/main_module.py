"""The script, where workers are to import it: which it is, and whether that is safe.

A worker that imports the script runs its top level, as one of ``multiprocessing`` does. So what
starts workers there has to stand behind ``if __name__ == "__main__":``.
"""

import ast
import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Final, NamedTuple

from .._errors import OptionError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

_HINT: Final = 'put it behind if __name__ == "__main__":'
# What a script may do with pmap at its top level.
_HARMLESS: Final = frozenset({"using", "collecting", "share", "sync", "call", "rng"})


class Script(NamedTuple):
    """The script as it was when a process was asked to import it."""

    path: str
    package: str | None  # in which it is
    version: tuple[int, ...]  # of the file

    def now(self) -> "Script":
        """Return the same with the file as it is now."""
        return self._replace(version=_version(self.path))


def _version(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:  # it is gone: who imports it says so
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def main_to_import() -> Script:
    """Return which script it is.

    Raises:
        OptionError: there is no such file, or it would start workers when it is imported.
    """
    main = sys.modules["__main__"]
    path: object = getattr(main, "__file__", None)
    if not isinstance(path, str) or not os.path.isfile(path) or hasattr(sys, "ps1"):
        raise OptionError(
            "main",
            "import",
            "workers can import a script that is a file, and this program is none (a REPL, "
            "notebook, -c or stdin): leave main as it is",
        )
    _check(path)
    package: object = getattr(main, "__package__", None)
    path = os.path.abspath(path)
    return Script(path, package if isinstance(package, str) else None, _version(path))


def _check(path: str) -> None:
    with open(path, "rb") as file:
        source = file.read()
    try:
        tree = ast.parse(source, path)
    except (SyntaxError, ValueError) as error:
        raise OptionError("main", "import", f"{path} cannot be read: {error}") from error
    guarded = [part for node in tree.body if _is_guard(node) for part in node.body]
    lines = source.decode("utf-8", "replace").splitlines()
    for number in [*_running_lines(), *_calls(tree, guarded)]:
        if not any(node.lineno <= number <= (node.end_lineno or 0) for node in guarded):
            raise OptionError(
                "main",
                "import",
                f"each worker would run line {number} of {path} when it imports the script: "
                f"{lines[number - 1].strip()}\n{_HINT}",
            )


def _is_guard(node: ast.stmt) -> "TypeIs[ast.If]":
    """Return whether a statement is ``if __name__ == "__main__":``."""
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    if not isinstance(node.test.ops[0], ast.Eq):
        return False
    sides = [node.test.left, *node.test.comparators]
    names = [side.id for side in sides if isinstance(side, ast.Name)]
    texts = [side.value for side in sides if isinstance(side, ast.Constant)]
    return names == ["__name__"] and texts == ["__main__"]


def _running_lines() -> Iterator[int]:
    """Yield the line at which the top level of the script is just now, if it runs."""
    frame: FrameType | None = sys._getframe()
    main = vars(sys.modules["__main__"])
    while frame is not None:
        if frame.f_globals is main and frame.f_code.co_name == "<module>":
            yield frame.f_lineno
        frame = frame.f_back


def _calls(tree: ast.Module, guarded: list[ast.stmt]) -> Iterator[int]:
    """Yield the lines of the top level that call what they have imported from pmap."""
    ours: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "pmap":
            ours |= {alias.asname or alias.name for alias in node.names} - _HARMLESS
        elif isinstance(node, ast.Import):
            ours |= {alias.asname or "pmap" for alias in node.names if alias.name == "pmap"}
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        if node in guarded:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue  # it runs when it is called
        if isinstance(node, ast.Call) and _starts_workers(node.func, ours):
            yield node.lineno
        waiting += ast.iter_child_nodes(node)


def _starts_workers(function: ast.expr, ours: set[str]) -> bool:
    attributes: list[str] = []
    while isinstance(function, ast.Attribute):
        attributes.append(function.attr)
        function = function.value
    is_ours = isinstance(function, ast.Name) and function.id in ours
    return is_ours and not (attributes and attributes[0] in _HARMLESS)
