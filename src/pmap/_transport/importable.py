"""What pickle finds by its name in every process of a program, and what has to travel by value."""

from __future__ import annotations

import os
import sys

from .shadows import STANDARD

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

# What is defined there, another process does not find: its own main module is another one.
MAIN_MODULES: frozenset[str] = frozenset({"__main__", "__mp_main__"})

# Below these each interpreter finds the same: the standard library, and what is installed.
_INSTALLED = (
    os.path.join(STANDARD, ""),
    os.path.join(sys.prefix, "lib", os.path.basename(STANDARD), "site-packages", ""),
)
_AUTORELOAD = "IPython.extensions.autoreload"
# This package; and what Python 3.11 and 3.12 have as `typing.io` and `typing.re`, which are classes
# whose attributes take a microsecond each.
_NOT_LOADED_AGAIN = frozenset({__name__.partition(".")[0], "typing"})


class _Modules:
    """The modules of this process that others would not find, as far as they were looked at."""

    def __init__(self) -> None:
        self.seen = 0  # how many modules there were, and the name of the last
        self.last: str | None = None
        self.looked: dict[str, object] = {}
        self.path: list[str] = []
        self.by_value: set[str] = set()  # names
        self.literal: tuple[bytes, ...] = ()  # as they stand in a pickle
        # Those that were looked at and are not installed, and their specs: an import, or a reload,
        # makes a new one.
        self.own: dict[str, tuple[ModuleType, object]] = {}
        self.version = 0
        self.edited: dict[str, int] = {}  # when the file of each was, where that is looked at


_modules = _Modules()


def is_importable(obj: Any) -> bool:
    """Return whether just this function or class is found by module and name, elsewhere too."""
    module: object = obj.__module__
    found: object = sys.modules.get(module) if isinstance(module, str) else None
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj and travels_by_name(module)


def is_of_a_module(method: Any) -> bool:
    """Return whether a bound method is a function of the module of its class.

    As ``random.random`` is: a method of a generator that the module has. It goes by its name, or
    each worker would have a copy of the generator.
    """
    owner: object = method.__self__
    if owner is None or isinstance(owner, (type, type(sys))):
        return False  # a plain function of a module in C, or a class method
    home = type(owner).__module__
    found: object = getattr(sys.modules.get(home), method.__name__, None)
    return type(found) is type(method) and found == method and travels_by_name(home)


def travels_by_name(module: object) -> bool:
    """Return whether a module's functions and classes are found by name in another process."""
    if not isinstance(module, str) or module in MAIN_MODULES:
        return False
    _look_at_new_modules()
    return module not in _modules.by_value


def may_refer_by_value(data: bytes) -> bool:
    """Return whether a pickle may refer by name to what is to travel by value.

    Each name stands literally in every pickle that refers to it; a string that just contains it
    takes the slower road for nothing. So does what is of `multiprocessing`, which is pickled in
    another way (see `by_value.handover`), and what has an ``object()`` in it.
    """
    # The end of all `MAIN_MODULES`; the modules of a package.
    if b"_main__" in data or b"multiprocessing." in data:
        return True
    if b"\x06object\x94" in data and b")\x81" in data:
        return True  # an `object()`, which is known by its identity only
    _look_at_new_modules()
    literal = _modules.literal
    return bool(literal) and any(name in data for name in literal)


def code_version() -> int:
    """Return a number that is another one when a module of the program was loaded again.

    That is: by ``reload``, or by an import after it was taken out of ``sys.modules``, or, where
    IPython's autoreload is at work, by an edit of its file. What is installed is not looked at.
    """
    _look_at_new_modules()
    modules = sys.modules
    for name, (module, spec) in [*_modules.own.items()]:
        now = modules.get(name)
        if now is not None and (now is not module or getattr(now, "__spec__", None) is not spec):
            _look_at(name, now)
    if _AUTORELOAD in modules:
        _look_at_files()
    return _modules.version


def look_for_files() -> None:
    """Take in which modules of the program new workers would not find: their files are gone."""
    for name, (module, _) in [*_modules.own.items()]:
        if sys.modules.get(name) is module:
            _look_at(name, module)


def _look_at_files() -> None:
    """Notice the files that were edited: IPython puts new code into the old module by itself."""
    for name, (module, _) in [*_modules.own.items()]:
        try:
            edited = os.stat(module.__file__ or "").st_mtime_ns
        except (AttributeError, OSError, TypeError):
            continue
        if _modules.edited.setdefault(name, edited) != edited:
            _modules.edited[name] = edited
            _modules.version += 1


def _look_at_new_modules() -> None:
    # A look at the number of modules costs next to nothing; at all of them, milliseconds.
    modules = sys.modules
    count = len(modules)
    if _modules.path != sys.path:
        _modules.path = sys.path[:]
        for name in [*_modules.own]:
            if name in modules:
                _look_at(name, modules[name])
    last = next(reversed(modules), None)
    if _modules.seen == count and _modules.last == last:
        return
    _modules.seen, _modules.last = count, last
    looked = _modules.looked
    for name, module in list(modules.items()):
        if looked.get(name) is not module:
            looked[name] = module
            _look_at(name, module)


def _look_at(name: str, module: ModuleType) -> None:
    if name in MAIN_MODULES or name.partition(".")[0] in _NOT_LOADED_AGAIN:
        return
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None)
    if origin in ("built-in", "frozen"):
        return
    if isinstance(origin, str) and origin.startswith(_INSTALLED):
        return
    before = _modules.own.get(name)
    if before is not None and not (before[0] is module and before[1] is spec):
        _modules.version += 1
    _modules.own[name] = module, spec
    if _is_found(name, spec):
        _modules.by_value.discard(name)
    else:
        _modules.by_value.add(name)
    _modules.literal = tuple([name.encode() for name in _modules.by_value])


def _is_found(name: str, spec: Any) -> bool:
    """Return whether an import of `name` elsewhere finds the file that this module came from."""
    parent, _, _ = name.rpartition(".")
    if parent in _modules.by_value:
        return False
    if spec is None or getattr(spec, "origin", None) is None:
        # A namespace package; or what a program has made: as a part of a package, by its import.
        return spec is not None or bool(parent)
    path: Sequence[str] | None = getattr(sys.modules.get(parent), "__path__", None)
    if parent and (path is None or os.path.dirname(spec.origin) in path):
        return True  # where it would be looked for; or the import of its parent made it
    for finder in sys.meta_path:
        if not _is_installed(finder):
            continue  # one of the program's own: a worker has it not
        try:
            found = finder.find_spec(name, path)
        except Exception:  # a finder of the program's own
            continue
        if found is not None:
            return _is_same(found.origin, spec.origin)
    return False


def _is_installed(finder: object) -> bool:
    cls = finder if isinstance(finder, type) else type(finder)
    return cls.__module__ not in _modules.own and cls.__module__ not in MAIN_MODULES


def _is_same(one: object, other: object) -> bool:
    if one == other or not isinstance(one, str) or not isinstance(other, str):
        return one == other
    return os.path.realpath(one) == os.path.realpath(other)
