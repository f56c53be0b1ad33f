"""Takes pmap's own frames out of the traceback of an exception that a public function raises."""

import sys
from types import TracebackType
from typing import Final

from .._errors import TransportError
from .._transport.exceptions import members_of
from .._transport.own_frames import is_own_frame, shows_own_frames, without_own_frames

# The module of pmap that calls the user's function if items run in the caller's process.
_RUNS_ITEMS: Final = f"{__name__.partition('.')[0]}._backends.in_process"


def cut(error: BaseException) -> bool:
    """Take pmap's own frames out of the traceback of `error`, so that users see their own code.

    Return false if the traceback is left as it is, because the user wants to see these frames.

    A public function calls `cut` in an ``except`` block, and then raises `error` again by a bare
    ``raise``. The first entry of the traceback is then that of the public function. This entry
    cannot be removed, because Python adds an entry for each function that an exception leaves. So
    the public function stores what `cut` returns in a local variable `__tracebackhide__`: IPython
    and pytest leave out frames with this variable.

    All other frames stay, with their variables, so that a debugger finds them.
    """
    if shows_own_frames():
        return False
    trace = error.__traceback__
    if trace is not None:
        if isinstance(error, KeyboardInterrupt):
            # If Ctrl-C comes while pmap waits, the last frames are those of `selectors` or the
            # like, which the user has not called. So they are taken out, too.
            _cut_below(trace)
        trace.tb_next = without_own_frames(trace.tb_next)
    seen = {id(error)}
    errors = [error]
    while errors:  # a loop and no recursion, because a chain of exceptions may be long
        errors += _cut_linked(errors.pop(), seen)
    return True


def _cut_linked(error: BaseException, seen: set[int]) -> list[BaseException]:
    """Take pmap's own frames out of the tracebacks of the exceptions linked to `error`.

    Return these exceptions, which Python shows along with `error`.

    `seen` has the ids of exceptions that were handled already; this function adds those of the
    returned exceptions.
    """
    linked = [error.__cause__, error.__context__, *members_of(error)]
    others = [other for other in linked if other is not None and id(other) not in seen]
    for other in others:
        seen.add(id(other))
        trace = other.__traceback__
        if trace is not None and isinstance(error, TransportError):
            # pmap called the pickling modules, so their frames are taken out, too.
            _cut_below(trace)
        # `BaseException.__setattr__` is called directly, because the class of the exception may
        # have a `__setattr__` that raises.
        BaseException.__setattr__(other, "__traceback__", without_own_frames(trace))
    cause = error.__cause__
    if (
        isinstance(error, TransportError)
        and error.side == "caller"
        and isinstance(cause, TypeError)
        and cause.__traceback__ is None
    ):
        # pickle's own exception is not shown: its message is in that of `error`, and no line of the
        # user's code led to it. Setting `__cause__` also hides `__context__`.
        error.__cause__ = None
        error.__context__ = cause
    return others


def _cut_below(trace: TracebackType) -> None:
    """Remove from a traceback the frames of pmap that come after the user's last frame."""
    ours: TracebackType | None = None
    entry: TracebackType | None = trace
    while entry is not None:
        names = entry.tb_frame.f_globals
        module: object = names.get("__name__")
        if is_own_frame(names):
            ours = None if module == _RUNS_ITEMS else ours or entry
        elif not _is_library(module):
            ours = None
        entry = entry.tb_next
    if ours is not None:
        ours.tb_next = None


def _is_library(module: object) -> bool:
    """Return whether `module` is the name of a standard module that pmap calls."""
    if not isinstance(module, str):
        return False
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top == "cloudpickle"
