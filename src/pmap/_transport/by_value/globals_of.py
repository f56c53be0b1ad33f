"""What is read from the interpreter's own structures, above all the globals a function uses.

The layout of bytecode changes from version to version. So this module reads it only on interpreters
with which it was tested. On others it asks the disassembler of the standard library, which takes
longer to import.
"""

from __future__ import annotations

import sys
from opcode import EXTENDED_ARG, opmap
from types import CodeType, ModuleType

TYPE_CHECKING = False  # `typing` is not imported here: see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FunctionType
    from typing import Any

# The interpreters whose bytecode is known: tests/property/test_by_value.py passes with each.
_KNOWN = frozenset(("cpython", 3, minor) for minor in range(11, 16))
_IS_KNOWN = (sys.implementation.name, *sys.version_info[:2]) in _KNOWN

_LOAD_GLOBAL = opmap["LOAD_GLOBAL"]
# The operations that look a name up in the globals; the last two occur in the bodies of classes.
_OPERATIONS = (
    *("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"),
    *("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"),
)
_BY_NAME = frozenset(opmap[name] for name in _OPERATIONS if name in opmap)


_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE of CPython: the type was made at run time


def is_made_by_a_program(cls: type) -> bool:
    """Return whether a class statement, or a call that does the same, made `cls`; else C did."""
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
                # In LOAD_GLOBAL the lowest bit is a flag.
                yield names[at >> 1 if op == _LOAD_GLOBAL else at]
            extended = at << 8 if op == EXTENDED_ARG else 0
    for const in code.co_consts:
        if type(const) is CodeType:
            yield from names_in(const)


def all_names(code: CodeType) -> list[str]:
    """Return all names in `code` and in code nested in it, those of attributes and imports too."""
    names = [*code.co_names]
    for const in code.co_consts:
        if type(const) is CodeType:
            names += all_names(const)
    return names


def annotations_of(function: FunctionType) -> tuple[str, Any]:
    """Return the attribute by which the annotations of a function travel, and its value.

    From Python 3.14 on that is ``__annotate__``, which makes them when somebody first asks. It is
    not called here: they may name what only a type checker imports, or what is not there yet. Where
    they were made already, they count, for a program may have changed them since.
    """
    annotate: object = getattr(function, "__annotate__", None)
    made = function.__annotations__ if annotate is None else _made_annotations(function)
    return ("__annotate__", annotate) if made is None else ("__annotations__", made)


def _made_annotations(function: FunctionType) -> dict[str, Any] | None:
    """Return the annotations of a function without making them; None: they are not made yet."""
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
    """Return the names in annotations that are strings: `get_type_hints` looks them up."""
    names: set[str] = set()
    waiting: list[Any] = [*annotations.values()] if isinstance(annotations, dict) else []
    while waiting:
        given = waiting.pop()
        text = getattr(given, "__forward_arg__", given)
        if isinstance(text, str):
            try:
                code = compile(text, "annotation", "eval")
            except (SyntaxError, ValueError):  # the string is no expression, so it names nothing
                continue
            names.update(code.co_names)
            waiting += [inner for inner in code.co_consts if isinstance(inner, str)]
        else:  # a hint that is a generic alias, such as list["Node"], may have names inside
            inner = getattr(given, "__args__", ())
            waiting += inner if isinstance(inner, tuple) else ()
    return names


def submodules(code: CodeType, used: Iterable[object]) -> list[object]:
    """Return the submodules that `code` may use as ``package.module``.

    The receiver imports them, so that they are there, too.
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
