"""Whether a pool may start worker processes here: workers must not start others without end."""

import os

from .._transport import process_role
from .._transport.started import (
    MOST_NESTED,
    depth,
    is_importing,
    is_marked,
    mark,
    runs_our_command,
    socket_to_caller,
)


def may_start_processes() -> bool:
    """Return whether a pool may start worker processes in this process.

    If not, the pool runs its items in this process. The answer is no in a process that pmap itself
    has started, until that process runs an item. The reason is that a module or a ``sitecustomize``
    may make a pool when it is imported. Each worker of that pool would import it again, and would
    make a pool, too.

    Raises:
        RuntimeError: the pool may not even run items here. Either this process was to become a
            worker and runs the user's program instead, or pools are nested too deep.
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
    """Exit from a process that was to become a worker and now runs the user's program again.

    Before it exits, the process tells that to the caller, which has started it. In a process that
    pmap has not started, this function does nothing.
    """
    told = mark()
    if told is not None:
        # The modules are imported here and not at the top, so that `import pmap` does not import
        # them.
        from .._transport.framing import frame
        from .._transport.protocol import make_again

        try:
            socket_to_caller(told[1]).sendall(frame(make_again()))
        except Exception:
            # The caller has ended; or on Windows the program has replaced or read its standard
            # input, by which the socket comes.
            return
        os._exit(1)
