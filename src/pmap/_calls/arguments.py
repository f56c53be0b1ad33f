"""Checks of arguments that are not options of the verbs: timeouts, callbacks, contexts."""

from typing import Final, Protocol, TypeGuard, runtime_checkable

from .._errors import OptionError
from .._types import StartMethod, is_iterable
from .options import START_METHODS, seconds_of

# A timeout of this many seconds or more counts as no timeout: Python raises an OverflowError for
# longer waits.
_FOR_EVER: Final = 1e9


@runtime_checkable
class Context(Protocol):
    """The part that pmap uses of an object that ``multiprocessing.get_context`` returns."""

    def get_start_method(self) -> str | None:
        """Return the name of the start method that the context stands for."""
        ...


def seconds_to_wait(value: object, name: str = "timeout") -> float | None:
    """Return a timeout in seconds; None if there is no limit.

    >>> seconds_to_wait(2), seconds_to_wait(None), seconds_to_wait(float("inf"))
    (2.0, None, None)

    Raises:
        OptionError: `value` is no number. The error names the argument `name`.
    """
    if value is None:
        return None
    seconds = seconds_of(value)
    # A NaN is not equal to itself, so this comparison is false for a NaN, and for nothing else.
    if seconds is not None and seconds == seconds:
        return seconds if seconds < _FOR_EVER else None
    raise OptionError(name, value, f"{name} is a number of seconds, or None: as long as it takes")


def check_function(name: str, value: object) -> None:
    """Raise `OptionError` if `value`, given as the argument `name`, cannot be called."""
    if not callable(value):
        raise OptionError(name, value, f"{name} is a function")


def check_callbacks(**callbacks: object) -> None:
    """Raise `OptionError` if one of the callbacks is neither a function nor None."""
    for name, value in callbacks.items():
        if value is not None and not callable(value):
            raise OptionError(name, value, f"{name} is a function, or None: nobody is told")


def check_arguments(args: object, kwds: object) -> None:
    """Raise `OptionError` if `args` is no iterable, or if `kwds` is neither a mapping nor None."""
    if not is_iterable(args):
        raise OptionError("args", args, "args is a tuple of arguments, as (1,)")
    if kwds is not None and (isinstance(kwds, type) or not hasattr(kwds, "keys")):
        raise OptionError("kwds", kwds, "kwds is a dict of keyword arguments")


def start_method_of(name: str, context: object) -> StartMethod | None:
    """Return the start method of `context`, which was given as the argument `name`.

    The result is None if there is no context, or if the context leaves the choice to pmap.

    Raises:
        OptionError: `context` is no context of ``multiprocessing``.
    """
    if context is None:
        return None
    method: object = context
    if isinstance(context, Context) and not isinstance(context, type):
        method = context.get_start_method()
        if method is None or _is_start_method(method):
            return method
    written = repr(method if _is_start_method(method) else "spawn")
    why = (
        f"{name} is what multiprocessing.get_context({written}) returns, or None; "
        f"where the start_method itself is an option, as in a verb's, it is start_method={written}"
    )
    raise OptionError(name, context, why)


def _is_start_method(value: object) -> TypeGuard[StartMethod]:
    return isinstance(value, str) and value in START_METHODS
