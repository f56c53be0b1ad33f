"""What pickle is to write for instances of a script's classes that derive from built-in types.

Pickle takes what a list, dict, text or number has in it by the methods of the object's class, and
puts it back by others: `append`, `__setitem__`, `__new__`. A class that changes what is put into
its objects would change it again, and one that allows no change could not be loaded. So here the
methods of the built-in type itself take the contents and put them back.
"""

from __future__ import annotations

import sys
from types import FunctionType

from .fingerprints import untyped
from .role import Role

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    # The attributes of an object: its ``__dict__``, and the values of its slots.
    Attributes: TypeAlias = tuple[dict[str, object] | None, dict[str, object] | None]

_FIXED = (int, float, complex, str, bytes, tuple, frozenset)
_CONTAINERS = (list, dict, set, bytearray)
_OF_COLLECTIONS = ("OrderedDict", "defaultdict", "deque")
# Methods of a container that pickle calls when it writes or loads an object.
_CALLED = (
    *("append", "extend", "items", "__iter__", "__setitem__"),
    *("__init__", "__new__", "__getattr__", "__setattr__"),
)
_SAYING = ("__reduce__", "__reduce_ex__")
# Classes of which the methods are there, and other attributes are still being loaded; by their ids.
unfinished: dict[int, type] = {}


def in_class(kind: type, name: str) -> object:
    """Return the attribute of a class as it stands in the class or in a base; None: there is none.

    The class is not asked: an attribute may be a descriptor, whose code would run.
    """
    return next((vars(cls)[name] for cls in kind.__mro__ if name in vars(cls)), None)


def native_of(kind: type) -> type | None:
    """Return the type of Python's own from which `kind` derives; None for other classes.

    None, too, if a class in between says how its objects are pickled.
    """
    collections: Any = sys.modules.get("collections")
    known = *_CONTAINERS, *_FIXED, *(getattr(collections, one, list) for one in _OF_COLLECTIONS)
    for cls in kind.__mro__:
        if any(cls is one for one in known):
            return cls
        if cls.__module__ != "collections" and not vars(cls).keys().isdisjoint(_SAYING):
            return None
    return None


def changes_contents(kind: type, native: type) -> bool:
    """Return whether pickle might not put into an object what it has in it.

    So it is for a container of a class with a method that pickle calls, and for one of a type of
    which pickle forgets the attributes. So it is for a text or number if pickle would call a
    `__new__` or `__init__` that may want other arguments: it does not want others if the same
    class, or one that derives from it, says what the arguments are.
    """
    for cls in kind.__mro__:
        names = vars(cls)
        if cls is native:
            return native.__name__ == "defaultdict"
        if native not in _FIXED:
            if cls.__module__ == "collections" or not names.keys().isdisjoint(_CALLED):
                return True
        elif "__getnewargs__" in names or "__getnewargs_ex__" in names:
            return False
        elif "__new__" in names or ("__init__" in names and native is frozenset):
            return True
    return False


def reduce_contents(_: Role, obj: Any, kind: Any) -> Any:
    """Return what pickle is to write for an instance of a class for which `native_of` finds one."""
    native: Any = native_of(kind)
    attributes = obj.__getstate__()
    if native in _FIXED:
        made = make_value, (native, kind, _value_of(obj, native))
        return (*made, attributes, None, None, fill_attributes)
    arguments, named = given_to_new(obj, kind)
    state = native, _contents_of(obj, native), attributes
    return make_object, (kind, arguments, named), state, None, None, fill


def _value_of(obj: Any, native: Any) -> Any:
    """Return the value of an object as an object of the built-in type `native`."""
    name = native.__name__
    if name in ("tuple", "frozenset"):
        return native(native.__iter__(obj))
    if name == "str":
        return str.__str__(obj)
    if name == "bytes":
        return bytes.__getitem__(obj, slice(None))
    return native.__pos__(obj)


