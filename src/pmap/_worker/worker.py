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

Each result is noted in the arena (see `journal`) before the next item begins. Where such memory
cannot be had, each result is a message of its own.

More than 300 lines in one module: each one that a worker imports delays its first result.
"""

from __future__ import annotations

import faulthandler
import marshal
import mmap
import os
import select
import sys
from itertools import islice
from time import perf_counter, sleep

from .._transport import process_role
from .._transport.adaptive_spin import Patience
from .._transport.environment import apply_world, are_few, context_of, take_world
from .._transport.failure_record import (
    ARGUMENT,
    FUNCTION,
    RESULT,
    TOO_LONG,
    capture,
    capture_transport,
    format_traceback,
)
from .._transport.framing import FrameReader, frame, frame_of_entries
from .._transport.journal import LANE_SLOTS, Arena
from .._transport.light_stdlib import deque, receive_with_fds, send_with_fds, signal, socket
from .._transport.packing import LANES, PLAIN, is_long, is_plain, unpacked
from .._transport.protocol import (
    BACK,
    BEGUN,
    BRIEF,
    BROKEN,
    CHUNK,
    DROP,
    QUIT,
    READY,
    RESULTS,
    VOID,
)
from .._transport.segment_pool import Loans, Shelf
from .._transport.segments import MOST
from .._transport.values import Cargo, decode, encode, loads

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any, Literal, NoReturn, TypeAlias

    from typing_extensions import Buffer

    from .._transport.environment import Variables, World
    from .._transport.framing import Message
    from .._transport.light_stdlib import Context
    from .._transport.packing import Entry
    from .._transport.segments import Segment
    from .coroutines import AtOnce

    # Results of a chunk that are not sent yet: entries, or format and bytes of a lane.
    Unsent: TypeAlias = list[Entry] | tuple[str, bytes]

_exit = os._exit  # whatever an item makes of it: a fork must not come back to the caller's code

_LOOK = 0.02  # seconds between two looks at the memory of a process that runs an item
_MOMENT = 0.0005  # seconds; a system call each would cost as much as several quick items
_LAST_WORDS = 0.5  # seconds to say where it was
_LAST_FLUSH = 2  # seconds for a stream of an item's own to take what was printed

_PIECE = 1 << 16  # bytes read at a time; malloc would map memory anew for much larger buffers


# What an item did to its surroundings: the names of the audit events that tell of it.
_traces: list[str] = []
_FORKED = "forked"  # this is a fork of the worker, which an item made
_TELLING = frozenset({"os.chdir", "os.putenv", "os.unsetenv"})


def _notice(event: str, _: tuple[object, ...]) -> None:
    if event in _TELLING:
        _traces.append(event)


def _resident() -> int:
    """Return how many bytes of memory this process takes."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


class _MemoryWatch:
    """A thread that ends this process when it takes too much memory while an item runs."""

    def __init__(self, limit: int, arena: Arena) -> None:
        import threading

        self.busy = threading.Event()
        self._limit = limit
        self._arena = arena
        self._main = threading.get_ident()
        threading.Thread(target=self._run, name="pmap-memory", daemon=True).start()

    def _run(self) -> None:
        while self.busy.wait():
            if _resident() > self._limit:
                self._arena.note_oversize()
                # That thread says where it is, and the process ends; if it does not, it is killed.
                signal.pthread_kill(self._main, signal.SIGABRT)
                sleep(_LAST_WORDS)
                os.kill(os.getpid(), signal.SIGKILL)
            sleep(_LOOK)


class _Brief:
    """One function, as a worker knows it."""

    def __init__(
        self,
        entry: Entry,
        variables: list[bytes],
        stop: bool,
        by_value: bool,
        at_once: bool,
        timeout: float | None,
        world: World,
    ) -> None:
        self.entry: Entry | None = entry
        self.variables = variables
        self.stop = stop
        self.by_value = by_value
        self.at_once = at_once
        self.timeout = timeout
        self.world = world
        self.function: Callable[[object], object] | None = None
        self.coroutine: Callable[[object], Any] | None = None  # of an item, if they run at once
        self.context: Context | None = None  # with the variables, if there are any
        self.fresh = are_few(variables)  # they are loaded for each chunk: it may be another call's
        # The type of the results while they all have one that has a lane; None: not known yet.
        self.lane: type | None = None
        self.mixed = timeout is not None  # a lane leaves no time to note when each item begins

    def load(self) -> Callable[[object], object]:
        """Return the function as one of one argument; loads it when first asked."""
        if self.function is None:
            function, kind = decode(self.entry)
            if self.at_once:
                self.coroutine = _of_one(function.f, kind)
            self.function = _of_one(function, kind)
            self.entry = None
        if (self.variables or self.at_once) and (self.fresh or self.context is None):
            self.context = context_of(_load_each(self.variables))
        return self.function if self.context is None else _in_context(self.function, self.context)


