"""Digests of functions and inputs; they are the same in each run of a program.

A plain pickle is not the same in each run. The order of a set differs from process to process, the
pickle depends on which equal objects are one object, and a function is pickled by its name or with
the place of its code. So the pickler of this module has no memo, sorts sets, and describes
functions and classes by what they do: code, defaults, closure, and the globals that the code names.
Names of files and numbers of lines are left out.

Functions and classes of installed packages and of the standard library are described by their names
only.
"""

import functools
import io
import os
import pickle
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from hashlib import blake2b
from types import (
    CellType,
    CodeType,
    FunctionType,
    MappingProxyType,
    ModuleType,
)
from typing import Any, Final, cast

from .._transport.by_value.globals_of import names_in
from .._transport.by_value.shared import Shared
from .._transport.importable import MAIN_MODULES

DIGEST_SIZE: Final = 16
# Each digest includes this value: the version of the format, and the version of Python's bytecode.
# If either of them changes, so does each digest.
_FORMAT: Final = (1, sys.implementation.cache_tag)

_ATOMS: Final = frozenset((int, float, complex, str, bytes, bool, type(None)))
_SETS: Final = frozenset((set, frozenset))
# Attributes of a class that differ from run to run, or that do not change what the class does.
_IGNORED: Final = frozenset(
    f"__{name}__"
    for name in (
        *("dict", "weakref", "doc", "module", "qualname", "annotations", "annotate"),
        *("firstlineno", "static_attributes", "abstractmethods", "parameters", "orig_bases"),
        *("annotate_func", "annotations_cache", "conditional_annotations"),
    )
) | {"_abc_impl"}


def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages())
    found.add(site.getusersitepackages())
    found.add(os.path.dirname(os.__file__))
    return tuple([os.path.join(path, "") for path in found])


_INSTALLED: Final = _installed()
_OWN_PACKAGE: Final = __name__.partition(".")[0]


class NoKeyError(Exception):
    """Raised for a value that cannot be distinguished from others, because it cannot be pickled."""


def _is_yours(obj: Any) -> bool:
    """Return whether a function or class is the user's own, and not of an installed package.

    A digest contains what the user's own functions and classes do. Of all other functions and
    classes a digest contains only the names.
    """
    name: object = getattr(obj, "__module__", None)
    if not isinstance(name, str) or name in MAIN_MODULES:
        return True
    # A function that is made inside another function has no importable name. So its code is
    # described.
    if "<" in obj.__qualname__:
        return True
    if name.partition(".")[0] == _OWN_PACKAGE or name in sys.builtin_module_names:
        return False
    file: object = getattr(sys.modules.get(name), "__file__", None)
    return not (isinstance(file, str) and file.startswith(_INSTALLED))


