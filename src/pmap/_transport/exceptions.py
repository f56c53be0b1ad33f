"""Texts of objects, and copies of exceptions, which are made even if a user's method raises."""

from __future__ import annotations

from types import MemberDescriptorType

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    E = TypeVar("E", bound=BaseException)


def safe_text(show: Callable[[object], str], value: object, limit: int = 300) -> str:
    """Return ``show(value)``, cut to `limit` characters where the text is longer; never raises."""
    try:
        text = show(value)
    # The repr of a user's object may raise anything; a text must be returned all the same.
    except BaseException as error:
        text = without_repr(value, error)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def without_repr(value: object, error: BaseException) -> str:
    """Return a text in place of the repr of `value`, which raised `error`."""
    return f"<{type(value).__name__} object, whose repr raised {type(error).__name__}>"


def describe(error: BaseException) -> str:
    """Return type and text of `error` in one line; never raises.

    >>> describe(ValueError("bad page"))
    "ValueError('bad page')"
    """
    return safe_text(repr, error)


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions in an exception group; an empty tuple if `error` is no group."""
    group: Any = error
    return group.exceptions if isinstance(error, BaseExceptionGroup) else ()


def rebuilt(cls: type[E], args: tuple[object, ...], state: dict[str, object]) -> E:
    """Return an exception of class `cls` with these ``args`` and this ``__dict__``.

    The ``__init__`` of `cls` is not called. It may take other arguments than `args`: the
    exception's ``args`` are what ``__init__`` has passed to the base class.
    """
    # Call the `__new__` of the exception's nearest built-in base class. BaseException's `__new__`
    # would be wrong for OSError and for exception groups, which have a `__new__` of their own; a
    # `__new__` in Python would run the program's code.
    native = _native(cls)
    error: E = native.__new__(cls, *args)
    setter: Any = BaseException.args
    # `args` is set through the descriptor of BaseException, because the exception's class may have
    # a `__setattr__` that refuses, as a frozen dataclass does.
    setter.__set__(error, args)
    error.__dict__.update(state)
    return error


def _native(cls: type) -> Any:
    """Return the nearest built-in base of `cls`, which decides the memory layout of objects."""
    native: Any = cls
    while native.__module__ != "builtins":
        native = native.__base__
    return native


# Methods by which a class decides how its objects are pickled.
_OWN_PICKLING = frozenset({"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__"})


def taken_apart(error: BaseException) -> Any:
    """Return what pickle is to write for `error`, to be loaded without the class's ``__init__``.

    None means that the class of `error` has pickling methods of its own, which pickle is to use.
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
    """Return an exception of the class `cls`, made without running code of `cls`."""
    native = _native(cls)
    error: E = native.__new__(cls, *args)
    # The `__init__` of some built-in exceptions, such as OSError, sets attributes from its
    # arguments.
    native.__init__(error, *args)
    return error


def _fill(error: BaseException, state: tuple[dict[str, object], dict[str, object]]) -> None:
    fields, slots = state
    native = _native(type(error))
    for name, value in fields.items():
        # Some attributes belong to the built-in base class, as `name` does to ImportError; that
        # class has to set them.
        if name in vars(native):
            native.__setattr__(error, name, value)
        else:  # sets the attribute without the class's own `__setattr__`, which may refuse
            error.__dict__[name] = value
    for name, value in slots.items():
        object.__setattr__(error, name, value)
