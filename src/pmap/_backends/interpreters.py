"""The interpreters backend: each worker is an interpreter of its own, in this process.

Such a worker runs the loop of a worker process in a thread of this process, on one end of a socket
pair. So it takes the same messages, has a result journal, and gets functions and names by value. It
has a GIL and modules of its own.

An interpreter cannot be ended while it runs something. A worker that is to be killed ends after its
present item. A worker whose item runs for too long counts as ended at once; its interpreter ends
when the item does.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from .._transport.light_stdlib import socket
from .process_starter import ProcessStarter
from .processes import ProcessBackend
from .protocol import acts_at_exit

if TYPE_CHECKING:
    from .._jobs.work import Work
    from .connection import Connection
    from .process_starter import Initializer
    from .processes import Polled
    from .protocol import BackendEvent

# When the program ends, items that still run get this many seconds to end.
_LAST_WAIT: Final = 2.0
_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CODE: Final = """
import sys
package = type(sys)("pmap")
package.__path__ = [{path!r}]
sys.modules["pmap"] = package
from pmap._worker.interpreter import serve
serve({fd})
"""

# The interpreters that have not ended yet.
living: set[InterpreterHandle] = set()


class InterpreterHandle:
    """An interpreter with a worker, and the thread in which it runs."""

    pid: int | None = None
    sentinel: int | None = None
    hopeless = False

    def __init__(self, sock: socket) -> None:
        """Start the thread, which makes the interpreter and closes `sock`, the worker's end.

        Raises:
            OSError: the system starts no more threads.
        """
        self.failure = ""
        self._sock = sock
        # The thread is a daemon, because Python waits for other threads at its end before pmap can
        # tell them to end.
        self.thread = threading.Thread(target=self._run, name="pmap-interpreter", daemon=True)
        living.add(self)
        try:
            self.thread.start()
        except RuntimeError as error:
            living.discard(self)
            sock.close()
            raise OSError(None, str(error)) from error

    def _run(self) -> None:
        interpreter: Any = None
        try:
            # The type is `Any`, because type checkers know this module from Python 3.14 on only.
            interpreters: Any = import_module("concurrent.interpreters")
            interpreter = interpreters.create()
            interpreter.exec(_CODE.format(path=_PACKAGE, fd=self._sock.fileno()))
        except BaseException as error:
            self.failure = f"the interpreter ended with {type(error).__name__}: {error}"
        # The shutdown lets the caller read the end of its socket now, even if a fork of this
        # process has a copy of the worker's end. The interpreter may end later: it waits for
        # threads that items have left.
        with suppress(OSError):
            self._sock.shutdown(2)  # 2 stands for both directions of the socket
        with suppress(Exception):
            if interpreter is not None:
                interpreter.close()
        self._sock.close()
        living.discard(self)

    def set_pid(self, pid: int) -> None:
        pass

    def kill(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def terminate(self) -> None:
        pass

    def reap(self) -> tuple[bool, int | None]:
        return True, None

    def is_surely_python(self) -> bool:
        return True

    def release(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def after_fork_in_child(self) -> None:
        """Close this fork's copy of the worker's socket, because the thread does not exist here."""
        living.discard(self)
        self._sock.close()


class _Starter(ProcessStarter):
    def _start_process(
        self, worker: int, ours: socket, theirs: socket, initializer: Initializer | None
    ) -> InterpreterHandle:
        return InterpreterHandle(socket(fileno=theirs.detach()))


class InterpreterBackend(ProcessBackend):
    """Runs chunks in interpreters of this process; an interpreter cannot be killed."""

    can_kill = False
    _starts = _Starter

    def __init__(
        self,
        processes: int,
        initializer: Callable[..., object] | None,
        initargs: tuple[object, ...],
        main: str,
    ) -> None:
        """Make the backend, without workers yet; the arguments are those of `ProcessBackend`."""
        super().__init__("interpreters", processes, initializer, initargs, main=main)
        self.start_method = None
        # The workers whose item runs for too long. For the caller they have ended, though their
        # threads go on.
        self._given_up: list[Connection] = []

    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        # The items of a chunk begin one by one, so that a worker that is to end runs no other item.
        super().send(worker, work, start, stop, 1)

    def discard(self, worker: int, work: Work) -> None:
        connection = self._connections[worker]
        connection.discard(work)
        connection.held.stop_begun(work)

    def kill(self, worker: int) -> None:
        connection = self._connections.get(worker)
        if connection is not None:
            connection.held.reclaim_all()
            connection.stop()

    def abort(self, worker: int) -> None:
        connection = self._connections.get(worker)
        if connection is not None:
            connection.held.reclaim_all()
            self._given_up.append(connection)
            self.wake()

    def terminate(self, worker: int) -> None:
        self.kill(worker)

    def collect(self, polled: Polled) -> Iterator[BackendEvent]:
        while self._given_up:
            connection = self._given_up.pop()
            if self._connections.get(connection.number) is connection:
                yield from self._end(connection)
        yield from super().collect(polled)

    def end(self) -> None:
        for connection in self._connections.values():
            connection.held.reclaim_all()
        self._given_up.clear()
        super().end()


def _wait_for_interpreters() -> None:
    """Wait for the end of all interpreters; end this process at once if one of them goes on.

    If Python were finalized while an interpreter runs, it would free what that interpreter uses,
    and crash.
    """
    until = monotonic() + _LAST_WAIT
    for handle in [*living]:
        handle.thread.join(max(0.0, until - monotonic()))
    if not living:
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    text = (
        f"pmap: items of backend='interpreters' still run {_LAST_WAIT:g} s after the end of the "
        "program, and an interpreter cannot be ended: the process exits with status 1\n"
    )
    with suppress(OSError):
        os.write(2, text.encode())
    os._exit(1)


def _warn_of_fork() -> None:
    if living:
        warnings.warn(
            "Python crashes in a fork of a process that has interpreters; pmap.shutdown() ends "
            "those of backend='interpreters' that run nothing",
            RuntimeWarning,
            stacklevel=2,
        )


acts_at_exit.append(_wait_for_interpreters)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_warn_of_fork)
