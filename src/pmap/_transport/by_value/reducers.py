"""What pickle is to write for functions, classes and modules that others cannot import.

A pickler of pmap calls the function `reduced` for each object that is no plain scalar or container.
For an object of a module that other processes cannot import, the pickler's `Role`, which knows what
the receiver has already, decides what is written: a reference to a value that the receiver has, or
the whole object.

Most scripts map a function whose globals are modules, importable functions and classes, constants,
and classes and functions of the script. For such scripts `LightPickler` suffices. Then neither the
caller nor a worker imports cloudpickle, which takes longer to import than pmap and its pool.
"""

from __future__ import annotations

import marshal
import sys
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)

from ..exceptions import taken_apart
from ..importable import is_importable, is_of_a_module, travels_by_name
from ..light_pickle import BytesIO, Pickler
from ..registered import registered
from . import arriving, functions
from .globals_of import (
    all_names,
    annotations_of,
    is_made_by_a_program,
    named_in,
    names_in,
    submodules,
)
from .handover import reduce_shared
from .instances import reduce_instance, says_how
from .role import Role, Written, is_handle

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from pickle import PickleBuffer
    from typing import Any

_SLOTS = (
    *("__name__", "__qualname__", "__kwdefaults__", "__defaults__", "__module__", "__doc__"),
    *(("__type_params__",) if sys.version_info >= (3, 12) else ()),
)
# Top-level modules whose objects are left to pickle itself: cloudpickle would pickle them in the
# same way.
_LEFT_ALONE = frozenset(
    {
        *(
            "builtins",
            "collections",
            "_collections",
            "datetime",
            "decimal",
            "fractions",
            "uuid",
            "enum",
            "re",
        ),
        *(
            "pathlib",
            "numpy",
            "pandas",
            "scipy",
            "ipaddress",
            "array",
            "zoneinfo",
            "time",
            "random",
        ),
        *("dataclasses", "functools", "operator", "_operator"),
    }
)
_HINTS = frozenset(
    {
        *("GenericAlias", "UnionType", "_GenericAlias", "_UnionGenericAlias", "_SpecialForm"),
        *("_LiteralGenericAlias", "_CallableGenericAlias", "_AnnotatedAlias", "ForwardRef"),
        *("_UnpackGenericAlias", "_ConcatenateGenericAlias", "Union"),
    }
)


class RefusedError(Exception):
    """Raised for an object that only cloudpickle can pickle."""


def reduced(role: Role, obj: object, light: bool) -> Any:
    """Return what pickle is to write for `obj`; NotImplemented leaves `obj` to pickle itself.

    Raises:
        RefusedError: only cloudpickle can pickle `obj`.
    """
    kind = type(obj)
    # The type is looked up by its id, because a metaclass may call different classes equal.
    how = _BY_TYPE.get(id(kind))
    if how is not None:
        return how(role, obj)
    if isinstance(obj, type):
        return _class(role, obj)
    if isinstance(obj, ModuleType):
        return _module(role, obj)
    return _instance(role, obj, kind, light)


def _function(role: Role, function: FunctionType) -> Any:
    if is_importable(function):
        return NotImplemented
    known = _known(role, function, function.__globals__, function.__qualname__)
    return known or _whole_function(role, function)


def _class(role: Role, cls: type) -> Any:
    if id(cls) in _SINGLE or is_importable(cls):
        return NotImplemented
    if not is_made_by_a_program(cls):
        return _built_in(cls)
    from .classes import globals_of_class, module_of_methods, reduce_class

    home = module_of_methods(cls)
    if home is not None:
        return getattr, (home, cls.__qualname__)
    space = globals_of_class(cls)
    return _known(role, cls, space, cls.__qualname__) or reduce_class(role, cls, space)


