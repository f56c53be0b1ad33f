"""Everything that runs inside a worker process, and nothing else.

The life of a worker::

    main / template / forked     three ways in: a fresh interpreter, a fork of a prepared
        |                        template, a fork of the caller
    Worker.run                   first message: where it is, what to initialise; answer: READY
        |
    one chunk after another      BEGUN is written to the arena, then item by item: load, run,
        |                        pickle, record; then one RESULTS message for the chunk
    end of the stream, or QUIT   the caller is gone, or wants no more

A worker never runs the caller's ``__main__``: its own is an empty module. Nothing that a worker
holds is shared with another worker, so one that dies holds nothing up.

**The arena.** A result must outlive its worker from the moment the next item begins, or else the
death of one item would cost its neighbours in the chunk. A message for each item would make tiny
items slow. So each result is also recorded, as soon as it is there, in memory shared with the
caller, and the count of records is raised after the record is whole. Only if the worker dies does
the caller read it. Where such memory cannot be had, each result is a message of its own.
"""

import marshal
import mmap
import os
import pickle
import select
import signal
import socket
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from time import perf_counter
from typing import NoReturn

from . import _process
from ._outcome import ARGUMENT, FUNCTION, RESULT, capture, capture_transport
from ._wire import PLAIN, Entry, FrameReader, Message, encode, frame, is_plain, loads
from ._world import World, apply_world, context_of

__all__ = [
    "BEGUN",
    "BROKEN",
    "CHUNK",
    "FORGET",
    "HEADER",
    "JOB",
    "QUIT",
    "READY",
    "RESULTS",
    "SETUP",
    "enter_forked",
    "main",
]

# Messages to a worker. The words behind each are its fields.
SETUP = 0  # world, argv, pickled (initializer, initargs) or None
JOB = 1  # job, pickled (function, kind, variables), stop at failure, functions by value, world
# (None: that of the job before)
CHUNK = 2  # job, serial, entries
FORGET = 3  # job
QUIT = 4
# Messages from a worker.
READY = 10
BROKEN = 11  # failure record of the initializer
BEGUN = 12  # serial; only where there is no arena
RESULTS = 13  # serial, entries, last, elapsed

# The arena begins with three 64-bit words: serial of the chunk that has begun, how many of its
# results were sent as messages before those recorded here, how many are finished in all.
HEADER = 24
_SERIAL, _SENT, _FINISHED = range(3)


class _Job:
    """One function, as a worker knows it."""

    def __init__(self, data: object, stop: object, by_value: object, world: object) -> None:
        self.data = data
        self.stop = bool(stop)
        self.by_value = bool(by_value)
        self.world = world
        self.call: Callable[[object], object] | None = None

    def load(self) -> Callable[[object], object]:
        """Return the function as one of one argument; loads it when first asked."""
        if self.call is None:
            assert isinstance(self.data, bytes)
            loaded = loads(self.data)
            assert isinstance(loaded, tuple)
            function, kind, variables = loaded
            self.call = _in_context(_of_one(function, kind), variables)
            self.data = None
        return self.call


def _of_one(function: Callable[..., object], kind: int) -> Callable[[object], object]:
    if kind == 0:
        return function
    if kind == 1:

        def star(row: Iterable[object]) -> object:
            return function(*row)

        return star

    def apply(call: tuple[tuple[object, ...], dict[str, object]]) -> object:
        args, kwargs = call
        return function(*args, **kwargs)

    return apply


def _in_context(
    call: Callable[[object], object], variables: list[tuple[object, object]]
) -> Callable[[object], object]:
    if not variables:
        return call
    context: Context = context_of(variables)

    def run(item: object) -> object:
        # A copy for each item: what one sets, the next does not see.
        return context.copy().run(call, item)

    return run


class _BadArgument(Exception):
    """The argument could not be loaded; the cause says why."""


