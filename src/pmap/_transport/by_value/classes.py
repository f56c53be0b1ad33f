"""Classes by value: taken apart into what the class statement made, and put together again.

No code of the class runs where it arrives: neither its metaclass nor ``__init_subclass__`` nor a
``__set_name__``. They have run where the class was defined, and what they did is in the class. So
keywords of the class statement, descriptors, enum members and generated methods need no care.

A class has a key by which all processes know it, so it arrives once, and is the same class on its
way back. Its attributes have serial numbers: when it arrives again, those are set that its sender
has changed, and others keep what the receiver has given them.
"""

from __future__ import annotations

import os
import sys
from types import FunctionType
from weakref import WeakValueDictionary, ref

from . import arriving
from .fingerprints import attributes_of, registered, registered_with
from .globals_of import is_made_by_a_program, named_in
from .numbers import OLDEST, FallingNumbers
from .role import Role

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing import Any


class _OfClasses:
    """What is known of classes, by their identity: a metaclass may say that they are equal."""

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


_keys = _OfClasses()  # texts
_by_key: WeakValueDictionary[str, type] = WeakValueDictionary()
# Of each class, here: the fingerprints and serial numbers of its attributes as they were last sent.
_sent = _OfClasses()
# Of each class that is another process's: the serial numbers of its attributes.
_arrived = _OfClasses()
_serials = FallingNumbers()

_CORE = ("__module__", "__slots__")
_unset = object()
_MADE_IN_C = frozenset({"CField"})  # attributes that a metaclass makes


class _Quiet:
    """Stands before the bases of a class that is made again, so that these do not hear of it."""

    def __init_subclass__(cls, **_: object) -> None:
        pass


class _QuietAlone:
    """The same, for bases whose instances have no ``__dict__``."""

    __slots__ = ()

    def __init_subclass__(cls, **_: object) -> None:
        pass


def globals_of_class(cls: type) -> dict[str, Any]:
    """Return the globals of the module that `cls` was defined in."""
    for function in _functions_of(cls):
        if function.__module__ == cls.__module__ == function.__globals__.get("__name__"):
            return function.__globals__
    module = sys.modules.get(cls.__module__)
    return {} if module is None else vars(module)


def _functions_of(cls: type) -> list[FunctionType]:
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
    """Return the value of an attribute, or what says that it cannot be sent."""
    try:
        role.digest(value)
    except Exception as error:
        return arriving.Unsent(f"{cls.__qualname__}.{name}", f"{type(error).__name__}: {error}")
    return value


def reduce_class(role: Role, cls: type, space: dict[str, Any]) -> tuple[object, ...]:
    """Return what pickle is to write for `cls` in full."""
    where = role.space_of(space)
    core = {name: vars(cls)[name] for name in _CORE if name in vars(cls)}
    core["__qualname__"] = cls.__qualname__
    if where is not None:
        role.needs(space, named_in(vars(cls).get("__annotations__")), strict=False)
    attributes: dict[str, tuple[int, object]] = {}
    for name, (_, serial) in _serials_of(cls, role).items():
        value = vars(cls)[name]
        attributes[name] = serial, _sendable(role, cls, name, value) if role.careful else value
    if type(cls) is not type and not is_made_by_a_program(type(cls)):
        return _by_its_metaclass(cls, attributes, core)
    # A forked worker has the classes of its caller where the caller has them.
    arguments = _key(cls), id(cls), where, type(cls), cls.__name__, cls.__bases__, core
    state = attributes, registered(cls), registered_with(cls)
    return make_class, arguments, state, None, None, fill_class