def _instance(role: Role, obj: object, kind: type, light: bool) -> Any:
    # the program has registered functions that pickle its types; pickle calls them
    if registered():
        how = reduce_shared(role, obj, kind)
        if how is not None:
            return how
    if kind.__module__ in _KINDS_OF:
        from .kinds import reduce_kind

        how = reduce_kind(role, obj)
        if how is not None:
            return how
    if is_handle(kind):
        return role.shared(obj)
    if kind.__name__ == "partial" and kind.__module__ == "functools":
        return _partial(role, obj)
    base = _descriptor_base(kind)
    if base is not None:
        from .class_descriptors import reduce_descriptor

        return reduce_descriptor(obj, base)
    if kind is object:
        from .singles import reduce_bare

        return role.sentinel(obj) or reduce_bare(obj)
    lacks = _is_lacking(kind)
    if isinstance(obj, BaseException) and (role.skips_init or lacks):
        return taken_apart(obj) or NotImplemented
    if lacks:
        return _of_a_class_by_value(role, obj, kind)
    is_hint = kind.__name__ in _HINTS and kind.__module__ in ("types", "typing")
    if light and not is_hint and kind.__module__.partition(".")[0] not in _LEFT_ALONE:
        raise RefusedError
    return NotImplemented


def _is_lacking(kind: type) -> bool:
    """Return whether other processes cannot find a class by its module and its name.

    A class that a function of an importable module has made is not found by a name. Types that code
    in C has made may have no name, too, and pickle knows what to write for their objects.
    """
    if not travels_by_name(kind.__module__):
        return True
    return is_made_by_a_program(kind) and not is_importable(kind)


def _of_a_class_by_value(role: Role, obj: object, kind: type) -> Any:
    if "_member_map_" in vars(kind):
        from .classes import reduce_member

        return reduce_member(obj)
    return role.global_value(obj) or reduce_instance(role, obj, kind)


def _descriptor_base(kind: type) -> type | None:
    """Return Python's own descriptor class from which `kind` derives, or None.

    The result is None, too, if a class statement defines how such a descriptor is pickled.
    """
    functools: Any = sys.modules.get("functools")
    for base in (property, classmethod, staticmethod, getattr(functools, "cached_property", None)):
        if base is not None and kind is not base and issubclass(kind, base):
            return None if says_how(kind) else base
    return None


# The ids of the types of None, Ellipsis and NotImplemented, which pickle itself can write.
_SINGLE = frozenset(map(id, map(type, (None, ..., NotImplemented))))
# Modules of types whose objects the module `kinds` can pickle.
_KINDS_OF = frozenset(
    {
        *("functools", "typing", "typing_extensions", "dataclasses", "_contextvars", "builtins"),
        *("weakref", "_weakrefset", "_io", "random", "_struct", "annotationlib"),
        *("contextlib",),
    }
)


def _built_in(cls: type) -> Any:
    """Return what pickle is to write for a built-in type that cannot be found by its own name.

    It is a reference to the name of the type in the module `types`.
    """
    import types

    for name, value in vars(types).items():
        if value is cls:
            return getattr, (types, name)
    raise TypeError(f"cannot pickle the class {cls.__name__!r}: it is in no module")


def _known(role: Role, obj: object, space: dict[str, Any], name: str) -> Any:
    return role.definition(obj, space, name if space.get(name) is obj else None)


def _module(role: Role, given: ModuleType) -> Any:
    name = given.__name__
    if travels_by_name(name) and sys.modules.get(name) is given:
        return arriving.module, (name,)
    where = role.space_of(vars(given))
    if where is not None:
        return arriving.the_stand_in, where
    if type(given) is ModuleType:
        raise RefusedError
    from .kinds import reduce_own_module

    return reduce_own_module(given)


def _code(_: Role, code: CodeType) -> Any:
    data = marshal.dumps(code)
    if marshal.loads(data) != code:
        # The code object has constants that Python's compiler does not make. `marshal` would change
        # these constants, so cloudpickle has to write the code object.
        raise RefusedError
    return marshal.loads, (data,)


def _cell(role: Role, cell: CellType) -> Any:
    try:
        contents = cell.cell_contents
    except ValueError:
        return functions.make_cell, ()
    # The cell gets its contents after pickle has noted the cell, because the contents may refer to
    # the cell.
    state = (_as_global(role, contents),)
    return functions.make_cell, (), state, None, None, functions.fill_cell


