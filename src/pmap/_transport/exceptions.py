"""Objects put into words, and exceptions made again, whatever their own methods do."""

from __future__ import annotations

from types import MemberDescriptorType

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    E = TypeVar("E", bound=BaseException)


def safe_text(show: Callable[[object], str], value: object, limit: int = 300) -> str:
    """Return ``show(value)``, cut to `limit` characters where it is longer; never raises."""
    try:
        text = show(value)
    except BaseException as error:  # a repr may do anything; the message must still be made
        text = without_repr(value, error)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def without_repr(value: object, error: BaseException) -> str:
    """Return what stands for the repr of `value`, which raised `error`."""
    return f"<{type(value).__name__} object, whose repr raised {type(error).__name__}>"


def describe(error: BaseException) -> str:
    """Return type and text of `error` in one line; never raises.

    >>> describe(ValueError("bad page"))
    "ValueError('bad page')"
    """
    return safe_text(repr, error)


def rebuilt(cls: type[E], args: tuple[object, ...], state: dict[str, object]) -> E:
    """Return an exception with these ``args`` and this ``__dict__``.

    Its ``__init__`` is not called: it may take other arguments than it passes on.
    """
    # Neither BaseException's __new__, since OSError and groups have their own, nor one in Python.
    native = _native(cls)
    error: E = native.__new__(cls, *args)
    setter: Any = BaseException.args
    setter.__set__(error, args)  # past a __setattr__ that refuses (a frozen dataclass)
    error.__dict__.update(state)
    return error


def _native(cls: type) -> Any:
    """Return the built-in class whose layout an exception of `cls` has."""
    native: Any = cls
    while native.__module__ != "builtins":
        native = native.__base__
    return native


# What a class says of its own pickling.
_OWN_PICKLING = frozenset({"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__"})


def taken_apart(error: BaseException) -> Any:
    """Return what pickle is to write for an exception, so that its ``__init__`` is not called.

    None: its class says itself how it is pickled.
    """
    cls = type(error)
    native = _native(cls)
    slots: dict[str, object] = {}
    for base in cls.__mro__[: cls.__mro__.index(native)]:
        if not _OWN_PICKLING.isdisjoint(vars(base)):
            return None
        for name, member in vars(base).items():
            if type(member) is MemberDescriptorType and hasattr(error, name):
                slots[name] = getattr(error, name)
    _, args, *more = native.__reduce__(error)
    return made_again, (cls, args), (*(more or ({},)), slots), None, None, _fill


def made_again(cls: type[E], args: tuple[object, ...]) -> E:
    """Return an exception as its built-in base makes it: no code of its own runs."""
    native = _native(cls)
    error: E = native.__new__(cls, *args)
    native.__init__(error, *args)  # what OSError and others make of their arguments
    return error


def _fill(error: BaseException, state: tuple[dict[str, object], dict[str, object]]) -> None:
    fields, slots = state
    native = _native(type(error))
    for name, value in fields.items():
        if name in vars(native):  # the module of an ImportError, say
            native.__setattr__(error, name, value)
        else:  # past a __setattr__ that refuses
            error.__dict__[name] = value
    for name, value in slots.items():
        object.__setattr__(error, name, value)
