"""Whether a pool may have processes here: none may lead to processes without end."""

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
    """Return whether a pool may have processes here; else it runs its items itself.

    What a process runs that pmap has started, before it is a worker or before it runs an item, each
    of its workers would run as well: a module that makes a pool when it is imported, a
    ``sitecustomize``.

    Raises:
        RuntimeError: not even that: this process is to be a worker and runs a program; or pools are
            nested too deep.
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
    """Tell the caller that this process runs the program instead of being a worker, and end it.

    It was started for nothing else; the caller does what the program does. Returns without doing
    anything in a process that is not the one that the caller has started.
    """
    told = mark()
    if told is not None:
        # Only now: `import pmap` does without them.
        from .._transport.framing import frame
        from .._transport.light_stdlib import socket
        from .._transport.protocol import make_again

        socket(fileno=told[1]).sendall(frame(make_again()))
        os._exit(1)