def _as_global(role: Role, value: object) -> object:
    """Return `value`; if it is a list or the like that is the value of a global, a reference to it.

    Pickle does not ask a pickler about plain containers. If a function has one as a default or in
    its closure, and the same one as a global, the receiver would make two.
    """
    found = role.global_container(value) if type(value) in _CONTAINERS else None
    return value if found is None else Written(found)


_CONTAINERS = (list, dict, set, bytearray)


def _partial(role: Role, given: Any) -> Any:
    """Return what pickle is to write for a `functools.partial`."""
    if not any(type(value) in _CONTAINERS for value in (*given.args, *given.keywords.values())):
        return NotImplemented
    for space, names in names_used(given.func):
        role.needs(space, names, strict=False)
    arguments = tuple([_as_global(role, value) for value in given.args])
    named = {name: _as_global(role, value) for name, value in given.keywords.items()}
    return type(given), (given.func,), (given.func, arguments, named, given.__dict__ or None)


def _whole_function(role: Role, function: FunctionType) -> tuple[object, ...]:
    code, space = function.__code__, function.__globals__
    given, names = _parts_of(code)
    annotations, value = annotations_of(function)
    slots = {**{slot: getattr(function, slot) for slot in _SLOTS}, annotations: value}
    closure = _closure_of(function)
    values = [space[name] for name in names if name in space]
    for cell in closure or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:
            continue
    where = role.space_of(space)
    own: dict[str, Any] = {}
    make: tuple[object, ...]
    if where is None:
        own = {name: space[name] for name in names if name in space}
        make = functions.make_function_alone, (given, _alone(role, space), closure)
    else:
        role.needs(space, names, strict=not (_is_method(function) or _is_annotate(function)))
        if annotations == "__annotations__" and value:
            role.needs(space, named_in(value), strict=False)
        make = functions.make_function, (given, *where, closure)
        if role.forks:
            make = functions.make_function, (given, *where, closure, id(function))
    if function.__defaults__:
        slots["__defaults__"] = tuple([_as_global(role, one) for one in function.__defaults__])
    named = function.__kwdefaults__
    if named:
        slots["__kwdefaults__"] = {name: _as_global(role, one) for name, one in named.items()}
    modules = submodules(code, values)
    for module, used in _modules_by_value(code, values):
        role.needs(vars(module), used, strict=False)
        modules.append(module)
    state = slots, function.__dict__, own, modules
    return *make, state, None, None, functions.fill_function


def _modules_by_value(code: CodeType, used: list[object]) -> list[tuple[ModuleType, list[str]]]:
    """Return the modules that `code` uses and other processes lack, each with the names used.

    `code` uses a module as a global, as an attribute of another such module, or by an import.
    """
    modules = [value for value in used if isinstance(value, ModuleType)]
    names = all_names(code)
    modules += [module for name in names if (module := sys.modules.get(name)) is not None]
    found: list[tuple[ModuleType, list[str]]] = []
    seen: set[int] = set()
    while modules:
        module = modules.pop()
        name = module.__name__
        if id(module) in seen or travels_by_name(name) or sys.modules.get(name) is not module:
            continue
        seen.add(id(module))
        space = vars(module)
        mentioned = [name for name in (*names, "__getattr__") if name in space]
        found.append((module, mentioned))
        modules += [space[name] for name in mentioned if isinstance(space[name], ModuleType)]
    return found


def _is_method(function: FunctionType) -> bool:
    """Return whether a function was made in a class statement.

    It is no error if a global of the function does not exist: a call may use only other methods.
    """
    owner = function.__qualname__.rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>")


def _is_annotate(function: FunctionType) -> bool:
    """Return whether `function` is an ``__annotate__`` function, which makes annotations.

    The names that it uses need not exist: annotations may name what only a type checker imports.
    """
    return function.__name__ == "__annotate__"


_OF_CLASS = "__classdict__"


def _closure_of(function: FunctionType) -> tuple[CellType, ...] | None:
    """Return the closure of a function in the form in which it is sent.

    A function that makes the annotations of a class, or of a method, refers to the namespace of the
    class statement. Of that namespace, only the names that the function uses are sent with the
    function; the class has all names.
    """
    code, closure = function.__code__, function.__closure__
    if closure is None or _OF_CLASS not in code.co_freevars:
        return closure
    at = code.co_freevars.index(_OF_CLASS)
    try:
        space = closure[at].cell_contents
    except ValueError:  # the variable has no value yet, because the class statement has not ended
        return closure
    used = {*all_names(code), *code.co_freevars}
    own = {name: value for name, value in space.items() if name in used}
    return *closure[:at], CellType(own), *closure[at + 1 :]


