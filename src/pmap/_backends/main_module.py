"""Finds the file of the user's script, and checks that worker processes can import it safely.

A worker that imports the script runs the top level of the script, as a worker of
``multiprocessing`` does. So calls in the script that start workers have to stand in a block ``if
__name__ == "__main__":``.
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
# The names of pmap that a script may call at its top level, because these functions start no
# workers.
_HARMLESS: Final = frozenset({"using", "collecting", "share", "sync", "call", "rng"})


class Script(NamedTuple):
    """The user's script, with the version that its file had when a process was to import it.

    `package` is the package that the script belongs to, or None. `version` changes when the file
    changes.
    """

    path: str
    package: str | None
    version: tuple[int, ...]

    def now(self) -> "Script":
        """Return the same script, with the present version of its file."""
        return self._replace(version=_version(self.path))


def _version(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        # The script's file cannot be read. The process that is to import it will report that.
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def main_to_import() -> Script:
    """Return the user's script that workers are to import.

    Raises:
        OptionError: the program is no script file, or the file cannot be read as Python, or an
            import of the script would start workers.
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
    """Yield the line at which the top-level code of the script is now, if that code still runs."""
    frame: FrameType | None = sys._getframe()
    main = vars(sys.modules["__main__"])
    while frame is not None:
        if frame.f_globals is main and frame.f_code.co_name == "<module>":
            yield frame.f_lineno
        frame = frame.f_back


def _calls(tree: ast.Module, guarded: list[ast.stmt]) -> Iterator[int]:
    """Yield the lines at which an import of the script would start workers."""
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
            # Code inside a function is not searched, because it does not run when the script is
            # imported.
            continue
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
