"""Sending classes by value: the sender takes a class apart, and the receiver puts it together.

The receiver runs no code of the class: neither its metaclass nor ``__init_subclass__`` nor a
``__set_name__``. These methods have run where the class was defined, and their effects are in the
class. So keywords of the class statement, descriptors, enum members and generated methods need no
special care.

A class has a key by which all processes know the class. So the class arrives once, and is the same
class when it comes back. The attributes of the class have serial numbers, which show the receiver
of a class that arrives again which attributes the sender has changed. The receiver sets only these.
"""

from __future__ import annotations

import os
import sys
from types import FunctionType, ModuleType
from weakref import WeakValueDictionary, ref

from ..importable import travels_by_name
from . import arriving
from .contents import unfinished
from .fingerprints import (
    attributes_of,
    reducer_of,
    registered,
    registered_with,
    values_of,
)
from .globals_of import is_made_by_a_program, named_in
from .new_classes import new_class
from .numbers import OLDEST, FallingNumbers
from .role import Role, Written

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    # Attributes of a class, by name: the serial number and the value of each.
    _Attributes: TypeAlias = dict[str, tuple[int, object]]


class _OfClasses:
    """A dict with classes as keys, compared by identity: a metaclass may call classes equal."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[ref[type], Any]] = {}

    def get(self, cls: type) -> Any:
        found = self._entries.get(id(cls))
        return found[1] if found is not None and found[0]() is cls else None

    def set(self, cls: type, value: object) -> None:
        entries, place = self._entries, id(cls)

        def forget(gone: ref[type]) -> None:
            if place in entries and entries[place][0] is gone:
                del entries[place]

        entries[place] = ref(cls, forget), value

    def items(self) -> list[tuple[type, Any]]:
        pairs = [(entry[0](), entry[1]) for entry in [*self._entries.values()]]
        return [(cls, value) for cls, value in pairs if cls is not None]

    def clear(self) -> None:
        self._entries.clear()


_keys = _OfClasses()  # for each class, the text by which all processes know it
_by_key: WeakValueDictionary[str, type] = WeakValueDictionary()
# For each class that this process has sent: the fingerprint (digest) and the serial number that
# each attribute had when the class was last sent.
_sent = _OfClasses()
# For each class that another process has sent: the serial numbers of its attributes, which came
# with them.
_arrived = _OfClasses()
_serials = FallingNumbers()

# Attributes that a class has from the moment it is made: they cannot be set later.
_CORE = ("__module__", "__slots__", "__class__")
_unset = object()
_SCALARS = frozenset(map(id, (int, bool, float, str, bytes, type(None))))
# Names of types of class attributes that only a metaclass written in C (that of ctypes) can make.
_MADE_IN_C = frozenset({"CField"})
_CONTAINERS = frozenset(map(id, (dict, list, set)))


def globals_of_class(cls: type) -> dict[str, Any]:
    """Return the globals of the module that the class `cls` was defined in."""
    for function in methods_of(cls):
        if function.__module__ == cls.__module__ == function.__globals__.get("__name__"):
            return function.__globals__
    module = sys.modules.get(cls.__module__)
    return {} if module is None else vars(module)


def module_of_methods(cls: type) -> ModuleType | None:
    """Return the importable module that has `cls` by its name, though `cls` names another module.

    A class may name another module to be shown by a shorter name, as pytest's exceptions name
    `builtins`. The methods of such a class still name the module that has the class. Other
    processes import these methods, and their ``super()`` works with the class of that module only.
    """
    for function in methods_of(cls):
        name: object = getattr(function, "__module__", None)
        module = sys.modules.get(name) if isinstance(name, str) else None
        if (
            isinstance(module, ModuleType)
            and name != cls.__module__
            and vars(module).get(cls.__qualname__) is cls
            and travels_by_name(name)
        ):
            return module
    return None


def methods_of(cls: type) -> list[FunctionType]:
    """Return the functions in the attributes of a class: methods, and functions in properties."""
    functions: list[FunctionType] = []
    for value in list(vars(cls).values()):
        given: Any = value
        parts: list[object] = [value]
        if isinstance(value, property):
            parts = [value.fget, value.fset, value.fdel]
        elif isinstance(value, (classmethod, staticmethod)):
            parts = [given.__func__]
        functions += [part for part in parts if isinstance(part, FunctionType)]
    return functions


def _sendable(role: Role, cls: type, name: str, value: object) -> object:
    """Return the value of a class's attribute; if it cannot be pickled, an object in its place."""
    try:
        role.digest(value)
    except Exception as error:
        return arriving.Unsent(f"{cls.__qualname__}.{name}", f"{type(error).__name__}: {error}")
    return value


