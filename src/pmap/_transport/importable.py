"""Which functions and classes other processes can import; all others are sent by value.

A function or class that is sent by value travels with its contents, and not as a name.
"""

from __future__ import annotations

import os
import sys
from itertools import count

from .shadows import STANDARD

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

# The names of main modules. A function or class that is defined in a main module has to be sent by
# value, and not as a name: every process has a main module of its own.
MAIN_MODULES: frozenset[str] = frozenset({"__main__", "__mp_main__"})

# Directories of the standard library and of installed packages. Every process of the program finds
# the same modules below these directories.
_INSTALLED = (
    os.path.join(STANDARD, ""),
    os.path.join(sys.prefix, "lib", os.path.basename(STANDARD), "site-packages", ""),
)
_AUTORELOAD = "IPython.extensions.autoreload"
# Top-level packages whose modules are not checked for being loaded again: `pmap`; and `typing`,
# because `typing.io` and `typing.re` of Python 3.11 and 3.12 are classes with attributes that take
# a microsecond each to look up.
_NOT_LOADED_AGAIN = frozenset({__name__.partition(".")[0], "typing"})


class _Modules:
    """What this process knows about its modules, above all which of them a worker cannot import."""

    def __init__(self) -> None:
        # The length of `sys.modules` when the modules were last examined; `last` is the name of the
        # last module in `sys.modules` at that time.
        self.seen = 0
        self.last: str | None = None
        self.looked: dict[str, object] = {}
        self.path: list[str] = []
        # The names of modules that a worker cannot import.
        self.by_value: set[str] = set()
        # The names of modules that a worker cannot import, encoded as in a pickle.
        self.literal: tuple[bytes, ...] = ()
        # The modules that were examined and are not installed, each with its `__spec__`. An import
        # or a reload makes a new `__spec__`.
        self.own: dict[str, tuple[ModuleType, object]] = {}
        self.versions = count(1)
        self.version = 0  # the number that `code_version` returns
        # When the file of each module was last changed, in ns; filled only while IPython's
        # autoreload is active.
        self.edited: dict[str, int] = {}


_modules = _Modules()


def is_importable(obj: Any) -> bool:
    """Return whether other processes find a function or class by its module and name."""
    module: object = obj.__module__
    found: object = sys.modules.get(module) if isinstance(module, str) else None
    try:
        for part in obj.__qualname__.split("."):
            found = getattr(found, part, None)
    except Exception:  # a descriptor of the program's may raise anything
        return False
    return found is obj and travels_by_name(module)


def is_of_a_module(method: Any) -> bool:
    """Return whether a bound method is a global of a module, under the method's own name.

    An example is ``random.random``: a method of a random generator that the module `random` owns.
    Such a method is sent as a name; otherwise each worker would get a copy of the generator.
    """
    owner: object = method.__self__
    if owner is None or isinstance(owner, (type, type(sys))):
        # The object is a function of a module written in C, or a class method. So it is not a
        # method of an object, which a pickle by value would copy.
        return False
    home = type(owner).__module__
    found: object = getattr(sys.modules.get(home), method.__name__, None)
    return type(found) is type(method) and found == method and travels_by_name(home)


def travels_by_name(module: object) -> bool:
    """Return whether other processes can import a module, and so find its contents by name."""
    if not isinstance(module, str) or module in MAIN_MODULES:
        return False
    _look_at_new_modules()
    return module not in _modules.by_value


def may_refer_by_value(data: bytes) -> bool:
    """Return whether a pickle may refer by name to something that other processes lack.

    A pickle that refers to a module has the module's name in it, byte for byte. If a string in the
    pickle merely contains the name of such a module, the answer is yes as well, and then the value
    is pickled by value without need. The answer is also yes for a pickle that mentions
    `multiprocessing`, whose objects are pickled in another way (see `by_value.handover`), and for a
    pickle with a bare ``object()`` in it.
    """
    # The bytes "_main__" are the end of each name in `MAIN_MODULES`; the bytes "multiprocessing."
    # begin the names of the modules of the package multiprocessing.
    if b"_main__" in data or b"multiprocessing." in data:
        return True
    if b"\x06object\x94" in data and b")\x81" in data:
        # The pickle may have a bare `object()` in it. Only the identity of such an object
        # distinguishes it from others, and a plain pickle loses the identity.
        return True
    _look_at_new_modules()
    literal = _modules.literal
    return bool(literal) and any(name in data for name in literal)


