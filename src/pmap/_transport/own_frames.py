"""Which frames of a traceback are pmap's own, and a traceback without them."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

# The environment variable with which a user asks to see pmap's own frames, too.
FULL_TRACEBACK = "PMAP_FULL_TRACEBACK"

_PACKAGE = __name__.partition(".")[0]


def shows_own_frames() -> bool:
    """Return whether tracebacks are to show pmap's own frames: ``PMAP_FULL_TRACEBACK=1`` is set."""
    return os.environ.get(FULL_TRACEBACK, "0") not in ("", "0")


def is_own_frame(names: dict[str, Any]) -> bool:
    """Return whether a frame is pmap's own; `names`: the globals of the frame."""
    # A frame is pmap's own if the globals of its function name the package `pmap`. But code that
    # runs as `python -m pmap` is part of the package, and still a user's program: its globals have
    # "__main__" as `__name__`. The value of `__package__` in the globals may be any object.
    package: object = names.get("__package__")
    ours = isinstance(package, str) and package.partition(".")[0] == _PACKAGE
    return ours and names.get("__name__") != "__main__"


def without_own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return `trace` without pmap's own frames; the other entries stay the same objects."""
    first = _next_of_others(trace)
    entry = first
    while entry is not None:
        entry.tb_next = _next_of_others(entry.tb_next)
        entry = entry.tb_next
    return first


def _next_of_others(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and is_own_frame(trace.tb_frame.f_globals):
        trace = trace.tb_next
    return trace