def _of_one(function: Callable[..., object], kind: int) -> Callable[[Any], object]:
    """Return `function` as one of the item alone, whatever that is for this kind of call."""
    if kind == 0:
        return function
    if kind == 1:
        return lambda row: function(*row)
    return lambda call: function(*call[0], **call[1])


def _load_each(variables: list[bytes]) -> Variables:
    """Return the variables that can be loaded here; the others stay unset, as if never sent."""
    loaded: Variables = []
    for data in variables:
        try:
            loaded.append(loads(data))
        except Exception:  # its module may not be there, or its value may not load
            continue
    return loaded


def _in_context(call: Callable[[object], object], context: Context) -> Callable[[object], object]:
    def run(item: object) -> object:
        # A copy for each item: what one sets, the next does not see.
        return context.copy().run(call, item)

    return run


class _BadArgument(Exception):
    """The argument could not be loaded; the cause says why."""


def _looker(sock: socket) -> Callable[[], Sequence[object]]:
    """Return what returns something true if there is anything to be read from `sock`."""
    if hasattr(select, "poll"):  # select itself takes no descriptor above 1023
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        ask = poll.poll
        return lambda: ask(0)
    look = select.select
    return lambda: look([sock], [], [], 0)[0]


class Worker:
    """A worker's loop over its one socket."""

    def __init__(self, sock: socket) -> None:
        self._socket = sock
        self._reader = FrameReader()
        self._inbox: deque[Message] = deque()
        self._heard = 0.0  # when it was last looked for messages
        # Whether there is a message, or a part of one, or the caller is gone.
        self._hears = _looker(sock)
        self._stays_awake = False  # for a moment, when it waits for a message
        self._patience = Patience()
        self._room = 0  # bytes of segments that may be kept for results to come
        self._keep_none()
        self.cargo = Cargo(self._lend)  # of the results that are not sent yet
        self._briefs: dict[int, _Brief] = {}
        self._world: World | None = None  # the one that is in place
        self._told_world: World = (None, {}, [])  # the one of the newest brief
        self._arena: Arena | None = None
        self._max_memory: int | None = None
        self._watch: _MemoryWatch | None = None
        self._own: World | None = None  # the surroundings that an item is to find
        self._recursion = sys.getrecursionlimit()  # what an item is to have, at least

    def run(self) -> None:
        """Serve until the caller is gone or wants no more."""
        self._open_arena()
        if not self._set_up():
            return
        while (message := self._next()) is not None and message[0] != QUIT:
            self._take(message)

    # --- coming in -----------------------------------------------------------------------------

    def _open_arena(self) -> None:
        data, fds = receive_with_fds(self._socket, 4)
        if fds:
            (fd,) = fds
            self._arena = Arena(mmap.mmap(fd, int.from_bytes(data, "little")))
            # What it says of the stack when it crashes, or is ended, goes behind the arena; it does
            # so in C, also while something holds the interpreter's lock.
            faulthandler.enable(file=fd)

    def _set_up(self) -> bool:
        message = self._next()
        if message is None:
            return False
        argv: list[str]
        initializer: bytes | None
        _, world, argv, initializer, self._max_memory, kill, self._stays_awake, self._room = message
        self._keep_none()
        sys.argv[:] = argv
        self._told_world = world
        self._apply(world)
        sys.addaudithook(_notice)
        if hasattr(os, "register_at_fork"):
            # What an item starts may live for long, and would have all that is kept.
            os.register_at_fork(
                before=self._keep_none, after_in_child=lambda: _traces.append(_FORKED)
            )
        if initializer is not None:
            try:
                function, args = loads(initializer)
                function(*args)
            except BaseException as error:  # the caller must learn of it, whatever it is
                self._send((BROKEN, capture(error)))
                return False
            self._own = take_world()  # what it set is there for all items
            self._recursion = sys.getrecursionlimit()
            _traces.clear()
        if self._max_memory is not None and kill and self._arena is not None:
            self._watch = _MemoryWatch(self._max_memory, self._arena)
        self._send((READY, os.getpid()))
        return True

    def _apply(self, world: World) -> None:
        if world is not self._world:
            self._world = self._own = world
            apply_world(world)
            _traces.clear()

    def tidy(self) -> None:
        """Undo what an item did to its surroundings, so that the next one finds its own.

        What returns from an item in a process that the item forked is no worker: it ends here.
        """
        if _FORKED in _traces:
            _exit(0)
        if self._own is not None:
            apply_world(self._own)
        _traces.clear()

    def worn(self) -> bool:
        """Return whether this process takes more memory than it may."""
        return self._max_memory is not None and _resident() > self._max_memory

    def _keep_none(self) -> None:
        """Give back the memory that is kept for results to come.

        By another thing in its place, and nothing changed in the old one: where a thread of an item
        forks, the main thread may be using it just now.
        """
        self._loans = Loans(Shelf(), self._room, MOST)

    def _lend(self, buffers: Sequence[Buffer]) -> Segment | None:
        return self._loans.written(buffers)

    def _next(self) -> Message | None:
        while not self._inbox:
            self._patience.awake(self._may_stay_awake, self._hears)
            if not self._receive():
                return None
        return self._inbox.popleft()

    def _may_stay_awake(self) -> bool:
        return self._stays_awake

    def _receive(self) -> bool:
        """Wait for more messages, or a part of one; return False if the caller is gone."""
        data, fds = receive_with_fds(self._socket, _PIECE, MOST)
        self._inbox.extend(self._reader.feed(data, fds))
        self._heard = perf_counter()
        return bool(data)

    def _void(self, serial: int) -> bool:
        """Return whether the caller has by now given up a chunk that is about to begin."""
        # Not before each of many quick chunks: what came a moment ago says as much.
        while perf_counter() - self._heard > _MOMENT:
            if not self._hears():
                self._heard = perf_counter()
            elif not self._receive():
                break  # the caller is gone: the next read says so
        return any(message[0] == VOID and serial in message[1] for message in self._inbox)

    def _send(self, message: Message) -> None:
        self._socket.sendall(frame(message))

    # --- work ----------------------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        if message[0] == BRIEF:
            _, brief, data, variables, stop, by_value, at_once, timeout, world = message
            self._told_world = self._told_world if world is None else world
            self._briefs[brief] = _Brief(
                data[0], variables, stop, by_value, at_once, timeout, self._told_world
            )
        elif message[0] == DROP:
            self._briefs.pop(message[1], None)
        elif message[0] == BACK:
            if message[1] is None:
                self._keep_none()
            else:
                self._loans.back(message[1])
        elif message[0] == CHUNK:
            _, brief, serial, entries, together = message
            items = unpacked(entries)
            if len(items) == 1:
                together = 0
            known = self._briefs.get(brief)
            void = known is None or (self._inbox and self._void(serial))
            if known is None or void or not self._begin(serial, known, together):
                # What does not begin is answered all the same: the caller counts the answers.
                self._send_results(serial, [], None, True, 0.0, False)
            else:
                if self._watch is not None:
                    self._watch.busy.set()
                self._run_chunk(known, serial, items, together)
                if self._watch is not None:
                    self._watch.busy.clear()

    def _begin(self, serial: int, brief: _Brief, together: int) -> bool:
        """Note that a chunk begins; return False if the caller has taken it back."""
        in_turn = brief.timeout is not None or together > 0
        if self._arena is not None:
            return self._arena.begin(serial, in_turn)
        if not in_turn:
            self._send((BEGUN, serial))
        return True

    def _run_chunk(
        self, brief: _Brief, serial: int, entries: Sequence[Entry], together: int
    ) -> None:
        self._apply(brief.world)
        # An item may have lowered it; a module that raised it, when it was imported, needs it.
        if sys.getrecursionlimit() < self._recursion:
            sys.setrecursionlimit(self._recursion)
        begin = perf_counter()
        results: Unsent
        try:
            call = brief.load()
        except BaseException as error:  # SystemExit from the import of a module, say
            record: Entry = capture_transport(FUNCTION, error)
            results = [record] * (1 if brief.stop else len(entries))
        else:
            if brief.coroutine is None:
                results = self._run_items(brief, call, serial, entries, together)
            else:
                # All begin now; then "running" the item at an index is waiting for its end.
                many = self._at_once(brief.coroutine, entries, brief.context, brief.timeout)
                try:
                    results = self._run_items(brief, many.result, serial, range(len(entries)), 0)
                finally:
                    many.close()
        elapsed = perf_counter() - begin
        self._send_results(serial, results, brief, True, elapsed, self.worn())

    def _at_once(
        self,
        coroutine: Callable[[object], Any],
        entries: Sequence[Entry],
        context: Context | None,
        timeout: float | None,
    ) -> AtOnce:
        from .coroutines import AtOnce

        def start(entry: Entry) -> Callable[[], Any]:
            async def fail(error: Exception) -> NoReturn:
                raise error

            try:
                item = self.argument(entry) if type(entry) is list else entry
            except _BadArgument as error:
                bad = error
                return lambda: fail(bad)
            return lambda: coroutine(item)

        return AtOnce([start(entry) for entry in entries], context, timeout)

    def _run_items(
        self,
        brief: _Brief,
        call: Callable[[Any], object],
        serial: int,
        entries: Sequence[Entry],
        together: int,
    ) -> Unsent:
        in_turn = brief.timeout is not None and (len(entries) == 1 or brief.at_once)
        if in_turn and not self.turn(serial, len(entries)):
            return []
        if len(entries) == 1:
            # Nothing to note: until its message is sent, the item is the one in hand.
            result = self.one(brief, call, entries[0])[0]
            brief.lane = type(result) if type(result) in LANES else None
            return [result]
        if self._arena is not None:
            if self._max_memory is not None:
                brief.mixed = (
                    True  # it is looked at after each item, which a lane leaves no time for
                )
            return _Run(self, self._arena, brief, serial, entries, together).run(call)
        return self._run_without_arena(brief, call, serial, entries)

    def _run_without_arena(
        self,
        brief: _Brief,
        call: Callable[[object], object],
        serial: int,
        entries: Sequence[Entry],
    ) -> list[Entry]:
        results: list[Entry] = []
        for entry in entries:
            if results:
                self.send_results(serial, results, brief)  # before the next item begins
            if brief.timeout is not None and not brief.at_once:
                self.turn(serial, 0)
            result, failed = self.one(brief, call, entry)
            results = [result]
            if (failed and brief.stop) or self.worn():
                break
        return results

    def turn(self, serial: int, number: int) -> bool:
        """Note that the items of a chunk up to `number` begin; return False if they must not."""
        if self._arena is not None:
            return self._arena.turn(number)
        self._send((BEGUN, serial))
        return True

    def send_results(self, serial: int, results: Unsent, brief: _Brief) -> None:
        """Send results of a chunk that goes on."""
        self._send_results(serial, results, brief, False, 0.0, False)

    def _send_results(
        self,
        serial: int,
        results: Unsent,
        brief: _Brief | None,
        last: bool,
        elapsed: float,
        worn: bool,
    ) -> None:
        gone = self._reader.gone()
        if isinstance(results, tuple):
            data = frame((RESULTS, serial, results, last, elapsed, worn, gone))
        else:
            data = frame_of_entries(
                lambda entries: (RESULTS, serial, entries, last, elapsed, worn, gone),
                results,
                brief is None or brief.by_value,
            )
        self._socket.sendall(self._unload(data) if self.cargo.segments else data)

    def _unload(self, data: bytes) -> memoryview:
        """Send the segments of the results, with the first bytes of `data`; return the rest."""
        segments, self.cargo = self.cargo.segments, Cargo(self._lend)
        while True:
            try:
                sent = send_with_fds(self._socket, data, [segment.fd for segment in segments])
            except OSError as error:
                import errno

                if error.errno != errno.ETOOMANYREFS:
                    raise
                sleep(_LOOK)  # too many descriptors are under way: the caller takes some soon
            else:
                return memoryview(data)[sent:]

    def one(
        self, brief: _Brief, call: Callable[[object], object], entry: Entry
    ) -> tuple[Entry, bool]:
        """Run one item; return the entry of what came of it, and whether it failed."""
        try:
            item = self.argument(entry) if type(entry) is list else entry
            result = call(item)
        except BaseException as error:  # every way an item can end is an answer
            if _traces:
                self.tidy()
            return _failure(error), True
        if _traces:
            self.tidy()
        if (type(result) in PLAIN or is_plain(result)) and not is_long(result):
            return result, False
        try:
            return encode(result, brief.by_value, self.cargo), False
        except BaseException as error:  # the result's own pickling may do anything
            return capture_transport(RESULT, error, result), True

    @staticmethod
    def argument(entry: Entry) -> object:
        """Return what a pickled entry holds."""
        if not entry:
            raise _BadArgument from None  # the caller could not pickle it and knows why
        try:
            return decode(entry)
        except BaseException as error:
            raise _BadArgument from error