def make_value(native: Any, kind: Any, value: Any) -> object:
    """Return an object of a class that derives from int, text or the like, with this value.

    The `__new__` of the class may return an object that it has kept. But it may also take other
    arguments, or make another value of this one. Then it is not called, or its result is dropped.
    """
    try:
        made = kind.__new__(kind, value)
        if type(made) is kind and _value_of(made, native) == value:
            return made
    except Exception:
        pass  # the `__new__` of the program takes other arguments
    return native.__new__(kind, value)


def given_to_new(obj: Any, kind: Any) -> tuple[tuple[object, ...] | None, dict[str, object]]:
    """Return the arguments for the class's own `__new__`; None if it cannot do without any."""
    arguments: tuple[object, ...]
    named: dict[str, object] = {}
    if hasattr(kind, "__getnewargs_ex__"):
        arguments, named = obj.__getnewargs_ex__()
        return arguments, named
    if hasattr(kind, "__getnewargs__"):
        arguments = obj.__getnewargs__()
        return arguments, named
    new = getattr(in_class(kind, "__new__"), "__func__", None)
    if type(new) is not FunctionType:
        return (), named
    needed = new.__code__.co_argcount - len(new.__defaults__ or ())
    more = new.__code__.co_kwonlyargcount - len(new.__kwdefaults__ or ())
    return (None if needed > 1 or more else ()), named


def base_in_c(kind: type) -> type:
    """Return the first base of a class of which the `__new__` is no function of Python."""
    own = (cls for cls in kind.__mro__ if "__new__" in vars(cls))
    return next(cls for cls in own if type(vars(cls)["__new__"]) is not staticmethod)


def make_object(
    kind: Any, arguments: tuple[object, ...] | None, named: dict[str, object]
) -> object:
    """Return an object of this class, whose `__init__` is not called.

    The `__new__` of a class of which there is one object, or one for each value, returns the object
    that the class has, or makes one and keeps it. Such an object may arrive as an attribute of its
    class: then the class has not got its attributes yet, and its `__new__` would fail.
    """
    if arguments is None or any(id(cls) in unfinished for cls in kind.__mro__):
        return untyped(base_in_c(kind)).__new__(kind)
    return kind.__new__(kind, *arguments, **named)


def _contents_of(obj: Any, native: Any) -> tuple[object, object]:
    """Return what a container has in it, and what else its type needs: a factory, a length."""
    extra: object = None
    if native.__name__ == "defaultdict":
        extra = native.default_factory.__get__(obj)
    elif native.__name__ == "deque":
        extra = native.maxlen.__get__(obj)
    if hasattr(native, "items"):
        return [*native.items(obj)], extra
    return [*native.__iter__(obj)], extra


def fill(obj: Any, state: tuple[Any, tuple[Any, Any], Any]) -> None:
    """Give a container its contents, by the methods of its built-in type, and its attributes."""
    native, (contents, extra), attributes = state
    if native.__name__ == "deque":
        native.__init__(obj, (), extra)
    elif native.__name__ == "defaultdict":
        native.default_factory.__set__(obj, extra)
    # The class's `__new__` may have returned an object that has contents already.
    native.clear(obj)
    if hasattr(native, "items"):
        for key, value in contents:
            native.__setitem__(obj, key, value)
    elif native.__name__ == "set":
        native.update(obj, contents)
    else:
        native.extend(obj, contents)
    fill_attributes(obj, attributes)


def fill_attributes(obj: Any, given: Any) -> None:
    """Give an object what its `__getstate__` has returned, as pickle would."""
    if given is None:
        return
    if in_class(_class_of(obj), "__setstate__") is not None:
        obj.__setstate__(given)
    else:
        fill_object(obj, both(given))


def both(given: object) -> Attributes:
    """Return the attributes of an object, and its slots, of what `__getstate__` has returned."""
    state = untyped(given)
    if _class_of(state) is tuple and len(state) == 2:
        attributes, slots = state
        return attributes, slots
    return state, None


def _class_of(value: object) -> type:
    return type(value)


def fill_object(obj: object, state: Attributes) -> None:
    """Give an object attributes and slots, without a call of its class's methods."""
    attributes, slots = state
    if attributes:
        object.__getattribute__(obj, "__dict__").update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)
