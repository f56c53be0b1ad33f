"""A worker that is an interpreter of its own, in a thread of the caller's process.

The loop is that of a worker process (`worker`), on one end of a socket pair. What belongs to the
whole process is not touched: directory, umask, locale, signals, standard streams, the end of the
process. `process_role.shares_process` says so to the modules that would.
"""

from __future__ import annotations

import io
import os
import sys

from .._transport import process_role
from .._transport.light_stdlib import socket
from .side_effects import SET_VARIABLE
from .traces import traces
from .worker import Worker

TYPE_CHECKING = False  # not imported from `typing`: workers start faster without that module
if TYPE_CHECKING:
    from typing import Any


def serve(fd: int) -> None:
    """Serve as a worker in this interpreter until the caller needs no worker any more.

    `fd` is the descriptor of the worker's end of a socket pair. The caller closes it.
    """
    process_role.in_worker = True
    process_role.shares_process = True
    process_role.finish_package_on_demand()
    sys.modules["__main__"] = type(sys)("__main__")
    _own_variables()
    # Standard input belongs to the caller.
    sys.stdin = sys.__stdin__ = io.StringIO()  # type: ignore[assignment,misc]  # the types want the class of files
    sock = socket(fileno=fd)
    worker = Worker(sock)
    try:
        if worker.run():
            _run_exit_callbacks()
    except OSError:
        pass  # the caller has closed its end, so the error can be told to nobody
    finally:
        # Its descriptors are the process's, which goes on; the end of the interpreter comes too
        # late to close them, when the modules for that are gone.
        worker.release_segments()
        sock.detach()


def _own_variables() -> None:
    """Keep changes of ``os.environ`` in this interpreter.

    ``os.environ`` writes through to the variables of the process by these two functions. The
    interpreter's copy was made before, so the items find what they set, and no one else does.
    """

    def note(*_: object) -> None:
        traces.append(SET_VARIABLE)

    functions: Any = os  # a type checker refuses to give functions of a module other signatures
    functions.putenv = functions.unsetenv = note


def _run_exit_callbacks() -> None:
    import atexit

    given: Any = atexit
    try:
        given._run_exitfuncs()
    except BaseException:  # whatever the callbacks raise, the worker ends
        pass
