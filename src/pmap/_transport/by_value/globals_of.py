"""Facts that are read from Python's internal structures, above all which globals a function uses.

The layout of bytecode changes from version to version of Python. So this module reads bytecode
itself only in the versions with which it was tested. In others it uses the standard module `dis`,
which takes longer to import.
"""

from __future__ import annotations

import sys
from opcode import EXTENDED_ARG, opmap
from types import CodeType, ModuleType

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FunctionType
    from typing import Any

# The versions of Python whose bytecode this module can read: tests/property/test_by_value.py passes
# with each of them.
_KNOWN = frozenset(("cpython", 3, minor) for minor in range(11, 16))
_IS_KNOWN = (sys.implementation.name, *sys.version_info[:2]) in _KNOWN

_LOAD_GLOBAL = opmap["LOAD_GLOBAL"]
# The bytecode operations that look up, set or delete a name in the globals; the last two occur in
# the bodies of classes.
_OPERATIONS = (
    *("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"),
    *("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"),
)
_BY_NAME = frozenset(opmap[name] for name in _OPERATIONS if name in opmap)


# The flag Py_TPFLAGS_HEAPTYPE of CPython: a type that has this flag was made at run time.
_HEAP_TYPE = 1 << 9


def is_made_by_a_program(cls: type) -> bool:
    """Return whether a class statement, or a call like it, made `cls`, and not code in C."""
    flags: int = vars(type)["__flags__"].__get__(cls)
    return bool(flags & _HEAP_TYPE)


def names_in(code: CodeType) -> Iterator[str]:
    """Yield the names that `code`, and code nested in it, looks up in its globals."""
    if not _IS_KNOWN:
        import dis

        yield from (
            instruction.argval
            for instruction in dis.get_instructions(code)
            if instruction.opname in _OPERATIONS
        )
    else:
        names, extended = code.co_names, 0
        for op, low in zip(code.co_code[::2], code.co_code[1::2], strict=True):
            at = extended | low
            if op in _BY_NAME:
                # In the argument of the instruction LOAD_GLOBAL the lowest bit is a flag; the other
                # bits are the index of the name.
                yield names[at >> 1 if op == _LOAD_GLOBAL else at]
            extended = at << 8 if op == EXTENDED_ARG else 0
    for const in code.co_consts:
        if type(const) is CodeType:
            yield from names_in(const)


def all_names(code: CodeType) -> list[str]:
    """Return all names in `code` and in code nested in it, also those of attributes and imports."""
    names = [*code.co_names]
    for const in code.co_consts:
        if type(const) is CodeType:
            names += all_names(const)
    return names


def annotations_of(function: FunctionType) -> tuple[str, Any]:
    """Return the attribute that is sent for the annotations of a function, and its value.

    From Python 3.14 on the attribute is ``__annotate__``, a function that makes the annotations
    when code first asks for them. This function does not call ``__annotate__``: the annotations may
    name what only a type checker imports, or what is not defined yet. If the annotations were made
    already, ``__annotations__`` is sent, for a program may have changed them since.
    """
    annotate: object = getattr(function, "__annotate__", None)
    made = function.__annotations__ if annotate is None else _made_annotations(function)
    return ("__annotate__", annotate) if made is None else ("__annotations__", made)


def _made_annotations(function: FunctionType) -> dict[str, Any] | None:
    """Return the annotations of a function, if they were made already; otherwise None."""
    import gc

    given: Any = function
    others = (given.__globals__, given.__builtins__, given.__dict__, given.__kwdefaults__)
    known = {*map(id, others)}
    parts: list[Any] = gc.get_referents(function)
    for part in parts:
        if part.__class__ is dict and id(part) not in known:
            made: dict[str, Any] = part
            return made
    return None


def named_in(annotations: object) -> set[str]:
    """Return the names in annotations that are strings: `get_type_hints` looks these names up."""
    names: set[str] = set()
    waiting: list[Any] = [*annotations.values()] if isinstance(annotations, dict) else []
    while waiting:
        given = waiting.pop()
        text = getattr(given, "__forward_arg__", given)
        if isinstance(text, str):
            try:
                code = compile(text, "annotation", "eval")
            except (SyntaxError, ValueError):
                # The annotation is a text, but no expression of Python, so there are no names in
                # it.
                continue
            names.update(code.co_names)
            waiting += [inner for inner in code.co_consts if isinstance(inner, str)]
        else:  # in a generic alias, such as list["Node"], the arguments are searched
            inner = getattr(given, "__args__", ())
            waiting += inner if isinstance(inner, tuple) else ()
    return names


def submodules(code: CodeType, used: Iterable[object]) -> list[object]:
    """Return the submodules that `code` may use as ``package.module``.

    The receiver imports these submodules, so that ``package.module`` works in the receiver, too.
    """
    packages = [m.__name__ + "." for m in used if type(m) is ModuleType and m.__package__]
    if not packages:
        return []
    names = {*code.co_names}
    return [
        module
        for name, module in list(sys.modules.items())
        for package in packages
        if name.startswith(package) and names.issuperset(name[len(package) :].split("."))
    ]


def found_as(obj: Any, space: dict[str, Any]) -> str | None:
    """Return the name, maybe with dots, by which `obj` is found in the globals `space`, or None."""
    name: object = getattr(obj, "__qualname__", None)
    if not isinstance(name, str) or "<" in name:
        return None
    first, *rest = name.split(".")
    found: object = space.get(first)
    for part in rest:
        found = getattr(found, part, None)
    return name if found is obj else None