class _Run:
    """One chunk on its way, with an arena to note its results in."""

    def __init__(
        self,
        worker: Worker,
        arena: Arena,
        brief: _Brief,
        serial: int,
        entries: Sequence[Entry],
        together: int,
    ) -> None:
        self._worker = worker
        self._arena = arena
        self._brief = brief
        self._serial = serial
        self._entries = entries
        # Those that are pickled are lists.
        kind: type[object] = type(entries)
        self._plain = kind is not list or list not in set(map(type, entries))
        # How many items begin together: 0 where all began with the chunk.
        self._together = together
        if brief.timeout is not None and not brief.at_once:
            self._together = 1
        self._begun = 0 if self._together else len(entries)
        self._sent = 0  # results sent as messages
        self._enough = False  # no more items are to be run here

    def _goes_on(self, number: int) -> bool:
        """Return whether the item at `number` may run, and note that it begins, and some behind it.

        If not, the caller has taken it back.
        """
        if number >= self._begun:
            begun = min(number + self._together, len(self._entries))
            if not self._arena.turn(begun):
                self._enough = True
                return False
            self._begun = begun
        return True

    def run(self, call: Callable[[object], object]) -> Unsent:
        """Run all items; return the results that were not sent yet."""
        brief = self._brief
        results: Unsent
        while True:
            lane = None if brief.mixed or brief.lane is None else LANES.get(brief.lane)
            if lane is None:
                results, failed = self._in_records(call)
            else:
                results, failed = self._in_lane(call, lane)
            count = len(results[1]) // 8 if isinstance(results, tuple) else len(results)
            if (failed and brief.stop) or self._enough or self._sent + count >= len(self._entries):
                return results
            self._worker.send_results(self._serial, results, brief)
            self._sent += count

    def _in_records(self, call: Callable[[object], object]) -> tuple[list[Entry], bool]:
        """Run items until the arena is full, or the results turn out to have a lane."""
        brief, record, pack = self._brief, self._arena.record, marshal.dumps
        one = self._worker.one
        self._arena.records(self._sent)
        results: list[Entry] = []
        for number, entry in enumerate(islice(self._entries, self._sent, None), self._sent):
            if number >= self._begun and not self._goes_on(number):
                break
            result, failed = one(brief, call, entry)
            results.append(result)
            if self._worker.worn():
                self._enough = True
                return results, failed
            if self._worker.cargo.segments:  # what is in a segment cannot be noted
                return results, failed
            try:
                noted = record(pack(result), len(results))
            except ValueError:  # it is too large for marshal
                noted = False
            if (failed and brief.stop) or not noted:
                return results, failed
            if not brief.mixed:
                if brief.lane is not None or type(result) not in LANES:
                    brief.mixed = True
                else:
                    brief.lane = type(result)
                    return results, failed
        return results, False

    def _in_lane(
        self, call: Callable[[object], object], lane: Literal["q", "d"]
    ) -> tuple[Unsent, bool]:
        """Run items whose results are all of one type, as fast as it goes.

        Per item no more than the call, a test of the type and one store.
        """
        brief = self._brief
        kind = brief.lane
        entries = self._entries[self._sent : self._sent + LANE_SLOTS]
        # Any: it takes the lane's type only, and that is what is tested.
        slots: Any = self._arena.lane(lane, len(entries), self._sent)
        run = call if self._plain else self._loading(call)
        traces = _traces
        index = 0
        result: object = None
        extra: list[Entry] = []
        failed = False
        try:
            while index < len(entries) and not extra and self._goes_on(self._sent + index):
                # Those that begin together in a loop of their own, with nothing more in it.
                start, stop = index, self._begun - self._sent
                part = entries[start:stop]
                if isinstance(part, memoryview):
                    part = part.tolist()  # not of the whole chunk: these stay in the cache
                for index, entry in enumerate(part, start):
                    result = run(entry)
                    if traces:
                        self._worker.tidy()
                    if type(result) is not kind:
                        brief.mixed = True
                        extra, failed = self._other(result)
                        break
                    slots[index] = result
                else:
                    index += 1
        except BaseException as error:  # every way an item can end is an answer
            if traces:
                self._worker.tidy()
            if _too_large(result):  # of this item: one before it could not have been stored
                brief.mixed = True
                extra = [result]
            else:
                extra, failed = [_failure(error)], True
        if not extra:
            return (lane, slots[:index].tobytes()), False
        return [*slots[:index].tolist(), *extra], failed

    def _loading(self, call: Callable[[object], object]) -> Callable[[object], object]:
        argument = self._worker.argument
        return lambda entry: call(argument(entry) if type(entry) is list else entry)

    def _other(self, result: object) -> tuple[list[Entry], bool]:
        try:
            return [encode(result, self._brief.by_value, self._worker.cargo)], False
        except BaseException as error:  # the result's own pickling may do anything
            return [capture_transport(RESULT, error, result)], True