def reduce_class(role: Role, cls: type, space: dict[str, Any]) -> tuple[object, ...]:
    """Return what pickle is to write for the class `cls` with all its contents."""
    where = role.space_of(space)
    core = {name: vars(cls)[name] for name in _CORE if name in vars(cls)}
    core["__qualname__"] = cls.__qualname__
    if where is not None:
        for hints in ("__annotations__", "__annotations_cache__"):
            role.needs(space, named_in(vars(cls).get(hints)), strict=False)
    attributes: dict[str, tuple[int, object]] = {}
    if role.sends:
        for name, (_, serial) in _serials_of(cls, role).items():
            value = vars(cls)[name]
            attributes[name] = serial, _sendable(role, cls, name, value) if role.careful else value
    else:
        # The pickle serves only as input of a digest, so it has no serial numbers: each needs the
        # digest of an attribute's value. If the value is an instance of the same class, computing
        # that digest would never end.
        attributes = {name: (0, value) for name, value in values_of(cls)}
    if type(cls) is not type and not is_made_by_a_program(type(cls)):
        return _by_its_metaclass(cls, attributes, core)
    # The address of the class is sent, too: a worker that was forked from the caller has the class
    # at this address already.
    arguments = _key(cls), id(cls), where, type(cls), cls.__name__, cls.__bases__, core
    # The receiver sets the methods while it loads the state, before it loads the other attributes:
    # an attribute may have objects of the class in it, whose making may need a method, as that of a
    # key of a dict needs `__hash__`.
    methods = {name: pair for name, pair in attributes.items() if _comes_first(pair[1])}
    rest = {name: pair for name, pair in attributes.items() if name not in methods}
    empty = {name: kind for name, pair in rest.items() if _can_be_empty(kind := type(pair[1]))}
    first = Written((set_methods, (cls, methods, empty)))
    state = first, rest, registered(cls), registered_with(cls), reducer_of(cls)
    return make_class, arguments, state, None, None, fill_class


def _comes_first(value: object) -> bool:
    """Return whether the receiver has to set this attribute of a class before the others.

    It has to if the attribute is a method, another descriptor, or a plain scalar.
    """
    return id(type(value)) in _SCALARS or hasattr(type(value), "__get__")


def _by_its_metaclass(
    cls: type, attributes: dict[str, tuple[int, object]], core: dict[str, Any]
) -> tuple[object, ...]:
    """Return what pickle is to write for a class whose metaclass is written in C.

    Only the metaclass itself can make such a class. ctypes has such classes.
    """
    made = {
        name: value
        for name, (_, value) in attributes.items()
        if type(value).__name__ not in _MADE_IN_C
    }
    return make_by_metaclass, (_key(cls), cls.__name__, cls.__bases__, {**made, **core})


def make_by_metaclass(
    key: str, name: str, bases: tuple[type, ...], attributes: dict[str, Any]
) -> type:
    """Return the class that has this key; if it is unknown here, make it by its metaclass."""
    known = _by_key.get(key)
    # A pickle may not be able to refer to the metaclass by a name. So the metaclass is taken from
    # the first base.
    meta: Any = type(bases[0])
    return _learn(key, meta(name, bases, attributes)) if known is None else known


def _key(cls: type) -> str:
    key: str | None = _keys.get(cls)
    if key is None:
        key = os.urandom(12).hex()
        _keys.set(cls, key)
        _by_key[key] = cls
    return key


def _serials_of(cls: type, role: Role) -> dict[str, tuple[object, int]]:
    """Return, for each attribute of the class `cls`, its fingerprint and its serial number.

    An attribute that has changed since it was last sent gets a new number.
    """
    last: dict[str, tuple[object, int]] = _sent.get(cls) or {}
    now: dict[str, tuple[object, int]] = {}
    for name, fingerprint in attributes_of(cls, role.digest):
        before = last.get(name)
        if before is not None and before[0] == fingerprint:
            now[name] = before
        else:
            now[name] = fingerprint, next(_serials)
    _sent.set(cls, now)
    return now


def _can_be_empty(kind: type) -> bool:
    """Return whether `kind` is a container type in which a class may register its objects."""
    return id(kind) in _CONTAINERS or kind.__name__ == "WeakValueDictionary"


def make_class(
    key: str,
    address: int,
    where: tuple[int, str] | None,
    meta: Any,
    name: str,
    bases: tuple[type, ...],
    core: dict[str, Any],
) -> type:
    """Return the class that has this key; if it is unknown here, make it without attributes."""
    known = _by_key.get(key)
    if known is not None:
        if _arrived.get(known) is not None:
            _adjust(known, name, bases, core)
        return known
    if where is not None:
        # A worker that was forked from the caller has the class already, at the same address, and
        # uses it.
        here = arriving.as_forked(where[0], core["__qualname__"])
        if isinstance(here, type) and id(here) == address:
            return _learn(key, here)
    return _learn(key, new_class(meta, name, bases, core))


def _adjust(cls: type, name: str, bases: tuple[type, ...], core: dict[str, Any]) -> None:
    """Give a class that arrives again the name and the bases that the sender's class has now."""
    cls.__name__ = name
    cls.__qualname__ = core["__qualname__"]
    if [*map(id, cls.__bases__)] != [*map(id, bases)]:
        type.__setattr__(cls, "__bases__", bases)


def _learn(key: str, cls: type) -> type:
    _keys.set(cls, key)
    _by_key[key] = cls
    if _arrived.get(cls) is None:
        _arrived.set(cls, {})
    return cls