def code_version() -> int:
    """Return a number that changes when a module of the program is loaded again.

    A module is loaded again by ``reload``, by an import after the module was taken out of
    ``sys.modules``, or, if IPython's autoreload is active, by an edit of the module's file.
    Installed modules are not examined.
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
    """Record which modules new workers cannot import because their files are gone."""
    for name, (module, _) in [*_modules.own.items()]:
        if sys.modules.get(name) is module:
            _look_at(name, module)


def _look_at_files() -> None:
    """Record which modules have had their files edited since the last call of this function.

    Under IPython's autoreload a module stays the same object: IPython puts the new code into the
    old module.
    """
    for name, (module, _) in [*_modules.own.items()]:
        try:
            edited = os.stat(module.__file__ or "").st_mtime_ns
        except (AttributeError, OSError, TypeError):
            continue
        if _modules.edited.setdefault(name, edited) != edited:
            _modules.edited[name] = edited
            _modules.version = next(_modules.versions)


def _look_at_new_modules() -> None:
    # All modules are examined only if the number of modules, or the last module, has changed: this
    # comparison takes next to no time, and examining all modules takes milliseconds.
    modules = sys.modules
    length = len(modules)
    if _modules.path != sys.path:
        _modules.path = sys.path[:]
        for name in [*_modules.own]:
            if name in modules:
                _look_at(name, modules[name])
    try:
        last = next(reversed(modules), None)
    except RuntimeError:  # another thread has changed `sys.modules` meanwhile
        last = None
    if _modules.seen == length and _modules.last == last:
        return
    looked = _modules.looked
    for name, module in list(modules.items()):
        if looked.get(name) is not module:
            try:
                _look_at(name, module)
            finally:
                # The module is added to `looked` only now: another thread that finds the module
                # there relies on `by_value` being complete.
                looked[name] = module
    _modules.seen, _modules.last = length, last


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
        _modules.version = next(_modules.versions)
    _modules.own[name] = module, spec
    if _is_found(name, spec):
        _modules.by_value.discard(name)
    else:
        _modules.by_value.add(name)
    # Another thread may add names to `by_value` at the same time, and then the older of two tuples
    # of these names may be stored last. So each thread checks after its store that the stored tuple
    # has all names. If the tuple lacks a name, the thread stores another tuple.
    names: set[str] = set()
    while names != _modules.by_value or len(names) != len(_modules.literal):
        names = _modules.by_value.copy()
        _modules.literal = tuple([name.encode() for name in names])


def _is_found(name: str, spec: Any) -> bool:
    """Return whether another process that imports `name` finds the same file as this process.

    `spec` is the module's ``__spec__`` in this process.
    """
    parent, _, _ = name.rpartition(".")
    if parent in _modules.by_value:
        return False
    if spec is None or getattr(spec, "origin", None) is None:
        # A namespace package has a spec without an origin, and other processes find the package. A
        # module without a spec was made by the program: other processes have such a module only if
        # it belongs to a package, and the import of that package makes the module.
        return spec is not None or bool(parent)
    path: Sequence[str] | None = getattr(sys.modules.get(parent), "__path__", None)
    if parent and (path is None or os.path.dirname(spec.origin) in path):
        # The parent package's path has the directory of the module's file, so finders find the
        # module; or the parent is no package, and makes the module when the parent is imported, as
        # `os` makes `os.path`.
        return True
    for finder in sys.meta_path:
        if not _is_installed(finder):
            # The finder is defined by the program itself, so a worker does not have it.
            continue
        try:
            found = finder.find_spec(name, path)
        except Exception:  # a finder that the program has installed may raise anything
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
