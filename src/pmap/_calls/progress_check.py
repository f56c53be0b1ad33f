"""The check of the option ``progress``; imported for those who give it."""

import importlib.util
import sys
from types import FunctionType, MethodType

from .._errors import OptionError

_NO_PLAIN_FUNCTION = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR


def checked_progress(name: str, value: object) -> object:
    """Return `value` if it says how progress is to be shown, and that is possible.

    Raises:
        OptionError: it does not; or it asks for a bar, and tqdm is not there. Also where no bar
            would be seen, as in a pipe: a program that needs tqdm should say so wherever it runs.
    """
    if isinstance(value, bool | str):
        if value is not False and not _has_tqdm():
            raise OptionError(
                name,
                value,
                "bars are tqdm's, which is not installed: pip install 'typed-pmap[progress]'. A "
                "function in its place, as progress=print, needs nothing",
            )
        return value
    if callable(value) and not isinstance(value, type):
        if _is_plain(value):
            return value
        why = f"{name} is called in threads, where nobody awaits it or goes through what it yields"
        raise OptionError(name, value, why)
    raise OptionError(
        name,
        value,
        f"{name} is True for a bar, a string for one with that label, False for nothing, or a "
        "function that is called with a pmap.Progress",
    )


def _is_plain(value: object) -> bool:
    """Return whether a function that is called runs there and then."""
    function = value.__func__ if isinstance(value, MethodType) else value
    if isinstance(function, FunctionType):
        return not function.__code__.co_flags & _NO_PLAIN_FUNCTION
    return True


def _has_tqdm() -> bool:
    # Not imported: where no bar is seen it is not needed.
    return "tqdm.auto" in sys.modules or importlib.util.find_spec("tqdm") is not None