def set_methods(
    cls: type, methods: _Attributes, empty: dict[str, type]
) -> tuple[bool, _Attributes]:
    """Set a class's methods that are missing here or that the sender has changed.

    Return what `fill_class` needs: whether the class is new here, and `methods`.

    `empty`: the types of those attributes in which objects of the class may be registered when they
    are made. Until its own contents are there, a class that is new here has empty containers.
    """
    arrived = _arrived.get(cls)
    new = arrived is not None and not arrived
    for name, kind in empty.items() if new else ():
        type.__setattr__(cls, name, kind())
    _set_attributes(cls, methods, new)
    if arrived is not None:
        unfinished[id(cls)] = cls
    return new, methods


def _set_attributes(cls: type, attributes: _Attributes, new: bool) -> object:
    """Set those attributes of a class that are newer than the ones that the class has here.

    ``__abstractmethods__`` is not set, but returned.
    """
    arrived = _arrived.get(cls)
    missing: object = _unset
    if arrived is None:
        # The class comes back to the process that defined it. Its attributes stay as they are in
        # this process.
        return missing
    for name, (serial, value) in attributes.items():
        if name in arrived and arrived[name] >= serial:
            continue  # the class here has this value of the attribute, or a newer one
        arrived[name] = serial
        if name == "__abstractmethods__":
            missing = value
        elif name != "__doc__" or value is not None or not new:
            type.__setattr__(cls, name, value)
    return missing


def fill_class(
    cls: Any, state: tuple[tuple[bool, _Attributes], _Attributes, list[type], list[Any], Any]
) -> None:
    """Set the attributes of a class that are missing here or that the sender has changed."""
    (new, methods), rest, others, abstracts, reducer = state
    arrived = _arrived.get(cls)
    if arrived is None:
        return
    unfinished.pop(id(cls), None)
    missing = _set_attributes(cls, rest, new)
    attributes = {**methods, **rest}
    for name in [name for name in arrived if name not in attributes]:
        del arrived[name]
        if name in vars(cls):
            type.__delattr__(cls, name)
    if hasattr(cls.__class__, "register") and "_abc_impl" not in vars(cls):
        _make_abstract(cls)
    if missing is not _unset:
        cls.__abstractmethods__ = missing
    _register([(cls, other) for other in others] + [(one, cls) for one in abstracts])
    if reducer is not None:
        import copyreg

        copyreg.dispatch_table[cls] = reducer


def _register(pairs: list[tuple[Any, type]]) -> None:
    for abstract, cls in pairs:
        if cls not in registered(abstract):
            abstract.register(cls)


def _make_abstract(cls: Any) -> None:
    import abc

    private: Any = abc
    if isinstance(cls, abc.ABCMeta):
        private._abc_init(cls)


# --- members of enums ----------------------------------------------------------------------------


def reduce_member(member: Any) -> tuple[object, ...]:
    """Return what pickle is to write for a member of an enum of the user's script."""
    cls: Any = member.__class__
    base: Any = getattr(cls, "_member_type_", object)
    arguments: tuple[object, ...] = ()
    if base is not object:
        if hasattr(base, "__getnewargs__"):
            arguments = base.__getnewargs__(member)
        else:
            reduced: Any = base.__reduce_ex__(member, 2)
            arguments = reduced[1][1:] if reduced[0].__name__ == "__newobj__" else reduced[1]
    # An enum's member that combines several flags may have no name in the class: then the value of
    # the member is sent.
    value: object = None if member._name_ in _members(cls) else member._value_
    made = cls, member._name_, value, base, arguments
    return make_member, made, member.__dict__, None, None, fill_member


def _members(cls: Any) -> dict[str, object]:
    members: dict[str, object] = cls.__dict__.get("_member_map_", {})
    return members


def make_member(
    cls: Any, name: str | None, value: Any, base: Any, arguments: tuple[object, ...]
) -> object:
    """Return the enum's member with this name; if there is none, make one without attributes."""
    known: object = None
    if value is None:
        known = _members(cls).get(name or "")
    elif _members(cls):
        return cls(value)
    return base.__new__(cls, *arguments) if known is None else known


def fill_member(member: Any, state: dict[str, object]) -> None:
    """Give a member of an enum its attributes, unless the member has attributes already."""
    if not member.__dict__:
        member.__dict__.update(state)


# --- classes in a worker that was forked from its caller -----------------------------------------


def begin_forked() -> None:
    """Record the attributes of the classes that this worker has from its caller by a fork."""
    for cls, arrived in _arrived.items():
        # The caller may be a worker itself, and may have some of these classes from its own caller.
        # So the attributes count as old: those that the caller sends from now on are newer.
        _arrived.set(cls, dict.fromkeys(arrived, OLDEST))
    for cls, sent in _sent.items():
        _arrived.set(cls, {name: serial for name, (_, serial) in sent.items()})
    _sent.clear()


def note(cls: type, role: Role) -> None:
    """Record the attributes of a class: a worker that is about to be forked will have them."""
    _key(cls)
    _serials_of(cls, role)