def _by_its_metaclass(
    cls: type, attributes: dict[str, tuple[int, object]], core: dict[str, Any]
) -> tuple[object, ...]:
    """Return the same for a class whose metaclass is made in C: only that can make one.

    ctypes has such classes.
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
    """Return the class with this key; make it as its class statement did, if it is not known."""
    known = _by_key.get(key)
    meta: Any = type(bases[0])  # it may have no name by which it could be sent
    return _learn(key, meta(name, bases, attributes)) if known is None else known


def _key(cls: type) -> str:
    key: str | None = _keys.get(cls)
    if key is None:
        key = os.urandom(12).hex()
        _keys.set(cls, key)
        _by_key[key] = cls
    return key


def _serials_of(cls: type, role: Role) -> dict[str, tuple[object, int]]:
    """Return the serial numbers of the attributes of `cls`, new ones for what has changed."""
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


def make_class(
    key: str,
    address: int,
    where: tuple[int, str] | None,
    meta: Any,
    name: str,
    bases: tuple[type, ...],
    core: dict[str, Any],
) -> type:
    """Return the class with this key; make it, without its attributes, if it is not known here."""
    known = _by_key.get(key)
    if known is not None:
        if _arrived.get(known) is not None:
            _adjust(known, name, bases, core)
        return known
    if where is not None:
        # A worker that was forked from the caller has the very object.
        here = arriving.as_forked(where[0], core["__qualname__"])
        if isinstance(here, type) and id(here) == address:
            return _learn(key, here)
    return _learn(key, _new_class(meta, name, bases, core))


def _adjust(cls: type, name: str, bases: tuple[type, ...], core: dict[str, Any]) -> None:
    """Give a class that is known the names and bases that it has now where it comes from."""
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


def _new_class(meta: Any, name: str, bases: tuple[type, ...], core: dict[str, Any]) -> type:
    if meta is type:
        return _new_plain_class(name, bases, core)

    def mro(cls: Any) -> list[Any]:
        own, *rest = meta.mro(cls)
        return [own, _Quiet, *rest]

    # `type.__new__` tells the class behind the new one in its order, so that is ours meanwhile.
    make: Any = type.__new__
    cls: Any = make(make(type(meta), meta.__name__, (meta,), {"mro": mro}), name, bases, dict(core))
    type.__setattr__(cls, "__class__", meta)
    type.__setattr__(cls, "__bases__", bases)  # and so the order is made again, by `meta`
    made: type = cls
    return made


def _new_plain_class(name: str, bases: tuple[type, ...], core: dict[str, Any]) -> type:
    order = [cls for base in bases for cls in base.__mro__ if cls is not object]
    if not any("__init_subclass__" in vars(cls) for cls in order):
        return type.__new__(type, name, bases, dict(core))
    for quiet in (_QuietAlone, _Quiet):
        try:
            cls = type.__new__(type, name, (quiet, *bases), dict(core))
            type.__setattr__(cls, "__bases__", bases)
        except TypeError:  # they have another layout
            continue
        return cls
    return _new_class_unheard(name, bases, core)


def _new_class_unheard(name: str, bases: tuple[type, ...], core: dict[str, Any]) -> type:
    """Return the new class; meanwhile the base that would hear of it has a method that does not."""
    order = [cls for base in bases for cls in base.__mro__]
    hears = next(cls for cls in order if "__init_subclass__" in vars(cls))
    method = vars(hears)["__init_subclass__"]
    try:
        type.__setattr__(hears, "__init_subclass__", vars(_Quiet)["__init_subclass__"])
    except TypeError:  # one that is made in C, and asks for nothing
        return type.__new__(type, name, bases, dict(core))
    try:
        return type.__new__(type, name, bases, dict(core))
    finally:
        type.__setattr__(hears, "__init_subclass__", method)


def fill_class(cls: Any, state: tuple[dict[str, Any], list[type], list[Any]]) -> None:
    """Give a class the attributes that it has not, or that its sender has changed."""
    attributes, others, abstracts = state
    arrived = _arrived.get(cls)
    if arrived is None:
        return  # it is at home, and what it is here counts
    new = not arrived
    missing = _unset
    for name, (serial, value) in attributes.items():
        if name in arrived and arrived[name] >= serial:
            continue  # what comes late is older
        arrived[name] = serial
        if name == "__abstractmethods__":
            missing = value
        elif name != "__doc__" or value is not None or not new:
            type.__setattr__(cls, name, value)
    for name in [name for name in arrived if name not in attributes]:
        del arrived[name]
        if name in vars(cls):
            type.__delattr__(cls, name)
    if new and hasattr(cls.__class__, "register") and "_abc_impl" not in vars(cls):
        _make_abstract(cls)
    if missing is not _unset:
        cls.__abstractmethods__ = missing
    _register([(cls, other) for other in others] + [(one, cls) for one in abstracts])


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
    """Return what pickle is to write for the member of an enum that travels by value."""
    cls: Any = member.__class__
    base: Any = getattr(cls, "_member_type_", object)
    arguments: tuple[object, ...] = ()
    if base is not object:
        if hasattr(base, "__getnewargs__"):
            arguments = base.__getnewargs__(member)
        else:
            reduced: Any = base.__reduce_ex__(member, 2)
            arguments = reduced[1][1:] if reduced[0].__name__ == "__newobj__" else reduced[1]
    # Members of several flags have no name of their own.
    value: object = None if member._name_ in _members(cls) else member._value_
    made = cls, member._name_, value, base, arguments
    return make_member, made, member.__dict__, None, None, fill_member


def _members(cls: Any) -> dict[str, object]:
    members: dict[str, object] = cls.__dict__.get("_member_map_", {})
    return members


def make_member(
    cls: Any, name: str | None, value: Any, base: Any, arguments: tuple[object, ...]
) -> object:
    """Return the member of this name; make it, without its attributes, if there is none yet."""
    known: object = None
    if value is None:
        known = _members(cls).get(name or "")
    elif _members(cls):
        return cls(value)
    return base.__new__(cls, *arguments) if known is None else known


def fill_member(member: Any, state: dict[str, object]) -> None:
    """Give a member its attributes, unless it has them."""
    if not member.__dict__:
        member.__dict__.update(state)


# --- a worker that was forked --------------------------------------------------------------------


def begin_forked() -> None:
    """Take in that what this process has sent, its caller will: this worker was forked from it."""
    for cls, arrived in _arrived.items():  # if that is a worker itself: from its own caller
        _arrived.set(cls, dict.fromkeys(arrived, OLDEST))
    for cls, sent in _sent.items():
        _arrived.set(cls, {name: serial for name, (_, serial) in sent.items()})
    _sent.clear()


def note(cls: type, role: Role) -> None:
    """Take note of what a class is now, when a worker is forked: that is what it has."""
    _key(cls)
    _serials_of(cls, role)
