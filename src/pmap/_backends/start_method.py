"""Which start method (fork, spawn, forkserver) a pool has if the user names none."""

import sys
from typing import Any


def default_start_method() -> str:
    """Return the start method that a pool uses if the user asks for none.

    That is the start method that the program has set with ``multiprocessing.set_start_method``,
    unless it is the platform's default: `multiprocessing` sets that by itself when it is only asked
    for its start method.
    """
    multiprocessing: Any = sys.modules.get("multiprocessing")
    # Another thread may be importing `multiprocessing` at this moment, so that its functions are
    # not there yet.
    if hasattr(multiprocessing, "get_all_start_methods"):
        asked: str | None = multiprocessing.get_start_method(allow_none=True)
        # A library may have set a start method of its own, which other libraries cannot use.
        usual: str = multiprocessing.get_all_start_methods()[0]
        if asked in ("spawn", "forkserver", "fork") and asked != usual:
            return asked
    return usual_start_method()


def usual_start_method() -> str:
    """Return the fastest start method that is safe with threads in this process."""
    return "forkserver" if may_fork() else "spawn"


def may_fork() -> bool:
    """Return whether pmap may fork a process for a program that did not ask for a start method.

    Only on Linux: the system libraries of macOS do not survive a fork.
    """
    return sys.platform == "linux"
