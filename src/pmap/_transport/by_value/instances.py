"""What pickle is to write for instances of classes that other processes cannot import."""

from __future__ import annotations

import sys
from types import FunctionType

from .contents import (
    base_in_c,
    both,
    changes_contents,
    fill_attributes,
    fill_object,
    given_to_new,
    in_class,
    make_object,
    native_of,
    reduce_contents,
)
from .fingerprints import is_plain, reducer_of
from .role import Role, Written

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from .contents import Attributes

# The attributes that `logging` gives to each logger. They are not sent: the receiver's logger has
# its own.
_OF_LOGGING = frozenset(
    {
        *("name", "level", "parent", "propagate", "handlers", "disabled", "filters", "manager"),
        *("_cache", "root"),
    }
)


def reduce_instance(role: Role, obj: object, kind: type) -> Any:
    """Return what pickle is to write for an instance of a class that other processes lack."""
    known = role.ways.get(id(kind))
    if known is None:
        known = role.ways[id(kind)] = kind, _way_of(kind)
    way = known[1]
    return NotImplemented if way is None else way(role, obj, kind)


def _way_of(kind: Any) -> Callable[[Role, Any, Any], Any] | None:
    """Return a function that says what pickle is to write for instances of a class.

    None means that pickle itself knows best.
    """
    if says_how(kind):
        return None if reducer_of(kind) is not None else _as_it_says
    if reducer_of(kind) is not None:
        return None
    said_by = next(cls for cls in kind.__mro__ if "__class__" in vars(cls))
    native = native_of(kind) if said_by is object else None
    if native is not None:
        return reduce_contents if changes_contents(kind, native) else None
    # The object's attribute `__class__` may be another class: it takes the place of another object,
    # as mocks and proxies do. Pickle itself refuses it.
    if said_by is not object or _makes_objects(kind) or _guards_attributes(kind):
        return _made_by_us
    if hasattr(kind, "__setstate__"):
        return None
    if _shares_dict(kind):
        return _made_by_us
    return _in_order_of_need if type(in_class(kind, "__hash__")) is FunctionType else None


def _as_it_says(role: Role, obj: object, kind: type) -> Any:
    logging: Any = sys.modules.get("logging")
    if issubclass(kind, getattr(logging, "Logger", ())):
        found = _reduce_logger(obj)
        if found is not None:
            return found
    from .singles import reduce_single

    module = sys.modules.get(kind.__module__)
    return reduce_single(role, obj, None if module is None else vars(module))


def says_how(kind: type) -> bool:
    """Return whether a class statement of the program says how objects of `kind` are pickled."""
    for cls in kind.__mro__:
        for name in ("__reduce_ex__", "__reduce__"):
            if name in vars(cls) and cls.__module__ != "collections":
                return type(vars(cls)[name]) is FunctionType
    return False


def _made_by_us(_: Role, obj: object, kind: Any) -> Any:
    """Return what pickle is to write for an object that pickle would not make as it is."""
    reduced: Any = obj.__reduce_ex__(5)
    if isinstance(reduced, str):
        return NotImplemented
    if reduced[0].__name__ not in ("__newobj__", "__newobj_ex__"):
        return _by_its_base(obj, kind, reduced)
    arguments, named = given_to_new(obj, kind)
    return make_object, (kind, arguments, named), *_in_order(obj, kind, reduced[2:])


def _in_order_of_need(role: Role, obj: Any, kind: Any) -> Any:
    """Return what pickle is to write for an object of which a `__hash__` reads the attributes.

    An attribute may be a set that contains the object. So what is plain arrives first.
    """
    attributes, slots = both(obj.__getstate__())
    for part in (attributes, slots):
        if part is not None and not all(map(is_plain, part.values())):
            return _made_by_us(role, obj, kind)
    return NotImplemented


def _makes_objects(kind: Any) -> bool:
    """Return whether the program says how objects of this class are made."""
    return type(in_class(kind, "__new__")) is staticmethod or base_in_c(kind) is not object


