"""How a process becomes a worker, and how a worker process ends.

A process that becomes a worker is a fresh interpreter, a frozen program that was started anew, a
fork of the fork server, or a fork of the caller. It begins in one of these functions::

    main(kind="worker")     a fresh interpreter
    main(kind="template")   a fresh interpreter that serves as the fork server
    become                  a frozen program, which calls `freeze_support`; `become` calls `main`
    enter_forked            a process that was just forked from the fork server or the caller

A worker never runs the caller's ``__main__``. The module ``__main__`` of a worker is empty, unless
the worker was forked from the caller.
"""

from __future__ import annotations

import os
import sys

from .._transport import process_role
from .._transport.framing import frame
from .._transport.light_stdlib import Context, signal, socket, start_new_thread
from .._transport.protocol import make_hello
from .._transport.shadows import standard_library
from .._transport.started import MARK, mark, socket_to_caller
from .identity import ties
from .side_effects import end_after, exit_process
from .traces import traces
from .worker import Worker

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

    from .worker import Initializer, Prepared

_LAST_FLUSH = 2  # seconds that the last flush of a stream may take, if an item has set the stream


def main(kind: str, fd: int, lifeline: int) -> NoReturn:
    """Serve as a worker, or as the fork server, in a process that was started only for this.

    Args:
        kind: "worker" or "template".
        fd: the descriptor of the socket that leads to the caller; -1: stdin has the socket.
        lifeline: the reading end of a pipe that closes when the caller ends; -1: there is none.
    """
    _ignore_interrupts()
    process_role.in_worker = True
    os.environ.pop(MARK, None)
    process_role.finish_package_on_demand()
    sys.modules["__main__"] = type(sys)("__main__")
    sock = socket_to_caller(fd)
    try:
        sock.sendall(frame(make_hello()))
    except OSError:
        exit_process(0)  # the caller has ended, or does not need this process any more
    if kind == "template":
        from .template import serve_template

        _lead_process_group()  # a process group of its own gets no Ctrl-C from the terminal
        serve_template(
            sock,
            lifeline,
            lambda own: enter_forked(own, lifeline),
            lambda message: _import_script(sock, message, lifeline),
        )
    enter_forked(sock, lifeline)


def _import_script(sock: socket, message: int, lifeline: int) -> None:
    """Fork the fork server; the fork imports the script, and then serves as the fork server."""
    from .ending import run_exit_callbacks
    from .script import import_in_fork
    from .template import serve_template

    def begin() -> None:
        _lead_process_group()
        # The script may never return. Then only the kernel can end this process with the caller.
        own = os.dup(lifeline) if lifeline >= 0 else -1
        if not _end_with_caller(own) and own >= 0:
            # The kernel cannot end this process with the caller. A thread that watches the caller
            # is not possible: workers are forked from this process, so it must have one thread
            # only.
            os.close(own)

    def enter(own: socket, prepared: Prepared) -> NoReturn:
        if ties.lifeline >= 0:
            # Close the descriptor with which the parent (the process that has imported the script)
            # notices the caller's end: this worker opens one of its own.
            os.close(ties.lifeline)
            ties.lifeline = -1
        enter_forked(own, lifeline, prepared=prepared)

    def serve(prepared: Prepared) -> NoReturn:
        serve_template(
            sock,
            lifeline,
            lambda own: enter(own, prepared),
            # This process has imported the script already. If it is asked to import a script, it
            # only closes the descriptor that came with the request.
            os.close,
            run_exit_callbacks,
        )

    import_in_fork(sock, message, begin, serve)


def become() -> None:
    """Serve as a worker or as the fork server, if pmap started this process; else return."""
    told = mark()
    if told is not None:
        main(*told)


class FromFreezeSupport:
    """An object on which `multiprocessing.freeze_support` calls the method `_bootstrap`.

    By this call the process becomes a worker.
    """

    def _bootstrap(self, parent_sentinel: int | None) -> None:
        if parent_sentinel is not None:  # `parent_sentinel` is None on Windows
            os.close(parent_sentinel)
        become()


