"""The user's script, imported once for all workers, by a process from which workers are forked.

The fork server does not import the script itself: the script may start threads, raise, never return
or end its process. So the fork server forks a process that imports the script. From then on this
fork serves in the place of the fork server::

    the fork server                      waits for the end of its fork, and ends with it
        |
    the fork that has imported it        serves in the place of the fork server
        |
    the workers

If the fork cannot serve, it ends, and the fork server forks workers itself. Then each worker
imports the script, and tells the caller what the script raises.
"""

from __future__ import annotations

import marshal
import os
import select
import sys

from .._transport import process_role
from .._transport.by_value import arriving
from .._transport.light_stdlib import signal, socket
from .identity import ties
from .measured import saver
from .reporting import Reporting
from .sending import Sender
from .side_effects import Surroundings, exit_process
from .streams import Streams
from .template import count_lasting_threads, kill_group, wait_for
from .terminal import begin as begin_without_terminal

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from .worker import Prepared

_SERVES = b"1"
_HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP


def import_in_fork(
    sock: socket, message: int, begin: Callable[[], None], serve: Callable[[Prepared], NoReturn]
) -> None:
    """Fork a process that imports the script and serves as the fork server.

    Return only if the fork cannot serve. Else wait for the end of the fork, and end this process.

    Args:
        sock: the socket on which the fork server talks with the caller.
        message: the descriptor of a file that says what to import: see `protocol.IMPORT`.
        begin: called first in the fork: makes the fork the leader of a process group, and lets the
            fork end when the caller ends.
        serve: called in the fork when the fork has imported the script.
    """
    size = os.fstat(message).st_size
    about = os.pread(message, size, 0)
    os.close(message)
    hears, tells = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        # The system forks no process at the moment. So the start of the first worker will fail,
        # too, and then the caller is told.
        os.close(hears)
        os.close(tells)
        return
    if pid == 0:
        os.close(hears)
        _import_and_serve(sock, about, tells, begin, serve)
    os.close(tells)
    try:
        if _can_serve(sock, hears):
            wait_for(pid)  # `wait_for` also kills the processes that the script has started
            os._exit(0)
        # Either the fork has ended, or the caller is gone while the script in the fork still runs.
        kill_group(pid)
        os.waitpid(pid, 0)
    finally:
        os.close(hears)


def _can_serve(sock: socket, hears: int) -> bool:
    """Wait for the fork; return whether it has imported the script and can serve.

    `hears` is the reading end of the pipe on which the fork says that it is ready. Return False,
    too, if the caller is gone.
    """
    poll = select.poll()
    poll.register(hears, select.POLLIN)
    # This process waits for the caller to close the connection, and does not read from it: the
    # forked process answers the caller's requests. (On Linux, POLLRDHUP shows the close.)
    poll.register(sock, _HUNG_UP)
    ready = [fd for fd, _ in poll.poll()]
    return hears in ready and os.read(hears, 1) == _SERVES


def _import_and_serve(
    sock: socket,
    about: bytes,
    tells: int,
    begin: Callable[[], None],
    serve: Callable[[Prepared], NoReturn],
) -> NoReturn:
    """Import the script, and serve in the place of the fork server that forked this process.

    End this process if the script fails, or if workers cannot safely be forked from this process:
    if it has several threads, or is one that the script itself has forked.
    """
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        begin()
        pid = os.getpid()
        prepared = _import(sock, about)
        # If the script itself forks, the new process comes here, too; it must not serve.
        if os.getpid() == pid and count_lasting_threads() == 1:
            os.write(tells, _SERVES)
            os.close(tells)
            serve(prepared)
    except BaseException:
        # The script has failed: the first worker will import the script again, and tell the caller
        # what the script raises.
        pass
    finally:
        exit_process(0)


def _import(sock: socket, about: bytes) -> Prepared:
    """Import the script in the directory and environment in which a worker would import it."""
    generation, identity, environment, argv, script, streams, measured = marshal.loads(about)
    process_role.generation = generation
    ties.begin(identity, False)
    sys.argv[:] = argv
    send = Sender(sock).send
    surroundings, reporting = Surroundings(), Reporting()
    surroundings.begin(environment, Streams(streams, send))
    reporting.begin(send, False)
    reporting.apply(environment[3], True)
    begin_without_terminal()
    save = saver(measured)
    arriving.import_script(*script)
    surroundings.keep()
    if save is not None:
        save()
    return surroundings, reporting
