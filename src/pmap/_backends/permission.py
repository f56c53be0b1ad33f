"""Whether a pool may start processes in this process: no pool may start processes without end."""

import os

from .._transport import process_role
from .._transport.started import (
    MOST_NESTED,
    depth,
    is_importing,
    is_marked,
    mark,
    runs_our_command,
)


def may_start_processes() -> bool:
    """Return whether a pool may start processes in this process; else the pool runs its items here.

    The answer is no in a process that pmap has started, until the process runs an item. A module
    may make a pool when it is imported, as may a ``sitecustomize``. Each worker of the pool would
    run that code again and make a pool, too.

    Raises:
        RuntimeError: the pool may not run items here either: this process is to be a worker and
            runs the user's program instead, or pools are nested too deep.
    """
    if process_role.in_worker and not process_role.runs_items:
        return False
    if is_marked():
        if is_importing() or runs_our_command():
            return False
        _report_again()
        raise RuntimeError(
            "this process was started by pmap to be a worker, and it runs a program that uses pmap "
            "instead: call pmap.freeze_support() first in a program that is frozen; in one that "
            "embeds Python, say with multiprocessing.set_executable(path) which Python to start"
        )
    if depth() >= MOST_NESTED:
        raise RecursionError(
            f"this process is a worker of a pool in an item of a pool, and so on, {depth()} deep: "
            "is there a function whose items start the same function in a pool again?"
        )
    return True


def _report_again() -> None:
    """Tell the caller that this process runs the user's program and is no worker, and exit.

    The caller started this process only to be a worker; the caller itself runs the program. In a
    process that the caller has not started itself, the function does nothing.
    """
    told = mark()
    if told is not None:
        # These imports are here because `import pmap` does without these modules.
        from .._transport.framing import frame
        from .._transport.light_stdlib import socket
        from .._transport.protocol import make_again

        socket(fileno=told[1]).sendall(frame(make_again()))
        os._exit(1)
