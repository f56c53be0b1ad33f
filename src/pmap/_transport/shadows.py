"""The user's own modules that have the same name as a module of the standard library.

If a directory at the front of ``sys.path`` has a ``traceback.py``, the program and its items import
that file as ``traceback``. What pmap itself imports in a worker still comes from the standard
library.
"""

from __future__ import annotations

import os
import sys

from .light_stdlib import RLock

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import TypeAlias

    # Names that a module of the user and a standard module both have. For each: whether the caller
    # uses the standard module under this name, because it imported that before the user's module
    # was on the path.
    Shadows: TypeAlias = list[tuple[str, bool]]

# The directory of the standard library; in a frozen program, which may have no such directory, the
# installation prefix.
STANDARD = os.path.dirname(getattr(os, "__file__", "")) or sys.prefix
# On Windows the extension modules of the standard library have a folder of their own, which comes
# before the other modules on the path.
_EXTENSIONS = os.path.join(os.path.dirname(STANDARD), "DLLs")
# The names of the user's modules that hide a standard module in this worker.
_names: set[str] = set()
# Standard modules that items in this worker do not see: a module of the user has the same name.
_hidden: dict[str, ModuleType] = {}
_lock = RLock()


def find_shadows(path: Sequence[str]) -> Shadows:
    """Return the names of standard modules that a user's module on `path` hides."""
    found: dict[str, str] = {}
    for entry in _before(path):
        try:
            files = os.listdir(entry or ".")
        except OSError:  # the entry of the path cannot be read as a directory
            continue
        for file in files:
            name, _, kind = file.partition(".")
            if name in sys.stdlib_module_names and _is_module(entry, name, kind):
                found[name] = entry
    return [(name, _is_standard(name, path)) for name in found]


def _before(path: Sequence[str]) -> Sequence[str]:
    """Return the entries of `path` in front of the standard library.

    Only these entries can hide a module of the standard library.
    """
    if STANDARD not in path:
        return ()
    return path[: min(path.index(one) for one in (STANDARD, _EXTENSIONS) if one in path)]


def _is_module(entry: str, name: str, kind: str) -> bool:
    if name in sys.builtin_module_names:
        return False
    if kind:
        return kind == "py" or kind.endswith(("so", "pyd", "pyc"))
    return os.path.exists(os.path.join(entry, name, "__init__.py"))


def _is_standard(name: str, path: Sequence[str]) -> bool:
    module = sys.modules.get(name)
    return module is not None and not _is_users(module, path)


def _is_users(module: ModuleType, path: Sequence[str]) -> bool:
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    if not isinstance(origin, str):
        return False
    folder = os.path.dirname(origin)
    if os.path.basename(origin).startswith("__init__."):
        folder = os.path.dirname(folder)
    return folder in _before(path)


def apply_shadows(shadows: Shadows, path: Sequence[str]) -> None:
    """Make each module name in `shadows` mean for items in this worker what it means in the caller.

    `path` is the import path of the items.
    """
    _names.clear()
    _names.update([name for name, _ in shadows])
    for name, is_standard in shadows:
        if is_standard:
            if name not in sys.modules:
                with standard_library:
                    __import__(name)
            if name in _hidden:
                sys.modules[name] = _hidden[name]
            _names.discard(name)
        elif name in sys.modules and not _is_users(sys.modules[name], path):
            _hide(name)


def _hide(name: str) -> None:
    for one in [one for one in sys.modules if _top(one) == name]:
        _hidden[one] = sys.modules.pop(one)


def _top(name: str) -> str:
    return name.partition(".")[0]


class _StandardLibrary:
    """A context manager in which imports find the standard modules, even hidden ones."""

    def __init__(self) -> None:
        self._depth = 0
        self._path: list[str] = []
        self._theirs: dict[str, ModuleType] = {}

    def __enter__(self) -> None:
        if not _names:
            return
        _lock.acquire()
        self._depth += 1
        if self._depth > 1:
            return
        self._path = sys.path[:]
        sys.path[:] = sys.path[len(_before(sys.path)) :]
        theirs = [name for name in sys.modules if _top(name) in _names]
        self._theirs = {name: sys.modules.pop(name) for name in theirs}
        sys.modules.update(_hidden)

    def __exit__(self, *_: object) -> None:
        if not self._depth:
            return
        self._depth -= 1
        if not self._depth:
            sys.path[:] = self._path
            for name in {_top(name) for name in sys.modules} & _names:
                _hide(name)
            sys.modules.update(self._theirs)
            self._theirs = {}
        _lock.release()


standard_library = _StandardLibrary()
