"""The check of the option ``trace``; imported only when a call or ``using`` gives it."""

import os
from collections.abc import Callable
from typing import Any

from .._errors import OptionError
from .._trace.trace import Trace, kind_of


def checked_trace(name: str, value: object) -> object:
    """Return `value` if it is a bool, a `Trace`, or a path that a trace can be saved in.

    Raises:
        OptionError: `value` is none of these, or there is no directory for the file. The call has
            not begun then: it would be a pity to learn that at its end.
    """
    if isinstance(value, bool | Trace):
        return value
    as_path: Callable[[Any], object] = os.fspath  # what is no path raises a TypeError
    try:
        path = as_path(value)
    except TypeError:
        path = None
    if not isinstance(path, str):
        why = f"{name} is True, a path that ends with .svg or .json, a pmap.Trace, or False"
        raise OptionError(name, value, why + "; did you mean Trace()?" * (value is Trace))
    if kind_of(path) is None:
        raise OptionError(
            name,
            value,
            "a trace is saved in a file that ends with .svg (a picture) or .json (for Perfetto and "
            "Chrome)",
        )
    folder = os.path.dirname(os.path.abspath(path))  # no pathlib here
    if not os.path.isdir(folder):
        raise OptionError(name, value, f"there is no directory {folder!r} to save the trace in")
    return path