def _too_large(result: object) -> bool:
    return type(result) is int and not -(1 << 63) <= result < 1 << 63


def _failure(error: BaseException) -> Entry:
    if isinstance(error, _BadArgument):
        return capture_transport(ARGUMENT, error.__cause__ or error)
    if type(error).__name__ == "TooLong" and type(error).__module__ == f"{__package__}.coroutines":
        return [TOO_LONG, None, "", "", format_traceback(error)]
    return capture(error)


# --- the three ways in ---------------------------------------------------------------------------


def main(kind: str, fd: int, lifeline: int) -> NoReturn:
    """Be a worker, or the template of workers, on the socket `fd`; the process is ours alone."""
    _stay_calm()
    process_role.finish_package_on_demand()
    sys.modules["__main__"] = type(sys)("__main__")
    sock = socket(fileno=fd) if fd >= 0 else _shared_socket()
    if kind == "template":
        from .template import serve_template

        _stand_alone()  # what a terminal tells its programs is for the caller to hear
        serve_template(sock, lambda own: enter_forked(own, lifeline))
    enter_forked(sock, lifeline)


def _shared_socket() -> socket:
    """Return the socket that the caller shares through stdin, as on Windows."""
    import socket as public

    return public.fromshare(sys.stdin.buffer.read())  # type: ignore[attr-defined, no-any-return]  # Windows


