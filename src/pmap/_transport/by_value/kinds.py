"""Functions that pickle kinds of objects that neither pickle nor cloudpickle sends correctly.

These objects are cached functions and cached properties of a script; objects compared by identity,
such as the markers of `dataclasses`; weak references, files and context variables. The module
`hints` has what type hints are made of.
"""

from __future__ import annotations

import functools
import os
import sys
import weakref
from types import ModuleType

from ..importable import is_importable, travels_by_name
from ..light_stdlib import Context, ContextVar
from . import arriving
from .globals_of import named_in
from .hints import reduce_named, reduce_parametrised

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from .role import Role

    Method: TypeAlias = Callable[..., object]
else:
    Method = object

_Cached = type(functools.lru_cache(lambda: None))
# Names of types for whose objects pickle writes only a name, which is of no use to a process that
# cannot import the object's module. Each object has an attribute with the name of its module.
_NAMED = ("TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "TypeAliasType")


def reduce_kind(role: Role, obj: object) -> Any:
    """Return what pickle is to write for `obj`; None if pickle needs no help with `obj`."""
    given: Any = obj
    kind = type(obj)
    if kind is _Cached:
        if is_importable(given):
            return None
        return _definition(role, given, given.__wrapped__.__globals__) or _cached(role, given)
    if kind is functools.cached_property:
        state = {"attrname": given.attrname, "__doc__": given.__doc__}
        return functools.cached_property, (given.func,), state
    if kind.__name__ in _NAMED and kind.__module__ in ("typing", "typing_extensions"):
        name, home = given.__name__, given.__module__
        if travels_by_name(home) and getattr(sys.modules.get(home), name, None) is obj:
            return None
        space = vars(sys.modules[home]) if home in sys.modules else {}
        return _definition(role, given, space) or reduce_named(given)
    if kind is ContextVar:
        return _variable(given)
    if kind.__name__ == "_GenericAlias" and kind.__module__ == "typing":
        return reduce_parametrised(given, kind)
    if kind.__module__ == "dataclasses":
        return _mark(obj)
    how = _UNPICKLED.get((kind.__module__, kind.__name__))
    if how is not None:
        return how(role, given, kind)
    if kind.__module__ in ("weakref", "_weakrefset"):
        return _weak(given, kind)
    if kind.__module__ == "_io" and hasattr(obj, "fileno"):
        return _file(given)
    return None


def _definition(role: Role, given: Any, space: dict[str, Any]) -> Any:
    name = getattr(given, "__qualname__", None) or given.__name__
    return role.definition(given, space, name if space.get(name) is given else None)


# --- functions with a cache ----------------------------------------------------------------------


def _cached(role: Role, given: Any) -> Any:
    parameters = given.cache_parameters()
    state: dict[str, object] = dict(given.__dict__)
    state.pop("__wrapped__", None)
    state.pop("cache_parameters", None)
    made = given.__wrapped__, parameters["maxsize"], parameters["typed"]
    return make_cached, ((*made, id(given)) if role.forks else made), state


def make_cached(function: Any, maxsize: int | None, typed: bool, address: int | None = None) -> Any:
    """Return `function` with an empty cache, as `functools.lru_cache` makes it.

    `address`: the id that the cached function has in the caller. A worker that was forked from the
    caller may have that cached function at the same address; then the result is that object, with
    the contents of its cache.
    """
    here: Any = None if address is None else arriving.function_at_fork(address)
    if type(here) is _Cached and here.__wrapped__ is function:
        return here
    return functools.lru_cache(maxsize, typed)(function)


def _key_by_comparison(_: Role, given: Any, kind: type) -> Any:
    import gc

    # A comparison function is inside the key object that `functools.cmp_to_key` makes, but is no
    # attribute of it. Only the garbage collector can show it.
    parts = [part for part in gc.get_referents(given) if part is not kind]
    return (functools.cmp_to_key, tuple(parts)) if len(parts) == 1 else None


def make_partial_method(function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Return a `functools.partialmethod`, made from its parts."""
    return functools.partialmethod(function, *arguments, **named)


def _decorating(_: Role, given: Any, kind: type) -> Any:
    """Return what pickle is to write for a context manager that ``contextmanager`` has made.

    Such an object also decorates functions: for each call of the function it makes a new generator,
    from its function and arguments, which it drops when it is entered.
    """
    if not hasattr(given, "func"):
        return None
    return kind, (given.func, given.args, given.kwds)


_OF_THE_IMPORT = frozenset({"__builtins__", "__loader__", "__spec__"})


def reduce_own_module(given: ModuleType) -> Any:
    """Return what pickle is to write for a module object whose class the script defines."""
    state = {name: value for name, value in given.__dict__.items() if name not in _OF_THE_IMPORT}
    return make_own_module, (type(given), given.__name__), state, None, None, fill_own_module


def make_own_module(kind: Any, name: str) -> Any:
    """Return an empty module object of the class `kind`; no code of the class runs."""
    made: ModuleType = kind.__new__(kind)
    ModuleType.__init__(made, name)
    return made


def fill_own_module(made: ModuleType, state: dict[str, object]) -> None:
    """Give a module object, which `make_own_module` has made, its contents."""
    made.__dict__.update(state)


# --- weak references, and files ------------------------------------------------------------------


def _weak(given: Any, kind: Any) -> Any:
    if kind is weakref.WeakKeyDictionary or kind is weakref.WeakValueDictionary:
        return make_weak, (kind, dict(given.items()))
    if kind is weakref.WeakSet:
        return make_weak, (kind, list(given))
    if kind is weakref.WeakMethod:
        return make_method_reference, (given(),)
    if kind is weakref.ReferenceType:
        return make_reference, (given(),)
    return None


# A weak reference arrives alone, so nothing else in the receiver may keep its object alive. So the
# received reference keeps the object alive.


def make_weak(kind: Any, contents: Any) -> Any:
    """Return a weak dictionary or set that keeps its contents alive."""
    made = kind(contents)
    made.kept_alive = contents
    return made


def make_reference(value: object) -> Any:
    """Return a weak reference to `value`; if `value` is None, a dead weak reference."""
    if value is None:
        return weakref.ref(_Gone())
    made = _Reference(value)
    made.kept_alive = value
    return made


def make_method_reference(method: Any) -> Any:
    """Return a weak reference to a method; if `method` is None, a dead weak reference."""
    if method is None:
        return weakref.WeakMethod(_Gone().method)
    made = _MethodReference(method)
    made.kept_alive = method
    return made


class _Reference(weakref.ReferenceType[object]):
    """A weak reference that keeps its object alive."""

    __slots__ = ("kept_alive",)
    kept_alive: object

    def __reduce__(self) -> Any:
        return make_reference, (self.kept_alive,)


class _MethodReference(weakref.WeakMethod[Method]):
    __slots__ = ("kept_alive",)
    kept_alive: Method

    def __reduce__(self) -> Any:
        return make_method_reference, (self.kept_alive,)


class _Gone:
    def method(self) -> None:
        pass


def _file(given: Any) -> Any:
    """Return what pickle is to write for a standard stream; None for a file in memory.

    For any other open file the function raises TypeError.
    """
    for name in ("stdin", "stdout", "stderr"):
        if given is getattr(sys, name) or given is getattr(sys, f"__{name}__"):
            return getattr, (sys, name)
    if _is_in_memory(given):
        return None
    what = getattr(given, "name", "?")
    raise TypeError(f"cannot pickle the open file {what!r}: open it in the function, by its name")


def _is_in_memory(given: Any) -> bool:
    return type(given).__name__ in ("BytesIO", "StringIO")


# --- objects that are compared by identity -------------------------------------------------------


def _mark(obj: object) -> Any:
    """Return what pickle is to write for a marker of `dataclasses`: its name in the module.

    `dataclasses` compares its markers by identity.
    """
    import dataclasses

    for name, value in vars(dataclasses).items():
        if value is obj:
            return getattr, (dataclasses, name)
    return None


# --- Python 3.14 and later: forward references; 3.15 and later: lazy imports and sentinels -------


def _forward_reference(role: Role, given: Any, kind: type) -> Any:
    """Return what pickle is to write for a forward reference of Python 3.14.

    Of the reference's globals, only those that the reference names are sent.
    """
    owner, space, where = given.__owner__, given.__globals__, None
    if space is not None:
        where = role.space_of(space)
        if where is not None:
            role.needs(space, named_in({"": given}), strict=False)
    # The closure cells of the variables whose names occur in the forward reference: one cell, or a
    # dict of several cells, or None.
    cells: Any = given.__cell__
    if hasattr(cells, "pop"):
        cells = dict(cells)
        # A forward reference in a class has a cell with the namespace of the class statement. This
        # cell is not sent.
        cells.pop("__classdict__", None)
    kinds = given.__forward_is_argument__, given.__forward_is_class__
    made = kind, given.__forward_arg__, given.__forward_module__, *kinds
    state = owner, where, cells, given.__extra_names__
    return make_forward_reference, made, state, None, None, fill_forward_reference


def make_forward_reference(
    kind: Any, text: str, module: str | None, of_argument: bool, of_class: bool
) -> Any:
    """Return a forward reference without its owner.

    The owner is set later, because the owner may refer back to the forward reference.
    """
    return kind(text, module=module, is_argument=of_argument, is_class=of_class)


def fill_forward_reference(reference: Any, state: tuple[Any, Any, Any, Any]) -> None:
    """Give a forward reference its owner, and the namespaces in which its names are looked up."""
    owner, where, cells, extra = state
    reference.__owner__ = owner
    reference.__globals__ = None if where is None else arriving.namespace(*where)
    reference.__cell__ = cells or None
    reference.__extra_names__ = extra


def _lazy_import(_: Role, given: object, kind: type) -> Any:
    """Return what pickle is to write for a lazy import of Python 3.15.

    Nothing is imported before code uses the lazy import, neither in the sender nor in the receiver.
    """
    import gc

    # The repr of a lazy import shows a dotted path. For ``import a.b`` the path is the module that
    # is imported; for ``from a import b`` the last part of the path is the name of the object.
    path = repr(given).split("'")[1]
    if any(type(part) is kind for part in gc.get_referents(given)):
        module, _dot, name = path.rpartition(".")
        return lazy_import, (f"from {module} import {name}", name)
    return lazy_import, (f"import {path}", path.partition(".")[0])


def lazy_import(statement: str, name: str) -> object:
    """Return what a lazy import statement of Python 3.15 binds to `name`."""
    space: dict[str, object] = {}
    exec(f"lazy {statement}", space)  # noqa: S102 - no call makes a lazy import
    return space[name]


def _sentinel(role: Role, given: Any, kind: type) -> Any:
    """Return what pickle is to write for a sentinel of Python 3.15, of which each process has one.

    None means that other processes find the sentinel by importing its module.
    """
    home = given.__module__
    if travels_by_name(home):
        return None
    from .singles import key_of, make_sentinel

    module = sys.modules.get(home)
    where = None if module is None else role.space_of(vars(module))
    return make_sentinel, (key_of(given), id(given), where, given.__name__, kind, home)


_UNPICKLED: dict[tuple[str, str], Callable[[Role, Any, Any], Any]] = {
    # A `random.SystemRandom` has no state that could be sent.
    ("random", "SystemRandom"): lambda _, __, kind: (kind, ()),
    ("functools", "KeyWrapper"): _key_by_comparison,
    # From Python 3.15 on a `partialmethod` cannot be pickled; before, it can be.
    ("functools", "partialmethod"): lambda _, given, __: (
        make_partial_method,
        (given.func, given.args, given.keywords),
    ),
    ("contextlib", "_GeneratorContextManager"): _decorating,
    ("contextlib", "_AsyncGeneratorContextManager"): _decorating,
    ("_struct", "Struct"): lambda _, given, kind: (kind, (given.format,)),
    ("annotationlib", "ForwardRef"): _forward_reference,
    ("builtins", "lazy_import"): _lazy_import,
    ("builtins", "sentinel"): _sentinel,
}


# --- context variables ---------------------------------------------------------------------------

_places: dict[ContextVar[Any], tuple[str, str]] = {}
_keys: dict[ContextVar[Any], str] = {}
_by_key: dict[str, ContextVar[Any]] = {}


def _variable(variable: ContextVar[Any]) -> tuple[object, ...]:
    """Return what ``ContextVar.__reduce__`` would return if it existed.

    If a context variable is a global of an importable module, the receiver finds it by its name.
    Any other context variable gets a key when it is first sent, and the receiver makes one context
    variable for each key. So a function, and values that are sent apart from the function, refer to
    the same variable.
    """
    if variable.name in _HIDDEN:
        return hidden_variable, (variable.name,)
    place = _places.get(variable) or _find(variable)
    if place is not None:
        _places[variable] = place
        return getattr, (sys.modules[place[0]], place[1])
    key = _keys.setdefault(variable, os.urandom(16).hex())
    _by_key.setdefault(key, variable)
    try:
        # In an empty context no variable has a value, so `get` returns the variable's own default.
        default: tuple[object, ...] = (Context().run(variable.get),)
    except LookupError:
        default = ()
    return from_key, (key, variable.name, default)


# Context variables that are a global of no module, by name. For each: a module, and the name of a
# function in it that gives the variable a value.
_HIDDEN = {"decimal_context": ("decimal", "getcontext"), "numpy.ufunc.extobj": ("numpy", "seterr")}


def hidden_variable(name: str) -> ContextVar[Any]:
    """Return a context variable that only its own module, written in C, can reach."""
    module, function = _HIDDEN[name]
    context = Context()
    context.run(getattr(sys.modules[module], function))
    return next(variable for variable in context if variable.name == name)


def numpy_errors(settings: dict[str, Any], call: object) -> tuple[ContextVar[Any], object]:
    """Return NumPy's context variable for floating-point errors, and a value for the variable."""
    context = Context()
    context.run(sys.modules["numpy"].seterr, **settings)
    context.run(sys.modules["numpy"].seterrcall, call)
    variable = next(one for one in context if one.name in _HIDDEN)
    return variable, context[variable]


def _find(variable: ContextVar[Any]) -> tuple[str, str] | None:
    """Return module and name of a context variable that is a global of an importable module.

    None means that the context variable is no such global.
    """
    if variable in _keys:
        # An earlier search did not find the variable in any module, and a search takes long.
        return None
    for name, module in list(sys.modules.items()):
        if travels_by_name(name):
            for attribute, found in list(getattr(module, "__dict__", {}).items()):
                if found is variable:
                    return name, attribute
    return None


def from_key(key: str, name: str, default: tuple[object, ...]) -> ContextVar[Any]:
    """Return the context variable that all processes know by this key; make it if it is new."""
    if key not in _by_key:
        _by_key[key] = ContextVar(name, default=default[0]) if default else ContextVar(name)
        _keys[_by_key[key]] = key
    return _by_key[key]
