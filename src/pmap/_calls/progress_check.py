"""The check of the option ``progress``; imported only when a call or ``using`` gives it."""

import importlib.util
import sys
from types import FunctionType, MethodType

from .._errors import OptionError

# The flags CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR of code objects.
_NO_PLAIN_FUNCTION = 0x20 | 0x80 | 0x200


def checked_progress(name: str, value: object) -> object:
    """Return `value` if the option may have it: a bool, a string or a function.

    Raises:
        OptionError: `value` is none of these; or it asks for a bar, and tqdm is not installed. The
            error comes also where no bar would be shown, as in a pipe: a program that needs tqdm
            should fail everywhere, and not only on a terminal.
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
    """Return whether `value(...)` runs code: a coroutine or generator function does not."""
    function = value.__func__ if isinstance(value, MethodType) else value
    if isinstance(function, FunctionType):
        return not function.__code__.co_flags & _NO_PLAIN_FUNCTION
    return True


def _has_tqdm() -> bool:
    # This only looks for tqdm, and does not import it: a call that shows no bar does not need tqdm.
    return "tqdm.auto" in sys.modules or importlib.util.find_spec("tqdm") is not None