class Worker:
    """A worker's loop over its one socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._reader = FrameReader()
        self._inbox: deque[Message] = deque()
        self._jobs: dict[int, _Job] = {}
        self._world: object = None  # the one that is in place
        self._told_world: object = None  # the one of the newest job
        self._arena: mmap.mmap | None = None
        self._head: memoryview | None = None

    def run(self) -> None:
        """Serve until the caller is gone or wants no more."""
        self._open_arena()
        if not self._set_up():
            return
        while (message := self._next()) is not None and message[0] != QUIT:
            self._take(message)

    # --- coming in -----------------------------------------------------------------------------

    def _open_arena(self) -> None:
        if not hasattr(socket, "recv_fds"):
            size = int.from_bytes(self._socket.recv(4), "little")
            fds: list[int] = []
        else:
            data, fds, _, _ = socket.recv_fds(self._socket, 4, 1)
            size = int.from_bytes(data, "little")
        if size and fds:
            self._arena = mmap.mmap(fds[0], size)
            self._head = memoryview(self._arena)[:HEADER].cast("Q")
        for fd in fds:
            os.close(fd)

    def _set_up(self) -> bool:
        message = self._next()
        if message is None:
            return False
        _, world, argv, initializer = message
        assert isinstance(argv, list)
        sys.argv[:] = argv
        self._told_world = world
        self._apply(world)
        if initializer is not None:
            try:
                assert isinstance(initializer, bytes)
                function, args = pickle.loads(initializer)
                function(*args)
            except BaseException as error:  # the caller must learn of it, whatever it is
                self._send((BROKEN, capture(error)))
                return False
        self._send((READY,))
        return True

    def _apply(self, world: object) -> None:
        if world is not self._world:
            self._world = world
            directory, environment, path = world  # type: ignore[misc]  # a World, from the wire
            known: World = (directory, environment, path)
            apply_world(known)

    def _next(self) -> Message | None:
        while not self._inbox:
            data = self._socket.recv(1 << 18)
            if not data:
                return None
            self._inbox.extend(self._reader.feed(data))
        return self._inbox.popleft()

    def _void(self, job: int) -> bool:
        """Return whether the caller has by now given up a job whose chunk is about to begin."""
        while select.select([self._socket], [], [], 0)[0]:
            data = self._socket.recv(1 << 18)
            if not data:
                break  # the caller is gone: the next read says so
            self._inbox.extend(self._reader.feed(data))
        return any(message[0] == FORGET and message[1] == job for message in self._inbox)

    def _send(self, message: Message) -> None:
        self._socket.sendall(frame(message))

    # --- work ----------------------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        if message[0] == JOB:
            _, job, data, stop, by_value, world = message
            assert isinstance(job, int)
            self._told_world = self._told_world if world is None else world
            self._jobs[job] = _Job(data, stop, by_value, self._told_world)
        elif message[0] == FORGET:
            assert isinstance(message[1], int)
            self._jobs.pop(message[1], None)
        elif message[0] == CHUNK:
            _, job, serial, entries = message
            assert isinstance(job, int)
            assert isinstance(serial, int)
            assert isinstance(entries, list)
            # A forgotten job's chunk is answered all the same: the caller counts the answers.
            if job not in self._jobs or (self._inbox and self._void(job)):
                self._send((RESULTS, serial, [], True, 0.0))
            else:
                self._begin(serial)
                self._run_chunk(self._jobs[job], serial, entries)

    def _begin(self, serial: int) -> None:
        if self._arena is None or self._head is None:
            self._send((BEGUN, serial))
            return
        self._arena.seek(HEADER)
        # The counts first: with the new serial beside old counts the caller would take over old
        # records as results of this chunk.
        self._head[_SENT] = self._head[_FINISHED] = 0
        self._head[_SERIAL] = serial

    def _run_chunk(self, job: _Job, serial: int, entries: list[Entry]) -> None:
        self._apply(job.world)
        begin = perf_counter()
        try:
            call = job.load()
        except BaseException as error:  # SystemExit from the import of a module, say
            record: Entry = capture_transport(FUNCTION, error)
            answer = [record] * (1 if job.stop else len(entries))
            self._send((RESULTS, serial, answer, True, perf_counter() - begin))
            return
        results = self._run_items(job, call, serial, entries)
        self._send((RESULTS, serial, results, True, perf_counter() - begin))

    def _run_items(
        self, job: _Job, call: Callable[[object], object], serial: int, entries: list[Entry]
    ) -> list[Entry]:
        """Run the items; return the results that were not yet sent."""
        results: list[Entry] = []
        append = results.append
        pack = marshal.dumps
        record = self._record(serial, results)
        finished = 0
        for entry in entries:
            failed = False
            try:
                item = self._argument(entry) if type(entry) is list else entry
                result: Entry = call(item)
            except BaseException as error:  # every way an item can end is an answer
                result = _failure(error)
                failed = True
            else:
                if type(result) not in PLAIN and not is_plain(result):
                    result, failed = self._encode(result, job.by_value)
            finished += 1
            append(result)
            record(pack(result), finished)
            if failed and job.stop:
                break
        return results

    def _argument(self, entry: list[bytes]) -> object:
        if not entry:
            raise _BadArgument from None  # the caller could not pickle it and knows why
        try:
            return loads(entry[0])
        except BaseException as error:
            raise _BadArgument from error

    def _encode(self, result: object, by_value: bool) -> tuple[Entry, bool]:
        try:
            return encode(result, by_value), False
        except BaseException as error:  # the result's own pickling may do anything
            return capture_transport(RESULT, error, result), True

    def _record(self, serial: int, results: list[Entry]) -> Callable[[bytes, int], None]:
        """Return the function that makes one more result outlive this process."""
        arena, head = self._arena, self._head

        def send() -> None:
            self._send((RESULTS, serial, results, False, 0.0))
            results.clear()

        if arena is None or head is None:
            return lambda data, finished: send()
        write = arena.write
        seek = arena.seek

        def record(data: bytes, finished: int) -> None:
            try:
                write(data)
            except ValueError:  # no room left: what is recorded goes as a message
                send()
                seek(HEADER)
                # The order does not matter: until both are written the caller sees fewer
                # records than it was sent, and those it has already.
                head[_SENT] = finished
            head[_FINISHED] = finished

        return record


def _failure(error: BaseException) -> Entry:
    if isinstance(error, _BadArgument):
        return capture_transport(ARGUMENT, error.__cause__ or error)
    return capture(error)


# --- the three ways in ---------------------------------------------------------------------------


def main(kind: str, fd: int) -> NoReturn:
    """Be a worker, or the template of workers, on the socket `fd`; the process is ours alone."""
    _stay_calm()
    _process.finish_package_on_demand()
    sys.modules["__main__"] = types.ModuleType("__main__")
    sock = socket.socket(fileno=fd)
    if kind == "template":
        from ._template import serve_template

        serve_template(sock, enter_forked)
    enter_forked(sock)


def enter_forked(sock: socket.socket) -> NoReturn:
    """Be a worker in a process that was just forked; never returns into the caller's code."""
    code = 1
    try:
        _stay_calm()
        _process.in_worker = True
        sys.modules["__main__"] = types.ModuleType("__main__")
        Worker(sock).run()
        code = 0
    except (ConnectionError, BrokenPipeError):
        code = 0  # the caller is gone: nobody is left to tell
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _leave(code)


def _stay_calm() -> None:
    """Put signals in order: the caller decides what a Ctrl-C means, for all its workers."""
    signal.set_wakeup_fd(-1)
    # A handler that does nothing, and not SIG_IGN: programs that an item starts would inherit
    # that, and could not be interrupted.
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        # Blocked by the caller while the process was started, when a Ctrl-C would have shown a
        # traceback of the interpreter's own start.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _ignore(signum: int, stack: types.FrameType | None) -> None:
    pass


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # closed, or None: nothing to save
    os._exit(code)
