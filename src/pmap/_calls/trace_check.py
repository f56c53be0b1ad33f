"""The check of the option ``trace``; imported only when a call or ``using`` gives it."""

import os

from .._errors import OptionError
from .._trace.trace import Trace, kind_of


def checked_trace(name: str, value: object) -> object:
    """Return `value` if the option may have it: a bool, a `Trace`, or a path for a trace.

    Raises:
        OptionError: `value` is none of these, or there is no directory for the file. The error
            comes before the call begins, so that the user need not wait for the end of the call to
            see it.
    """
    if isinstance(value, bool | Trace):
        return value
    path = _path(value)
    if path is None:
        why = f"{name} is True, a path that ends with .svg or .json, a pmap.Trace, or False"
        raise OptionError(name, value, why + "; did you mean Trace()?" * (value is Trace))
    if kind_of(path) is None:
        raise OptionError(
            name,
            value,
            "a trace is saved in a file that ends with .svg (a picture) or .json (for Perfetto and "
            "Chrome)",
        )
    # `pathlib` is not used, because its import takes long.
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise OptionError(name, value, f"there is no directory {folder!r} to save the trace in")
    return path


def _path(value: object) -> str | None:
    """Return a path as text; None if `value` is no path, or is a path of bytes."""
    as_text = getattr(type(value), "__fspath__", None)
    path: object = value if as_text is None else as_text(value)
    return path if isinstance(path, str) else None
