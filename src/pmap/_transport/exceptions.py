"""Objects put into words, and exceptions made again, whatever their own methods do."""

from __future__ import annotations

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
    native: Any = cls
    while native.__module__ != "builtins":
        native = native.__base__  # the one whose layout it has
    error: E = native.__new__(cls, *args)
    setter: Any = BaseException.args
    setter.__set__(error, args)  # past a __setattr__ that refuses (a frozen dataclass)
    error.__dict__.update(state)
    return error