def enter_forked(
    sock: socket,
    lifeline: int,
    initializer: Initializer | None = None,
    prepared: Prepared | None = None,
) -> NoReturn:
    """Serve as a worker in this process, until it ends; never return into the caller's code.

    Args:
        sock: the socket on which the messages of the caller come.
        lifeline: the reading end of a pipe that closes when the caller ends; -1: there is none.
        initializer: the function that a fork of the caller calls first, with its arguments.
        prepared: what the process that has imported the script has prepared for the environment and
            for reports; None if this process was not forked from that process.
    """
    code = 1
    try:
        _lead_process_group()
        _ignore_interrupts()
        if not _end_with_caller(lifeline):
            _watch_caller(lifeline)
        process_role.in_worker = True
        # If this process was forked from a worker while an item ran, `runs_items` is still true.
        # This process runs no item yet.
        process_role.runs_items = False
        # Without this, the note FORKED would stay, and this process would be taken for one that an
        # item has forked, and end.
        traces.clear()
        # A fork of the caller has the context variables of the thread that has forked it. The
        # worker begins without any, because the caller sends those of each call.
        in_order = Context().run(Worker(sock, initializer, prepared).run)
        code = 0
        if in_order:
            from .ending import run_exit_callbacks

            run_exit_callbacks()
    except (ConnectionError, BrokenPipeError):
        code = 0  # the caller has ended, so the error of the socket can be told to nobody
    except BaseException:
        kind, error, trace = sys.exc_info()
        if kind is not None and error is not None:
            sys.excepthook(kind, error, trace)
    finally:
        _leave(code)


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C, which the caller handles for its workers; let SIGTERM end this process."""
    signal.set_wakeup_fd(-1)
    # The handler does nothing. SIG_IGN would ignore the signal, too, but programs that an item
    # starts would inherit SIG_IGN, and Ctrl-C could not end these programs.
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "win32":
        # Ctrl-Break reaches all processes of a console. If the caller does not handle Ctrl-Break,
        # the caller ends, and its workers end with it.
        signal.signal(signal.SIGBREAK, _ignore)
    if hasattr(signal, "pthread_sigmask"):
        # SIGINT was blocked while this process was started: a Ctrl-C during the start of the
        # interpreter would have shown a traceback.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _lead_process_group() -> None:
    """Make this process the leader of a process group, with an empty standard input.

    The processes that an item starts are in this process group, and can be ended with the worker.
    """
    if hasattr(os, "setsid"):
        try:
            os.setsid()
        except OSError:
            pass  # OSError: this process leads a process group already
        # If the descriptor of a standard stream is closed, it is opened to the null device. Else a
        # file that is opened later would get this descriptor, and what an item prints would go into
        # that file.
        while (null := os.open(os.devnull, os.O_RDWR)) < 3:
            pass
        # Standard input becomes the null device. The terminal belongs to the caller: to read from
        # the terminal would stop this process, now that it is in another process group.
        os.dup2(null, 0)
        os.close(null)


def _end_with_caller(lifeline: int) -> bool:
    """Have the kernel kill this process and its process group when the caller ends.

    `lifeline` is the reading end of a pipe whose writing end only the caller has. When the writing
    end closes, the kernel sends SIGKILL, which also ends a worker that is busy in C code. Return
    False if the kernel cannot do so: only the kernel of Linux can, and only if there is /proc.
    """
    if lifeline < 0 or not os.path.exists(f"/proc/self/fd/{lifeline}"):
        return False
    with standard_library:
        import fcntl

    if not hasattr(fcntl, "F_SETSIG"):  # the program's own module `fcntl` hides the standard one
        return False
    # The pipe is opened again: which process the kernel signals is a property of the open file, and
    # all workers share the open file behind `lifeline`.
    try:
        own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK)
    except PermissionError:  # this process has changed its user since it got the lifeline
        return False
    os.close(lifeline)
    ties.lifeline = own
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    try:
        if not os.read(own, 1):
            os._exit(0)  # the caller ended before the kernel was asked for the signal
    except BlockingIOError:
        pass
    return True


def _watch_caller(lifeline: int) -> None:
    """Have a thread kill this process and its process group when the caller ends.

    If C code holds the interpreter's lock at that moment, the process ends when that code releases
    the lock. `lifeline`: see `_end_with_caller`.
    """
    if lifeline < 0 or sys.platform == "win32":  # a job object does this on Windows
        return
    from .template import kill_group

    ties.lifeline = lifeline
    # The new thread takes no signals: a signal that it took would not interrupt a system call of
    # the main thread.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        start_new_thread(_kill_at_the_end, (lifeline, kill_group))
    except RuntimeError:
        pass  # no thread can be started; the worker ends when it reads its socket the next time
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill_at_the_end(lifeline: int, kill_group: Callable[[int], object]) -> None:
    try:
        # Nothing is written to the pipe: the read returns when the caller ends.
        os.read(lifeline, 1)
    except OSError:
        return  # an item has closed the descriptor
    kill_group(os.getpid())


def _ignore(signum: int, stack: FrameType | None) -> None:
    pass


def _leave(code: int) -> NoReturn:
    for stream, own in ((sys.stdout, sys.__stdout__), (sys.stderr, sys.__stderr__)):
        if stream is not own:
            # An item has set this stream, and the stream's `flush` may never return. The caller
            # waits for the end of this process, and would wait for ever; so the flush has a time
            # limit. A stream that the process began with gets no time limit, because its reader may
            # be slow.
            end_after(_LAST_FLUSH)
        try:
            stream.flush()
        except BaseException:
            # The stream is None or closed, or its flush has raised. None of this may keep the
            # process from ending.
            pass
    exit_process(code)
