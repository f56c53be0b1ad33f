"""The start method (fork, spawn, forkserver) of a pool for which the user names none."""

import sys
from typing import Any


def default_start_method() -> str:
    """Return the start method that a pool uses if the user does not name one.

    The pool uses the start method that the program has set with
    ``multiprocessing.set_start_method``, unless that is the platform's default. The default does
    not count, because `multiprocessing` itself sets it as soon as it is asked for its start method.
    """
    multiprocessing: Any = sys.modules.get("multiprocessing")
    # Another thread may be importing `multiprocessing` at this moment, so that the module lacks its
    # functions.
    if hasattr(multiprocessing, "get_all_start_methods"):
        asked: str | None = multiprocessing.get_start_method(allow_none=True)
        # A library may have set a start method of its own, which only that library can use. It does
        # not count.
        usual: str = multiprocessing.get_all_start_methods()[0]
        if asked in ("spawn", "forkserver", "fork") and asked != usual:
            return asked
    return usual_start_method()


def usual_start_method() -> str:
    """Return the fastest start method that is safe with threads in this process."""
    return "forkserver" if may_fork() else "spawn"


def may_fork() -> bool:
    """Return whether pmap may fork a process although the program did not ask for forks.

    That is so on Linux only: the system libraries of macOS do not survive a fork.
    """
    return sys.platform == "linux"
