"""Functions of ``__main__`` by value, in the plainest case, without cloudpickle.

cloudpickle takes longer to import than pmap and its pool, at the caller and once more where workers
come from. But most scripts map a function whose globals are modules, importable functions and
classes, constants, and other such functions. For these, what is made here means what cloudpickle
would make: functions of one pickle share their globals if they did, refer to each other as they
did, and have their attributes, defaults, code and file. Anything else is refused, and goes its way.

Which globals a function uses is read from its bytecode, whose layout changes from version to
version. So this is done by the interpreters that it was tested with; on others cloudpickle does it.
"""

from __future__ import annotations

import io
import marshal
import sys
from opcode import EXTENDED_ARG, opmap
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

try:
    from _pickle import Pickler
except ImportError:
    from pickle import Pickler

from .importable import is_importable

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# The interpreters whose bytecode is known: tests/property/test_plainly.py passes with each.
_KNOWN = frozenset({("cpython", 3, 11), ("cpython", 3, 12), ("cpython", 3, 13)})
_THIS = (sys.implementation.name, *sys.version_info[:2])

_MAIN = "__main__"
_OF_A_MODULE = ("__package__", "__name__", "__path__", "__file__")
_SLOTS = ["name", "qualname", "annotations", "kwdefaults", "defaults", "module", "doc"]
_LOAD_GLOBAL = opmap["LOAD_GLOBAL"]
# By which a name is looked up in the globals; the last two in the body of a class.
_BY_NAME = frozenset(
    opmap[name]
    for name in (
        *("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"),
        *("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"),
    )
    if name in opmap
)
# What stands in annotations, and is nothing special to cloudpickle.
_HINTS = frozenset(
    {"GenericAlias", "UnionType", "_GenericAlias", "_UnionGenericAlias", "_SpecialForm"}
)


class _RefusedError(Exception):
    """This is not the plainest case."""


def dumps_plainly(value: object, protocol: int = 5) -> bytes | None:
    """Return `value` pickled, or None: it has to go through cloudpickle."""
    if "cloudpickle" in sys.modules:  # nothing to save; and somebody may have told it what to do
        return None
    if _THIS not in _KNOWN:
        return None
    with io.BytesIO() as file:
        try:
            _Pickler(file, protocol).dump(value)
        except Exception:  # whatever it is, cloudpickle can do it or says why not
            return None
        return file.getvalue()


class _Pickler(Pickler):
    def __init__(self, file: io.BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self._globals: dict[int, dict[str, object]] = {}  # what becomes of each, by its id

    # Asked for everything but plain scalars, and containers that are just what they seem.
    def reducer_override(self, obj: object) -> Any:
        kind = type(obj)
        given: Any = obj
        if kind is FunctionType and given.__module__ == _MAIN and given.__closure__ is None:
            return self._reduced(given)
        if kind is ModuleType:
            name: str = given.__name__
            if name != _MAIN and sys.modules.get(name) is obj:
                return _module, (name,)
        if kind is FunctionType or kind is BuiltinFunctionType or isinstance(obj, type):
            if obj is type(None) or is_importable(obj):
                return NotImplemented
        elif kind.__name__ in _HINTS and kind.__module__ in ("types", "typing"):
            return NotImplemented
        raise _RefusedError

    def _reduced(self, function: FunctionType) -> tuple[object, ...]:
        code, all_globals = function.__code__, function.__globals__
        data = marshal.dumps(code)
        if marshal.loads(data) != code:
            raise _RefusedError  # some constant in it is none that a compiler makes
        used = {name: all_globals[name] for name in _names(code) if name in all_globals}
        shared = self._globals.setdefault(
            id(all_globals),
            {name: all_globals[name] for name in _OF_A_MODULE if name in all_globals},
        )
        slots = {f"__{name}__": getattr(function, f"__{name}__") for name in _SLOTS}
        state = (used, _submodules(code, used), function.__dict__, slots)
        return _make, (data, shared), state, None, None, _fill


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that `code` looks up in its globals, and the functions and classes in it."""
    names, extended = code.co_names, 0
    for op, low in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        at = extended | low
        if op in _BY_NAME:
            yield names[at >> 1 if op == _LOAD_GLOBAL else at]  # it has a flag besides
        extended = at << 8 if op == EXTENDED_ARG else 0
    for const in code.co_consts:
        if type(const) is CodeType:
            yield from _names(const)


def _submodules(code: CodeType, used: dict[str, Any]) -> list[object]:
    """Return what `code` may reach as ``package.module``, so that it is imported there, too."""
    packages = [m.__name__ + "." for m in used.values() if type(m) is ModuleType and m.__package__]
    names = {*code.co_names}
    return [
        module
        for name, module in list(sys.modules.items())
        for package in packages
        if name.startswith(package) and names.issuperset(name[len(package) :].split("."))
    ]


# --- where it arrives ----------------------------------------------------------------------------


def _module(name: str) -> object:
    __import__(name)
    return sys.modules[name]


def _make(data: bytes, shared: dict[str, object]) -> FunctionType:
    shared["__builtins__"] = __builtins__
    return FunctionType(marshal.loads(data), shared)


def _fill(function: FunctionType, state: tuple[Any, ...]) -> None:
    used, _, attributes, slots = state
    function.__dict__.update(attributes)
    function.__globals__.update(used)
    function.__globals__["__builtins__"] = __builtins__
    for name, value in slots.items():
        setattr(function, name, value)
