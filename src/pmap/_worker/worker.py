"""A worker's loop: takes messages from its one socket, runs chunks, answers.

The life of a worker::

    startup                      how the process began
        |
    Worker.run                   first message: where it is, what to initialise; answer: READY
        |
    one chunk after another      BEGUN is written to the journal, then item by item: load, run,
        |                        pickle, record; then one RESULTS message for the chunk
    end of the stream, or QUIT   the caller is gone, or wants no more

Nothing that a worker holds is shared with another worker, so one that dies holds nothing up.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import select
import sys
from time import perf_counter

from .._transport import process_role
from .._transport.adaptive_spin import AdaptiveSpin
from .._transport.by_value import arriving
from .._transport.failure_record import FUNCTION, capture, capture_transport
from .._transport.framing import FrameReader, frame, frame_of_entries
from .._transport.journal import ResultJournal
from .._transport.light_stdlib import deque, receive_with_fds, socket
from .._transport.packing import ARRAY_FORMATS, unpacked
from .._transport.protocol import (
    BACK,
    CALL_SPEC,
    CHUNK,
    DISCARD,
    DROP,
    FORGET,
    NEEDS,
    QUIT,
    RESULTS,
    TIES,
    UNIT,
    make_begun,
    make_broken,
    make_ready,
    parse_back,
    parse_call_spec,
    parse_discard,
    parse_drop,
    parse_forget,
    parse_needs,
    parse_setup,
    parse_ties,
    parse_unit,
)
from .._transport.randomness import seed_anew
from .._transport.segment_pool import FreeSegments, LentSegments
from .._transport.segments import MOST
from .._transport.settings import take_settings
from .._transport.values import decode, parts
from .chunk import Chunk, at_once, run_without_journal, with_seeds
from .function import ReceivedSpec
from .identity import ties
from .item import ItemRunner
from .measured import saver
from .reporting import Reporting
from .sending import Sender
from .side_effects import Surroundings
from .streams import Streams
from .terminal import begin as begin_without_terminal
from .traces import traces

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from typing_extensions import Buffer

    from .._transport.environment import Environment
    from .._transport.framing import Message
    from .._transport.packing import Entry
    from .._transport.protocol import Chunk as ChunkMessage
    from .._transport.protocol import Results, SetUp
    from .._transport.segments import Segment
    from .chunk import Unsent
    from .memory_limit import MemoryWatch

    # A function with its arguments.
    Initializer: TypeAlias = tuple[Callable[..., object], tuple[object, ...]]
    # What a worker goes on with that is a fork of a process which has imported the script.
    Prepared: TypeAlias = tuple[Surroundings, Reporting]

_MOMENT = 0.0005  # seconds; a system call each would cost as much as several quick items
_PIECE = 1 << 16  # bytes read at a time; malloc would map memory anew for much larger buffers


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

    def __init__(
        self,
        sock: socket,
        initializer: Initializer | None = None,
        prepared: Prepared | None = None,
    ) -> None:
        self._socket = sock
        self._sender = Sender(sock)
        self._is_prepared = prepared is not None
        self._surroundings, self._reporting = prepared or (Surroundings(), Reporting())
        self._initializer = initializer  # of a fork of the caller; others are sent it
        self._reader = FrameReader()
        self._inbox: deque[Message] = deque()
        self._looked_at = 0.0  # when it was last looked for messages
        # Whether there is a message, or a part of one, or the caller is gone.
        self._has_message = _looker(sock)
        self._may_spin = False  # for a moment, when it waits for a message
        self._spin = AdaptiveSpin()
        self._room = 0  # bytes of segments that may be kept for results to come
        self._release_segments()
        self._items = ItemRunner(self._surroundings, self._lend)
        self._specs: dict[int, ReceivedSpec] = {}
        self._last_environment: Environment = (
            None,
            {},
            [],
            take_settings(),
            [],
        )  # of the newest call spec
        self._seeded = False  # whether items of a call with a seed ran last
        self._journal: ResultJournal | None = None
        self._max_memory: int | None = None
        self._measured: Callable[[], None] | None = None  # saves what coverage has measured
        self._resident: Callable[[], int] = int  # how many bytes this process takes
        self._watch: MemoryWatch | None = None

    def run(self) -> bool:
        """Serve until the caller is gone or wants no more; return whether it is still there."""
        arriving.begin()
        self._open_journal()
        if not self._set_up():
            return False
        while (message := self._next()) is not None and message[0] != QUIT:
            if message[0] == CHUNK:
                self._on_chunk(message)
            else:
                self._on_message(message)
        self._surroundings.end()
        return message is not None

    # --- coming in -----------------------------------------------------------------------------

    def _open_journal(self) -> None:
        data, fds = receive_with_fds(self._socket, 4)
        if fds:
            (fd,) = fds
            self._journal = ResultJournal(mmap.mmap(fd, int.from_bytes(data, "little")))
            # What it says of the stack when it crashes, or is ended, is written behind the journal,
            # by C code, also while something holds the interpreter's lock.
            faulthandler.enable(file=fd)

    def _set_up(self) -> bool:
        while (message := self._next()) is not None and message[0] in (UNIT, TIES):
            self._on_message(message)
        if message is None:
            return False
        setup = parse_setup(message)
        process_role.generation = setup.generation
        self._max_memory, self._may_spin, self._room = setup.max_memory, setup.may_spin, setup.room
        is_fork = bool(setup.inherited)
        arriving.begin_forked(setup.inherited)
        has_script = is_fork or self._is_prepared
        ties.begin(setup.identity, has_script)
        if is_fork:
            from .._transport.by_value.handover import forks

            forks.begin()
        if has_script:
            seed_anew()  # not all libraries do so themselves when they are forked
        self._release_segments()
        sys.argv[:] = setup.argv
        environment = self._last_environment = setup.environment
        self._surroundings.begin(environment, Streams(setup.streams, self._sender.send))
        self._reporting.begin(self._sender.send, is_fork)
        self._reporting.apply(environment[3], True)
        begin_without_terminal()
        self._measured = saver(setup.coverage_config)
        if hasattr(os, "register_at_fork"):
            # What an item starts may live for long, and would have all that is kept.
            os.register_at_fork(before=self._release_segments)
        if not self._initialized(setup):
            return False
        if self._measured is not None:
            self._measured()
        self._send(make_ready(os.getpid()))
        return True

    def _initialized(self, setup: SetUp) -> bool:
        """Run the script and the initializer; return whether both succeeded, which is told."""
        if setup.max_memory is not None:  # most workers have no limit, and begin without it
            from .memory_limit import resident

            self._resident = resident
        script, initializer = setup.script, setup.initializer
        if script is not None and not self._is_done(lambda: arriving.adopt(*script)):
            return False
        if initializer and not self._is_done(lambda: self._load(setup, initializer[0])):
            return False
        if self._initializer is not None and not self._is_done(self._initialize):
            return False
        if setup.max_memory is not None and setup.kill_over_memory and self._journal is not None:
            from .memory_limit import MemoryWatch

            self._watch = MemoryWatch(setup.max_memory, self._journal)
        return True

    def _load(self, setup: SetUp, entry: Entry) -> None:
        arriving.prepare(setup.units, setup.names)
        self._initializer = decode(entry)

    def _initialize(self) -> None:
        assert self._initializer is not None
        function, args = self._initializer
        function(*args)

    def _is_done(self, begin: Callable[[], object]) -> bool:
        """Run what a worker begins with, and return whether it can begin; the caller is told."""
        try:
            begin()
        except BaseException as error:  # the caller must learn of it, whatever it is
            self._send(make_broken(capture(error)))
            return False
        self._surroundings.keep()
        return True

    def _needs_replacement(self) -> bool:
        """Return whether this process takes more memory than it may."""
        return self._max_memory is not None and self._resident() > self._max_memory

    def _release_segments(self) -> None:
        """Give back the memory that is kept for results to come.

        By another thing in its place, and nothing changed in the old one: where a thread of an item
        forks, the main thread may be using it just now.
        """
        self._lent_segments = LentSegments(FreeSegments(), self._room, MOST)

    def _lend(self, buffers: Sequence[Buffer]) -> Segment | None:
        return self._lent_segments.written(buffers)

    def _next(self) -> Message | None:
        while not self._inbox:
            self._spin.awake(self._spins, self._has_message)
            if not self._receive():
                return None
        return self._inbox.popleft()

    def _spins(self) -> bool:
        return self._may_spin

    def _receive(self) -> bool:
        """Wait for more messages, or a part of one; return False if the caller is gone."""
        data, fds = receive_with_fds(self._socket, _PIECE, MOST)
        self._inbox.extend(self._reader.feed(data, fds))
        self._looked_at = perf_counter()
        return bool(data)

    def _is_discarded(self, serial: int) -> bool:
        """Return whether the caller has by now given up a chunk that is about to begin."""
        # Not before each of many quick chunks: what came a moment ago says as much.
        while perf_counter() - self._looked_at > _MOMENT:
            if not self._has_message():
                self._looked_at = perf_counter()
            elif not self._receive():
                break  # the caller is gone: the next read says so
        return any(
            message[0] == DISCARD and serial in parse_discard(message) for message in self._inbox
        )

    def _send(self, message: Message) -> None:
        self._sender.send(frame(message))

    # --- work ----------------------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        """Do what a message asks for that is no chunk."""
        kind = message[0]
        if kind == CALL_SPEC:
            spec, units, names, variables, rules, environment, function = parse_call_spec(message)
            self._last_environment = self._last_environment if environment is None else environment
            self._specs[spec] = ReceivedSpec(
                function, units, names, variables, *rules, self._last_environment
            )
        elif kind == DROP:
            self._specs.pop(parse_drop(message), None)
        elif kind == TIES:
            key, tracker = parse_ties(message)
            ties.take(key, parts(tracker[0])[1][0] if tracker else None)
        elif kind == UNIT:
            unit, values, *versions = parse_unit(message)
            arriving.take_unit(unit, lambda: parts(values), *versions)
        elif kind == NEEDS:
            spec, units, names = parse_needs(message)
            self._specs[spec].units, self._specs[spec].names = units, names
        elif kind == FORGET:
            arriving.forget(parse_forget(message))
        elif kind == BACK:
            numbers = parse_back(message)
            if numbers is None:
                self._release_segments()
            else:
                self._lent_segments.back(numbers)

    def _on_chunk(self, chunk: ChunkMessage) -> None:
        """Run a chunk, if it is still wanted, and send its results."""
        _, spec, serial, entries, step, start = chunk
        items = unpacked(entries)
        if len(items) == 1:
            step = 0
        known = self._specs.get(spec)
        discarded = known is None or (self._inbox and self._is_discarded(serial))
        if known is None or discarded or not self._begin(serial, known, step):
            # What does not begin is answered all the same: the caller counts the answers.
            self._send_results(serial, [], None, True, 0.0, False)
        else:
            if self._watch is not None:
                self._watch.busy.set()
            self._run_chunk(known, serial, items, step, start)
            if self._watch is not None:
                self._watch.busy.clear()

    def _begin(self, serial: int, spec: ReceivedSpec, step: int) -> bool:
        """Note that a chunk begins; return False if the caller has taken it back."""
        in_turn = spec.timeout is not None or step > 0
        if self._journal is not None:
            return self._journal.begin(serial, in_turn)
        if not in_turn:
            self._send(make_begun(serial))
        return True

    def _run_chunk(
        self, spec: ReceivedSpec, serial: int, entries: Sequence[Entry], step: int, start: int
    ) -> None:
        self._surroundings.apply(spec.environment)
        self._surroundings.apply_settings()
        process_role.runs_items = False
        begin = perf_counter()
        results: Unsent
        try:
            call = spec.load()
        except BaseException as error:  # SystemExit from the import of a module, say
            record: Entry = capture_transport(FUNCTION, error)
            results = [record] * (1 if spec.stop else len(entries))
        else:
            self._reporting.apply(spec.environment[3], spec.logs)  # only now: it may need a module
            process_role.runs_items = True
            if spec.seed is not None or self._seeded:
                self._seeded = spec.seed is not None
                seed_anew()  # of the items before nothing is left in the global generators
            if spec.seed is not None:
                run = with_seeds(spec.seed, call, entries, start)
                results = self._run_items(spec, run, serial, range(len(entries)), step)
            elif spec.coroutine is None:
                results = self._run_items(spec, call, serial, entries, step)
            else:
                # All begin now; then "running" the item at an index is waiting for its end.
                many = at_once(spec.coroutine, entries, spec.context, spec.timeout)
                try:
                    results = self._run_items(spec, many.result, serial, range(len(entries)), 0)
                finally:
                    many.close()
        process_role.runs_items = False
        elapsed = perf_counter() - begin
        if self._measured is not None:
            self._measured()
        replace = self._max_memory is not None and self._needs_replacement()
        self._send_results(serial, results, spec, True, elapsed, replace)

    def _run_items(
        self,
        spec: ReceivedSpec,
        call: Callable[[Any], object],
        serial: int,
        entries: Sequence[Entry],
        step: int,
    ) -> Unsent:
        in_turn = spec.timeout is not None and (len(entries) == 1 or spec.at_once)
        if in_turn and not self._turn(serial, len(entries)):
            return []
        if len(entries) == 1:
            # Nothing to note: until its message is sent, the item is the one in hand.
            result = self._items.run(spec, call, entries[0])[0]
            spec.array_type = type(result) if type(result) in ARRAY_FORMATS else None
            return [result]

        def send(results: Unsent) -> None:
            self._send_results(serial, results, spec, False, 0.0, False)

        if self._journal is None:
            return run_without_journal(
                spec,
                entries,
                self._items,
                call,
                send,
                lambda: self._turn(serial, 0),
                self._needs_replacement,
            )
        if self._max_memory is not None:
            spec.mixed = (
                True  # memory is measured after each item, for which a typed array leaves no time
            )
        chunk = Chunk(
            spec, entries, step, self._journal, self._items, send, self._needs_replacement
        )
        return chunk.run(call)

    def _turn(self, serial: int, number: int) -> bool:
        """Note that the items of a chunk up to `number` begin; return False if they must not."""
        if self._journal is not None:
            return self._journal.turn(number)
        self._send(make_begun(serial))
        return True

    def _send_results(
        self,
        serial: int,
        results: Unsent,
        spec: ReceivedSpec | None,
        last: bool,
        elapsed: float,
        replace: bool,
    ) -> None:
        gone = self._reader.gone()
        message: Results = RESULTS, serial, results, last, elapsed, replace, gone
        try:
            data = frame(message)
        except ValueError:  # a result is too large for marshal
            assert isinstance(results, list)  # no typed array is so large

            def make(entries: list[Entry]) -> Results:
                return RESULTS, serial, entries, last, elapsed, replace, gone

            data = frame_of_entries(make, results, spec is None or spec.by_value)
        if traces:  # of what runs beside the items, as pickling
            self._surroundings.tidy()
        self._sender.send(data, self._items.attachments.taken())
