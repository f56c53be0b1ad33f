"""The traceback of an exception as text."""

from types import TracebackType

from .._errors import is_ctrl_c
from .._transport.own_frames import shows_own_frames, without_own_frames


def format_traceback(error: BaseException, instead: str | None = None) -> str:
    """Return the traceback of `error` as text, without pmap's own frames.

    `instead` stands in the last line in place of the type and text of `error`; None keeps them.
    """
    return format_trace(error, error.__traceback__, instead)


def format_trace(
    error: BaseException, trace: TracebackType | None, instead: str | None = None
) -> str:
    """Return the traceback `trace` of `error` as text, without the frames of pmap itself."""
    import traceback

    try:
        if not shows_own_frames():
            trace = without_own_frames(trace)
        if instead is not None:
            lines = traceback.format_tb(trace)
            return "".join(["Traceback (most recent call last):\n", *lines, f"{instead}\n"])
        return "".join(traceback.format_exception(type(error), error, trace))
    except BaseException as why:  # the class of the exception may have a `__str__` that raises
        if is_ctrl_c(why):
            raise
        name = type(why).__name__
        return f"{type(error).__name__} (its traceback could not be made: {name})\n"