def enter_forked(sock: socket, lifeline: int) -> NoReturn:
    """Be a worker in a process that was just forked; never returns into the caller's code."""
    code = 1
    try:
        _stand_alone()
        _stay_calm()
        _hold_on(lifeline)
        process_role.in_worker = True
        sys.modules["__main__"] = type(sys)("__main__")
        Worker(sock).run()
        code = 0
    except (ConnectionError, BrokenPipeError):
        code = 0  # the caller is gone: nobody is left to tell
    except BaseException:
        kind, error, trace = sys.exc_info()
        if kind is not None and error is not None:
            sys.excepthook(kind, error, trace)
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


def _stand_alone() -> None:
    """Be the head of a process group, so that what an item starts can be ended with the worker."""
    if hasattr(os, "setsid"):
        try:
            os.setsid()
        except OSError:
            pass  # it is the head of one already
        # Where a standard stream is closed, nothing else may come: what an item prints would go
        # into it.
        while (null := os.open(os.devnull, os.O_RDWR)) < 3:
            pass
        # The terminal is the caller's: reading from it would now stop the process.
        os.dup2(null, 0)
        os.close(null)


def _hold_on(lifeline: int) -> None:
    """Let the end of the caller be the end of this process and of what it started.

    `lifeline` is the reading end of a pipe whose other end only the caller has. When that closes,
    the kernel itself sends SIGKILL, so it also ends what is busy in C code. Where there is no such
    thing, the end of the socket shows between two chunks.
    """
    if lifeline < 0 or not os.path.exists(f"/proc/self/fd/{lifeline}"):
        return
    import fcntl

    # Opened anew: whom the kernel signals is a property of the open file, and each worker's own.
    own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK)
    os.close(lifeline)
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    try:
        if not os.read(own, 1):
            os._exit(0)  # it closed before the kernel knew that we care
    except BlockingIOError:
        pass


def _ignore(signum: int, stack: FrameType | None) -> None:
    pass


def _leave(code: int) -> NoReturn:
    for stream, own in ((sys.stdout, sys.__stdout__), (sys.stderr, sys.__stderr__)):
        if stream is not own and hasattr(signal, "alarm"):
            # The flush of an item's own stream may never return, and whoever waits for this process
            # to go would wait for ever. The process's own streams wait for their reader.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
            signal.alarm(_LAST_FLUSH)
        try:
            stream.flush()
        except BaseException:  # of a stream of an item's own: it must not lead out of here
            pass  # closed, or None: nothing to save
    _exit(code)