# For each code object, by its id: the code object itself, its form in a pickle, and the names of
# the globals that it uses. Many functions share one code object.
_parts: dict[int, tuple[CodeType, bytes | CodeType, tuple[str, ...]]] = {}
_MOST_PARTS = 1000


def _parts_of(code: CodeType) -> tuple[bytes | CodeType, tuple[str, ...]]:
    known = _parts.get(id(code))
    if known is None:
        data = marshal.dumps(code)
        given = data if marshal.loads(data) == code else code
        own = (arriving.SUBCLASSES,) if "__subclasses__" in all_names(code) else ()
        known = code, given, (*dict.fromkeys(names_in(code)), *own)
        if len(_parts) >= _MOST_PARTS:
            _parts.clear()
        _parts[id(code)] = known
    return known[1:]


def names_used(value: object) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    """Return, for a function or each method of a class, its globals and the names that it uses."""
    functions_of: list[FunctionType] = []
    if isinstance(value, FunctionType):
        functions_of = [value]
    elif isinstance(value, type) and not is_importable(value):
        from .classes import methods_of

        functions_of = methods_of(value)
    return [
        (function.__globals__, _parts_of(function.__code__)[1])
        for function in functions_of
        if not is_importable(function)
    ]


_OF_A_MODULE = ("__package__", "__name__", "__path__", "__file__")


def _alone(role: Role, space: dict[str, Any]) -> dict[str, Any]:
    """Return the dict that is sent in place of `space`, which are globals that no module has.

    All functions with these globals share the dict.
    """
    if id(space) not in role.alone:
        sent = {name: space[name] for name in _OF_A_MODULE if name in space}
        builtins = space.get("__builtins__")
        if type(builtins) is dict and builtins is not vars(sys.modules["builtins"]):
            sent["__builtins__"] = builtins
        role.alone[id(space)] = sent
    return role.alone[id(space)]


def _method(_: Role, given: Any) -> Any:
    if is_of_a_module(given):
        return getattr, (sys.modules[type(given.__self__).__module__], given.__name__)
    if type(given) is MethodType:
        return MethodType, (given.__func__, given.__self__)
    return NotImplemented


def _property(_: Role, given: property) -> Any:
    return property, (given.fget, given.fset, given.fdel, given.__doc__)


def _wrapped(_: Role, given: Any) -> Any:
    return type(given), (given.__func__,), given.__dict__ or None


def _descriptor(_: Role, given: Any) -> Any:
    return getattr, (given.__objclass__, given.__name__)


_HOW: dict[type, Callable[[Role, Any], Any]] = {
    FunctionType: _function,
    ModuleType: _module,
    CellType: _cell,
    CodeType: _code,
    MethodType: _method,
    MappingProxyType: lambda _, given: (MappingProxyType, (dict(given),)),
    BuiltinFunctionType: _method,
    property: _property,
    classmethod: _wrapped,
    staticmethod: _wrapped,
    MemberDescriptorType: _descriptor,
    GetSetDescriptorType: _descriptor,
    Written: lambda _, given: given.reduced,
}
_BY_TYPE: dict[int, Callable[[Role, Any], Any]] = {id(kind): how for kind, how in _HOW.items()}


class LightPickler(Pickler):
    """Pickles by value without cloudpickle; raises `RefusedError` for what needs cloudpickle."""

    def __init__(
        self,
        role: Role,
        file: BytesIO,
        protocol: int,
        buffer_callback: Callable[[PickleBuffer], bool] | None = None,
    ) -> None:
        super().__init__(file, protocol, buffer_callback=buffer_callback)
        self._role = role

    # Pickle calls `reducer_override` for all objects except plain scalars and built-in containers.
    def reducer_override(self, obj: object) -> Any:
        return reduced(self._role, obj, light=True)
