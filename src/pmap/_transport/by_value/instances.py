"""What pickle is to write for instances of classes that other processes cannot import."""

from __future__ import annotations

import sys
from types import FunctionType

from . import arriving
from .fingerprints import reducer_of
from .role import Role

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any

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
    if not says_how(kind):
        return _with_its_real_class(obj, kind)
    if reducer_of(kind) is not None:
        return NotImplemented
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
            if name in vars(cls):
                return type(vars(cls)[name]) is FunctionType
    return False


def _with_its_real_class(obj: object, kind: type) -> Any:
    """Return what pickle is to write for an object whose attribute `__class__` is another class.

    Such an object takes the place of another, as mocks and proxies do. Pickle itself refuses it.
    """
    said_by = next(cls for cls in kind.__mro__ if "__class__" in vars(cls))
    if reducer_of(kind) is not None:
        return NotImplemented
    if said_by is object:
        return _with_guarded_attributes(obj) if _guards_attributes(kind) else NotImplemented
    reduced: Any = obj.__reduce_ex__(5)
    if isinstance(reduced, str) or reduced[1][:1] != (kind,):
        return NotImplemented
    _, *arguments = reduced[1]
    given: Any = arguments
    if reduced[0].__name__ != "__newobj_ex__":
        given = arguments, {}
    return arriving.new_object, (kind, *given), *reduced[2:]


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


def _with_guarded_attributes(obj: object) -> Any:
    """Return what pickle is to write for an object whose class guards its attributes."""
    reduced: Any = obj.__reduce_ex__(5)
    if isinstance(reduced, str) or len(reduced) < 3:
        return NotImplemented
    make, arguments, state, *contents = reduced
    both: tuple[Any, Any] = (state, None)
    if isinstance(state, tuple) and len(reduced[2]) == 2:
        both = reduced[2]
    if not all(part is None or isinstance(part, dict) for part in both):
        return NotImplemented
    contents += [None] * (2 - len(contents))
    return make, arguments, both, *contents[:2], fill_object


def fill_object(
    obj: object, state: tuple[dict[str, object] | None, dict[str, object] | None]
) -> None:
    """Give an object its attributes and slots, without a call of its class's methods."""
    attributes, slots = state
    if attributes:
        object.__getattribute__(obj, "__dict__").update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


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