def _by_its_base(obj: Any, kind: Any, reduced: Any) -> Any:
    """Return what pickle is to write for an object whose base, written in C, says how.

    Pickle would call the class with the arguments that the base expects. But the class may expect
    others, and may have attributes of which the base knows nothing.
    """
    if reduced[0] is not kind:
        return reduced
    base = base_in_c(kind)
    state, *contents = (*reduced[2:], None, None, None)[:3]
    if state is None:
        state = getattr(obj, "__dict__", None) or None
    return make_by_base, (base, kind, reduced[1]), state, *contents, fill_attributes


def make_by_base(base: Any, kind: Any, arguments: tuple[object, ...]) -> object:
    """Return an object of this class, made by a base of the class, which is written in C."""
    made = base.__new__(kind, *arguments)
    if base.__init__ is not object.__init__:
        base.__init__(made, *arguments)
    return made


def _guards_attributes(kind: Any) -> bool:
    """Return whether methods of a class may hinder pickle in giving an object its attributes.

    Pickle looks for `__setstate__` in the new object, and so calls a `__getattr__` that relies on
    attributes. It sets slots by `__setattr__`, which refuses where objects cannot be changed.
    """
    if hasattr(kind, "__setstate__"):
        return False
    if hasattr(kind, "__getattr__"):
        return True
    has_slots: bool = any("__slots__" in vars(cls) for cls in kind.__mro__)
    return has_slots and kind.__setattr__ is not object.__setattr__


def _shares_dict(kind: Any) -> bool:
    """Return whether a class seems to give one ``__dict__`` to all its objects."""
    new = getattr(in_class(kind, "__new__"), "__func__", None)
    makers = in_class(kind, "__init__"), new
    return any("__dict__" in one.__code__.co_names for one in makers if type(one) is FunctionType)


def _in_order(obj: object, kind: Any, rest: Any) -> tuple[Any, ...]:
    """Return the state for pickle to write, its contents, and the function that sets the state."""
    state, *contents = (*rest, None, None, None)[:3]
    parts = both(state)
    known = all(part is None or type(_object(part)) is dict for part in parts)
    if hasattr(kind, "__setstate__") or not known:
        return state, *contents
    if _shares_dict(kind):
        return parts, *contents, fill_with_dict
    if type(in_class(kind, "__hash__")) is not FunctionType:
        return parts, *contents, fill_object
    attributes = {**(parts[0] or {}), **(parts[1] or {})}
    plain = {name for name, value in attributes.items() if is_plain(value)}
    first, then = _only(parts, plain), _only(parts, attributes.keys() - plain)
    return (Written((fill_object, (obj, first))), then), *contents, fill_rest


def _only(parts: Attributes, names: Collection[str]) -> Attributes:
    """Return those of an object's attributes that have one of these names."""
    attributes, slots = parts
    return (
        attributes and {name: value for name, value in attributes.items() if name in names},
        slots and {name: value for name, value in slots.items() if name in names},
    )


def _object(value: object) -> object:
    return value


def fill_rest(obj: object, state: tuple[None, Any]) -> None:
    """Give an object those attributes that are no plain scalars; it has these already."""
    fill_object(obj, state[1])


def fill_with_dict(obj: object, state: tuple[dict[str, object] | None, Any]) -> None:
    """Give an object its ``__dict__``, which other objects of the class may have, too."""
    if state[0] is not None:
        object.__setattr__(obj, "__dict__", state[0])
    fill_object(obj, (None, state[1]))


# --- loggers of a class of the script ------------------------------------------------------------


def _reduce_logger(given: object) -> Any:
    """Return what pickle is to write for a logger of a class of the script.

    None means that the class itself says how its objects are pickled, or that `logging` does not
    know the logger by its name.
    """
    logger: Any = given
    kind: Any = type(given)
    plain: Any = sys.modules["logging"].Logger
    if kind.__reduce__ is not plain.__reduce__ or kind.__reduce_ex__ is not plain.__reduce_ex__:
        return None
    if logger.manager.loggerDict.get(logger.name) is not logger:
        return None
    attributes: dict[str, object] = logger.__dict__
    own = {name: value for name, value in attributes.items() if name not in _OF_LOGGING}
    return make_logger, (kind, logger.name), own or None


def make_logger(kind: type, name: str) -> Any:
    """Return this process's logger with this name, after making `kind` its class."""
    import logging

    logger: Any = logging.getLogger(name)
    if type(logger) is logging.Logger:
        logger.__class__ = kind
    return logger