def _code(code: CodeType) -> tuple[object, ...]:
    """Return a description of what a code object does, without its file and lines."""
    return (
        *(code.co_name, code.co_code, code.co_exceptiontable, code.co_flags),
        *(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        *(code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
        [_code(const) if type(const) is CodeType else const for const in code.co_consts],
    )


class _Pickler(pickle.Pickler):
    """A pickler that writes the same bytes for equal values.

    For a function or class, the pickle contains what `refer` returns.

    The pickler works in the fast mode of pickle, in which a pickler has no memo. So it cannot write
    a value that contains itself.
    """

    def __init__(
        self, out: io.BytesIO, refer: Callable[[Any], object], buffer: Callable[[Any], None]
    ) -> None:
        super().__init__(out, 5, buffer_callback=buffer)
        self._refer = refer

    def persistent_id(self, obj: Any) -> object:
        kind = cast("type[object]", type(obj))
        if kind in _ATOMS:
            return None
        if kind in _SETS:
            return kind.__name__, sorted([_bytes(part, self._refer) for part in obj])
        if kind is FunctionType or isinstance(obj, type):
            return self._refer(obj)
        stand_in = _STAND_INS.get(kind)
        return None if stand_in is None else stand_in(obj)


def _cell(cell: CellType) -> tuple[object, ...]:
    try:
        return "cell", cell.cell_contents
    except ValueError:  # the variable of the closure has no value yet
        return ("cell",)


# For types whose objects cannot be pickled, or only by their name: functions that return what is
# pickled in place of an object.
_STAND_INS: Final[dict[type, Callable[[Any], object]]] = {
    CodeType: _code,
    ModuleType: lambda module: ("module", module.__name__),
    CellType: _cell,
    object: lambda _: ("object",),
    MappingProxyType: lambda proxy: ("proxy", dict(proxy)),
    functools._lru_cache_wrapper: lambda cached: ("cached", cached.__wrapped__),
    Shared: lambda shared: ("shared", shared.value),
    staticmethod: lambda method: ("static", method.__func__),
    classmethod: lambda method: ("class", method.__func__),
    property: lambda one: ("property", one.fget, one.fset, one.fdel),
}


def _bytes(value: object, refer: Callable[[Any], object]) -> bytes:
    """Return bytes that are the same for equal values.

    Raises:
        NoKeyError: the value cannot be pickled.
    """
    # The second try is without the pickler's fast mode, which cannot pickle a value that contains
    # itself.
    for fast in (True, False):
        out = io.BytesIO()
        large: list[bytes] = []

        def digested(buffer: pickle.PickleBuffer, large: list[bytes] = large) -> None:
            large.append(blake2b(buffer.raw(), digest_size=DIGEST_SIZE).digest())

        pickler = _Pickler(out, refer, digested)
        pickler.fast = fast
        try:
            pickler.dump(value)
        except ValueError as error:
            if fast and "fast mode" in str(error):
                continue
            raise NoKeyError(repr(error)) from error
        except Exception as error:
            # To pickle a value runs methods of the value, which may raise anything.
            raise NoKeyError(repr(error)) from error
        return b"".join([out.getbuffer(), *large])
    raise NoKeyError("it contains itself")


class _Description:
    """Describes an object, and all functions and classes of the user's own to which it refers.

    Each of these objects is described once; in all other places a number stands for the object. So
    functions may refer to each other, and the digest depends on nothing but the object.
    """

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=DIGEST_SIZE)
        self._numbers: dict[int, int] = {}
        self._waiting: list[Any] = []
        # These references keep all described objects alive. Otherwise a new object could get the id
        # of an object that was described.
        self._alive: list[Any] = []

    def digest(self, value: object) -> bytes:
        self._hash.update(_bytes((_FORMAT, value), self._refer))
        for obj in self._rest():
            parts = _parts_of_class(obj) if isinstance(obj, type) else _parts_of_function(obj)
            for name, part in parts:
                self._hash.update(self._part(name, part))
        return self._hash.digest()

    def _rest(self) -> Iterator[Any]:
        while self._waiting:
            yield self._waiting.pop(0)

    def _part(self, name: str, part: object) -> bytes:
        try:
            found = _bytes((name, part), self._refer)
        except NoKeyError:
            # The object is a lock or an open file, say. Only the type of the object goes into the
            # digest: nothing else of the object is the same in another run.
            found = _bytes((name, "of type", type(part).__qualname__), self._refer)
        return len(found).to_bytes(8, "big") + found

    def _refer(self, obj: Any) -> object:
        if not _is_yours(obj):
            return "name", obj.__module__, obj.__qualname__
        number = self._numbers.get(id(obj))
        if number is None:
            number = self._numbers[id(obj)] = len(self._numbers)
            self._waiting.append(obj)
            self._alive.append(obj)
        return "yours", number


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, object]]:
    yield "function", function.__name__
    yield "code", function.__code__
    yield "defaults", function.__defaults__
    yield "kwdefaults", sorted((function.__kwdefaults__ or {}).items())
    for number, cell in enumerate(function.__closure__ or ()):
        yield f"cell {number}", cell
    names = function.__globals__
    for name in sorted({*names_in(function.__code__)}):
        if name in names and not (name.startswith("__") and name.endswith("__")):
            yield f"global {name}", names[name]


def _parts_of_class(cls: type) -> Iterator[tuple[str, object]]:
    yield "class", cls.__qualname__
    yield "bases", (type(cls), *cls.__bases__)
    for name, value in sorted(vars(cls).items()):
        if name not in _IGNORED:
            yield f"attribute {name}", value


class Keys:
    """The keys of one call's items in a checkpoint; equal inputs have the same keys in each run."""

    def __init__(self, identity: tuple[object, ...], seed: int | None) -> None:
        """Make a digest of the function; the digest is part of each key.

        Args:
            identity: the function, and what else is the same for all items of the call.
            seed: the seed of the items' random numbers; None if there is none.

        Raises:
            NoKeyError: the function cannot be distinguished from others.
        """
        self._seed = seed
        self.function: bytes = _Description().digest((identity, seed))
        self._copies: dict[bytes, int] = {}
        self._known: dict[int, tuple[Any, object]] = {}

    def of(self, index: int, item: object) -> bytes | None:
        """Return the key of an item; None if the item cannot be distinguished from others.

        If several items have equal inputs, the first, the second and so on have different keys. In
        a call with a seed, the key of an item depends on the index of the item instead, because the
        item's random numbers depend on the index.
        """
        try:
            data = pickle.dumps(item, 5) if type(item) in _ATOMS else _bytes(item, self._refer)
        except NoKeyError:
            return None
        made = blake2b(self.function, digest_size=DIGEST_SIZE)
        made.update(data)
        if self._seed is None:
            whole = made.digest()
            copy = self._copies.get(whole, 0)
            self._copies[whole] = copy + 1
            if not copy:
                return whole
        else:
            copy = index + 1
        made.update(b"copy %d" % copy)
        return made.digest()

    def _refer(self, obj: Any) -> object:
        known = self._known.get(id(obj))
        if known is None:
            if _is_yours(obj):
                token: object = _Description().digest(obj)
            else:
                token = "name", obj.__module__, obj.__qualname__
            known = self._known[id(obj)] = obj, token
        return known[1]
