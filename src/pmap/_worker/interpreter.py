"""A worker that is an interpreter of its own, in a thread of the caller's process.

The loop is that of a worker process (`worker`), on one end of a socket pair. What belongs to the
whole process is not touched: directory, umask, locale, signals, standard streams, the end of the
process. Modules that would touch one of these look at `process_role.shares_process` first.
"""

from __future__ import annotations

import io
import os
import sys

from .._transport import process_role
from .._transport.light_stdlib import socket
from .identity import ties
from .side_effects import SET_VARIABLE
from .traces import traces
from .worker import Worker

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any


def serve(fd: int) -> None:
    """Serve as a worker in this interpreter until the caller needs no worker any more.

    `fd` is the descriptor of the worker's end of a socket pair. The caller closes this descriptor.
    """
    process_role.in_worker = True
    process_role.shares_process = True
    process_role.finish_package_on_demand()
    sys.modules["__main__"] = type(sys)("__main__")
    _own_variables()
    # Standard input belongs to the caller, so items find an empty one.
    sys.stdin = sys.__stdin__ = io.StringIO()  # type: ignore[assignment,misc]  # the types want the class of files
    sock = socket(fileno=fd)
    worker = Worker(sock)
    try:
        if worker.run():
            _run_exit_callbacks()
    except OSError:
        pass  # the caller has closed its socket, so the error can be told to nobody
    finally:
        # The descriptors belong to the process, which goes on after this interpreter. They are
        # closed now, because when the interpreter ends, the modules that could close them are gone.
        worker.release_segments()
        ties.release()
        sock.detach()


def _own_variables() -> None:
    """Keep changes of ``os.environ`` in this interpreter.

    Each interpreter has its own copy of ``os.environ``. But a change of the copy also changes the
    variables of the process, by ``os.putenv`` and ``os.unsetenv``. So these two are replaced.
    """

    def note(*_: object) -> None:
        traces.append(SET_VARIABLE)

    functions: Any = os  # `Any`, because the new functions have other signatures
    functions.putenv = functions.unsetenv = note


def _run_exit_callbacks() -> None:
    import atexit

    given: Any = atexit
    try:
        given._run_exitfuncs()
    except BaseException:  # whatever the callbacks raise, the worker ends
        pass
