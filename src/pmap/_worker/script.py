"""The script, imported once for all workers: by a process of which they are forked then.

The template does not import it itself: the script may start threads, raise, never return or end its
process. The template forks a process that imports it, and that serves in its place from then on::

    the template              waits for the end of the other one, and ends with it
        |
    a fork that has imported  serves as the template
        |
    the workers

Where that process cannot serve, it ends, and the template forks workers itself. Each of them
imports the script then, and shows what is wrong with it.
"""

from __future__ import annotations

import marshal
import os
import select
import sys
from time import sleep

from .._transport import process_role
from .._transport.by_value import arriving
from .._transport.light_stdlib import signal, socket
from .identity import ties
from .measured import saver
from .reporting import Reporting
from .sending import Sender
from .side_effects import Surroundings, exit_process
from .streams import Streams
from .template import count_threads, kill_group
from .terminal import begin as begin_without_terminal

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from .worker import Prepared

_SERVES = b"1"
# The end of a thread is known to Python a moment before the system counts one less.
_LOOKS, _MOMENT = 20, 0.001
_HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP


def import_in_fork(
    sock: socket, message: int, begin: Callable[[], None], serve: Callable[[Prepared], NoReturn]
) -> None:
    """Fork a process that imports the script, and serves; return only if it cannot serve.

    Args:
        sock: of the template.
        message: descriptor of a file that says what to import, and where.
        begin: called first in the fork: it is to be a process of its own.
        serve: called in the fork when it has imported the script.
    """
    size = os.fstat(message).st_size
    about = os.pread(message, size, 0)
    os.close(message)
    hears, tells = os.pipe()
    try:
        pid = os.fork()
    except OSError:  # as each worker: the caller is told when the first of them fails
        os.close(hears)
        os.close(tells)
        return
    if pid == 0:
        os.close(hears)
        _import_and_serve(sock, about, tells, begin, serve)
    os.close(tells)
    try:
        if _can_serve(sock, hears):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            kill_group(pid)  # what the script has started, while the id is nobody else's
            os._exit(0)
        # It has ended, or is stuck and the caller is gone.
        kill_group(pid)
        os.waitpid(pid, 0)
    finally:
        os.close(hears)


def _can_serve(sock: socket, hears: int) -> bool:
    """Return whether the fork has imported the script; False, too, if the caller is gone."""
    poll = select.poll()
    poll.register(hears, select.POLLIN)
    # Not what can be read there: that is for whoever serves. (The end shows with it on Linux.)
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
    """Import the script and serve; end where that fails, or cannot be done safely."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        begin()
        pid = os.getpid()
        prepared = _import(sock, about)
        # A script may fork, and its child comes here as well.
        if os.getpid() == pid and _has_one_thread():
            os.write(tells, _SERVES)
            os.close(tells)
            serve(prepared)
    except BaseException:  # a worker that imports it tells what it is
        pass
    finally:
        exit_process(0)


def _import(sock: socket, about: bytes) -> Prepared:
    """Import the script, in surroundings as a worker's."""
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


def _has_one_thread() -> bool:
    for _ in range(_LOOKS):
        if count_threads() == 1:
            return True
        sleep(_MOMENT)
    return False
