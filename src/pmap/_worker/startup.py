"""How a process becomes a worker, and how it ends.

There are four ways in: a fresh interpreter, a frozen program that was started anew, a fork of a
prepared template, a fork of the caller::

    main(kind="worker")     a fresh interpreter
    main(kind="template")   serves as the template; each fork of it: enter_forked
    become                  a frozen program, by `freeze_support`: calls `main`
    enter_forked            a process that was just forked, of the template or of the caller

A worker never runs the caller's ``__main__``: its own is an empty module, unless it was forked
from the caller.
"""

from __future__ import annotations

import os
import sys

from .._transport import process_role
from .._transport.framing import frame
from .._transport.light_stdlib import signal, socket
from .._transport.protocol import make_hello
from .._transport.shadows import standard_library
from .._transport.started import MARK, mark
from .identity import ties
from .side_effects import end_after, exit_process
from .traces import traces
from .worker import Worker

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

    from .worker import Initializer, Prepared

_LAST_FLUSH = 2  # seconds for a stream of an item's own to take what was printed


def main(kind: str, fd: int, lifeline: int) -> NoReturn:
    """Be a worker, or the template of workers, on the socket `fd`; the process is ours alone."""
    _ignore_interrupts()
    process_role.in_worker = True
    os.environ.pop(MARK, None)
    process_role.finish_package_on_demand()
    sys.modules["__main__"] = type(sys)("__main__")
    sock = socket(fileno=fd) if fd >= 0 else _shared_socket()
    try:
        sock.sendall(frame(make_hello()))
    except OSError:
        exit_process(0)  # the caller is gone, or has given this process up
    if kind == "template":
        from .template import serve_template

        _lead_process_group()  # signals of the terminal are for the caller alone
        serve_template(
            sock,
            lifeline,
            lambda own: enter_forked(own, lifeline),
            lambda message: _import_script(sock, message, lifeline),
        )
    enter_forked(sock, lifeline)


def _import_script(sock: socket, message: int, lifeline: int) -> None:
    """Let a fork of the template import the script and serve in its place, if it can."""
    from .ending import run_exit_callbacks
    from .script import import_in_fork
    from .template import serve_template

    def begin() -> None:
        _lead_process_group()
        # The script may never return, and then nobody else would notice the caller's end.
        _end_with_caller(os.dup(lifeline) if lifeline >= 0 else -1)

    def enter(own: socket, prepared: Prepared) -> NoReturn:
        if ties.lifeline >= 0:
            os.close(ties.lifeline)  # of the process that has imported the script
            ties.lifeline = -1
        enter_forked(own, lifeline, prepared=prepared)

    def serve(prepared: Prepared) -> NoReturn:
        serve_template(
            sock,
            lifeline,
            lambda own: enter(own, prepared),
            os.close,  # it is imported
            run_exit_callbacks,
        )

    import_in_fork(sock, message, begin, serve)


def become() -> None:
    """Be what this process was started for, if it was; never returns then."""
    told = mark()
    if told is not None:
        main(*told)


class FromFreezeSupport:
    """What the `freeze_support` of multiprocessing takes for a process that it is to be."""

    def _bootstrap(self, parent_sentinel: int) -> None:
        os.close(parent_sentinel)
        become()


def _shared_socket() -> socket:
    """Return the socket that the caller shares through stdin, as on Windows."""
    import socket as public

    return public.fromshare(sys.stdin.buffer.read())  # type: ignore[attr-defined, no-any-return]  # Windows


def enter_forked(
    sock: socket,
    lifeline: int,
    initializer: Initializer | None = None,
    prepared: Prepared | None = None,
) -> NoReturn:
    """Be a worker in a process that was just forked; never returns into the caller's code.

    Args:
        sock: on which messages come.
        lifeline: what tells of the caller's end.
        initializer: what a fork of the caller calls first, with its arguments.
        prepared: what a worker begins with whose parent has imported the script.
    """
    code = 1
    try:
        _lead_process_group()
        _ignore_interrupts()
        _end_with_caller(lifeline)
        process_role.in_worker = True
        process_role.runs_items = False  # this may be a fork of a worker whose item runs
        traces.clear()  # or this would be taken for a fork that an item has made, and ended
        in_order = Worker(sock, initializer, prepared).run()
        code = 0
        if in_order:
            from .ending import run_exit_callbacks

            run_exit_callbacks()
    except (ConnectionError, BrokenPipeError):
        code = 0  # the caller is gone: nobody is left to tell
    except BaseException:
        kind, error, trace = sys.exc_info()
        if kind is not None and error is not None:
            sys.excepthook(kind, error, trace)
    finally:
        _leave(code)


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C, which is the caller's to handle for all its workers; SIGTERM ends."""
    signal.set_wakeup_fd(-1)
    # A handler that does nothing, and not SIG_IGN: programs that an item starts would inherit
    # that, and could not be interrupted.
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        # Blocked by the caller while the process was started, when a Ctrl-C would have shown a
        # traceback of the interpreter's own start.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _lead_process_group() -> None:
    """Lead a process group, so that what an item starts can be ended with the worker."""
    if hasattr(os, "setsid"):
        try:
            os.setsid()
        except OSError:
            pass  # it leads one already
        # Where a standard stream is closed, nothing else may come: what an item prints would go
        # into it.
        while (null := os.open(os.devnull, os.O_RDWR)) < 3:
            pass
        # The terminal is the caller's: reading from it would now stop the process.
        os.dup2(null, 0)
        os.close(null)


def _end_with_caller(lifeline: int) -> None:
    """Have the kernel kill this process, and what it started, when the caller ends.

    `lifeline` is the reading end of a pipe whose writing end only the caller has. When that closes,
    the kernel sends SIGKILL, which also ends a worker that is busy in C code. Where the kernel
    cannot do so, the worker notices the end of its socket between two chunks.
    """
    if lifeline < 0 or not os.path.exists(f"/proc/self/fd/{lifeline}"):
        return
    with standard_library:
        import fcntl

    # Opened again: the process that the kernel signals is a property of the open file, which all
    # workers would share.
    if not hasattr(fcntl, "F_SETSIG"):  # a fork of a program that has its own fcntl.py
        os.close(lifeline)
        return
    try:
        own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK)
    except PermissionError:  # the process has changed its user since it was opened
        return
    finally:
        os.close(lifeline)
    ties.lifeline = own
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    try:
        if not os.read(own, 1):
            os._exit(0)  # it closed before the kernel was asked to tell
    except BlockingIOError:
        pass


def _ignore(signum: int, stack: FrameType | None) -> None:
    pass


def _leave(code: int) -> NoReturn:
    for stream, own in ((sys.stdout, sys.__stdout__), (sys.stderr, sys.__stderr__)):
        if stream is not own:
            # The flush of an item's own stream may never return: the caller, which waits for the
            # end of this process, would wait for ever. The streams that this process began with
            # wait for their reader.
            end_after(_LAST_FLUSH)
        try:
            stream.flush()
        except BaseException:  # of a stream of an item's own: it must not lead out of here
            pass  # closed, or None: nothing to save
    exit_process(code)
