"""The loop of a worker process: take messages from the one socket, run chunks, send results.

The life of a worker::

    startup                      the process begins
        |
    Worker.run                   the message SETUP tells the worker its environment and its
        |                        initializer; the worker answers with READY
    one chunk after another      note in the result journal that the chunk has begun; for each
        |                        item: load, run, pickle, note the result; send one RESULTS message
    end of the stream, or QUIT   the caller is gone, or needs no worker any more

Workers share nothing with each other, so a worker that dies holds no other worker up.
"""

from __future__ import annotations

import os
import select
import sys
from time import perf_counter

from .._transport import process_role
from .._transport.adaptive_spin import AdaptiveSpin
from .._transport.by_value import arriving
from .._transport.failure_record import FUNCTION, capture, capture_transport
from .._transport.framing import FrameReader, frame, frame_of_entries
from .._transport.journal import receive_journal
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
from .chunk import Chunk, EagerChunk, at_once, run_without_journal, with_seeds
from .function import ReceivedSpec
from .identity import ties
from .item import ItemRunner
from .measured import saver
from .reporting import Reporting
from .sending import Sender
from .side_effects import Surroundings, write_stack_at_crash
from .streams import Streams
from .terminal import begin as begin_without_terminal
from .traces import traces

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from typing_extensions import Buffer

    from .._transport.environment import Environment
    from .._transport.framing import Message
    from .._transport.journal import ResultJournal
    from .._transport.packing import Entry
    from .._transport.protocol import Chunk as ChunkMessage
    from .._transport.protocol import Results, SetUp
    from .._transport.segments import Segment
    from .chunk import Unsent
    from .memory_limit import MemoryWatch

    # The initializer function, with its arguments.
    Initializer: TypeAlias = tuple[Callable[..., object], tuple[object, ...]]
    # The objects that a worker takes over if it was forked from the process that has imported the
    # script.
    Prepared: TypeAlias = tuple[Surroundings, Reporting]

# Seconds between two looks for new messages while chunks wait. A look is a system call, which takes
# as long as several quick items, so there is none before each chunk.
_MOMENT = 0.0005
# Bytes read at a time; for much larger buffers malloc would map new memory each time.
_PIECE = 1 << 16


def _looker(sock: socket) -> Callable[[], Sequence[object]]:
    """Return a function that tells whether there is anything to be read from `sock`."""
    # `poll` is used if the system has it: `select.select` takes no descriptor above 1023.
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        ask = poll.poll
        return lambda: ask(0)
    look = select.select
    return lambda: look([sock], [], [], 0)[0]


class Worker:
    """Reads messages from the one socket of a worker process, and does what they ask for."""

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
        # The initializer, if this worker is a fork of the caller. To other workers the caller sends
        # an initializer later.
        self._initializer = initializer
        self._reader = FrameReader()
        self._inbox: deque[Message] = deque()
        # The serial numbers in those DISCARD messages that are in the inbox.
        self._discarded: set[int] = set()
        self._looked_at = 0.0  # the time when the worker last looked for messages
        # The function that returns whether the socket has anything to read, or the caller is gone.
        self._has_message = _looker(sock)
        self._may_spin = False  # whether the worker may poll for a moment before it sleeps
        self._spin = AdaptiveSpin()
        self._room = 0  # how many bytes of shared memory may be kept for later results
        self.release_segments()
        self._items = ItemRunner(self._surroundings, self._lend)
        self._specs: dict[int, ReceivedSpec] = {}
        # The last environment for items that the caller has sent.
        self._last_environment: Environment = (
            None,
            {},
            [],
            take_settings(),
            [],
        )
        self._seeded = False  # whether the call whose items ran last had a seed
        self._journal: ResultJournal | None = None
        self._max_memory: int | None = None
        # The function that saves what coverage.py has measured; None: coverage.py does not measure
        # this process.
        self._measured: Callable[[], None] | None = None
        # The function that returns how many bytes this process takes; without a limit it returns 0.
        self._memory_taken: Callable[[], int] = int
        self._watch: MemoryWatch | None = None

    def run(self) -> bool:
        """Serve until the caller is gone or sends QUIT; return whether the caller still lives.

        Return False, too, if the script or the initializer fails.
        """
        arriving.begin()
        self._journal = receive_journal(self._socket, write_stack_at_crash)
        if not self._set_up():
            return False
        while (message := self._next()) is not None and message[0] != QUIT:
            if message[0] == CHUNK:
                self._on_chunk(message)
            else:
                self._on_message(message)
        self._surroundings.end()
        return message is not None

    # --- the start of the worker, and how messages come in --------------------------------------

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
            # Not all libraries seed their random generators anew in a fork, so this is done here.
            seed_anew()
        self.release_segments()
        sys.argv[:] = setup.argv
        environment = self._last_environment = setup.environment
        self._surroundings.begin(environment, Streams(setup.streams, self._sender.send))
        self._reporting.begin(self._sender.send, is_fork)
        self._reporting.apply(environment[3], True)
        begin_without_terminal()
        self._measured = saver(setup.coverage_config)
        if hasattr(os, "register_at_fork") and not process_role.shares_process:
            # A process that an item forks may live long. It must not keep the memory of the
            # segments alive. (An interpreter in the caller's process cannot fork, and Python would
            # keep its 4 MB for this callback when it has ended.)
            os.register_at_fork(before=self.release_segments)
        if not self._initialized(setup):
            return False
        if self._measured is not None:
            self._measured()
        self._send(make_ready(os.getpid()))
        return True

    def _initialized(self, setup: SetUp) -> bool:
        """Run the script and the initializer; return whether both succeeded.

        If one of them fails, tell the caller.
        """
        # Only a worker with a memory limit imports `memory_limit`.
        if setup.max_memory is not None:
            from .memory_limit import leave_out_the_callers, taken

            self._memory_taken = taken
            if setup.inherited:  # this process was forked from the caller
                leave_out_the_callers()
        script, initializer = setup.script, setup.initializer
        if script is not None and not self._is_done(lambda: arriving.adopt(*script)):
            return False
        if initializer and not self._is_done(lambda: self._load(setup, initializer[0])):
            return False
        if self._initializer is not None and not self._is_done(self._initialize):
            return False
        if setup.max_memory is not None and setup.kill_over_memory:
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
        """Call `begin`, a step of the worker's start; return whether it succeeded.

        If `begin` raises an exception, tell the caller.
        """
        try:
            begin()
        except BaseException as error:  # whatever was raised, the caller is told
            self._send(make_broken(capture(error)))
            return False
        self._surroundings.keep()
        return True

    def _needs_replacement(self) -> bool:
        """Return whether this process takes more memory than its limit allows."""
        return self._max_memory is not None and self._memory_taken() > self._max_memory

    def release_segments(self) -> None:
        """Release the shared-memory segments that are kept for later results.

        The object that keeps the segments is replaced, and not emptied: if a thread of an item
        forks, the main thread may be using the object at this moment.
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
        """Wait for messages or a part of a message; return False if the caller is gone."""
        data, fds = receive_with_fds(self._socket, _PIECE, MOST)
        for message in self._reader.feed(data, fds):
            if message[0] == DISCARD:
                self._discarded.update(parse_discard(message))
            self._inbox.append(message)
        self._looked_at = perf_counter()
        return bool(data)

    def _look(self) -> None:
        """Read messages if any have come. If the caller is gone, the next `_next` notices it."""
        self._looked_at = perf_counter()
        if self._has_message():
            self._receive()

    def _send(self, message: Message) -> None:
        self._sender.send(frame(message))

    # --- what the worker does with each message --------------------------------------------------

    def _on_message(self, message: Message) -> None:
        """Do what a message asks for; chunks are handled elsewhere."""
        kind = message[0]
        if kind == CALL_SPEC:
            spec, units, names, variables, rules, environment, function = parse_call_spec(message)
            self._last_environment = self._last_environment if environment is None else environment
            self._specs[spec] = ReceivedSpec(
                function, units, names, variables, self._last_environment, *rules
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
        elif kind == DISCARD:
            # All chunks before this DISCARD message are done: its numbers are needed no more.
            self._discarded.difference_update(parse_discard(message))
        elif kind == FORGET:
            arriving.forget(parse_forget(message))
        elif kind == BACK:
            numbers = parse_back(message)
            if numbers is None:
                self.release_segments()
            else:
                self._lent_segments.back(numbers)

    def _on_chunk(self, chunk: ChunkMessage) -> None:
        """Run a chunk and send its results, unless the caller has taken it back or discarded it."""
        _, spec, serial, entries, step, start = chunk
        items = unpacked(entries)
        if len(items) == 1:
            step = 0
        known = self._specs.get(spec)
        # The socket is read only if the last look for messages was more than `_MOMENT` ago.
        if self._inbox and perf_counter() - self._looked_at > _MOMENT:
            self._look()
        if known is None or serial in self._discarded or not self._begin(serial, known, step):
            # Even if the chunk is not run, the worker sends a message, without results: the caller
            # counts these messages.
            self._send_results(serial, [], None, True, 0.0, False)
        else:
            if self._watch is not None:
                self._watch.busy.set()
            self._run_chunk(known, serial, items, step, start)
            if self._watch is not None:
                self._watch.busy.clear()

    def _begin(self, serial: int, spec: ReceivedSpec, step: int) -> bool:
        """Record that a chunk begins; return False if the caller has taken it back."""
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
        except BaseException as error:  # an import may raise anything, even SystemExit
            record: Entry = capture_transport(FUNCTION, error)
            results = [record] * (1 if spec.stop else len(entries))
        else:
            # Warning filters are put in place after the function is loaded, because a filter may
            # need a module that loading the function imports.
            self._reporting.apply(spec.environment[3], spec.logs)
            process_role.runs_items = True
            if spec.seed is not None or self._seeded:
                self._seeded = spec.seed is not None
                # If the last call had a seed, the global random generators must not go on from that
                # seed.
                seed_anew()
            if spec.seed is not None:
                run = with_seeds(spec.seed, call, entries, start)
                results = spec.run(self._run_items, spec, run, serial, range(len(entries)), step)
            elif spec.coroutine is None:
                results = spec.run(self._run_items, spec, call, serial, entries, step)
            else:
                # All coroutines of the chunk begin together. To run an item then means to wait for
                # its coroutine.
                many = at_once(spec.coroutine, entries, spec.context, spec.timeout)
                if spec.timing is not None:
                    spec.timing.coroutines(many)
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
        items = self._items
        if spec.timing is not None:
            from .timed_items import TimedItems

            items = TimedItems(items, spec.timing)
        if len(entries) == 1:
            # The chunk has one item. Its result need not be noted in the result journal: until the
            # message is sent, the item counts as running.
            result = items.run(spec, call, entries[0])[0]
            spec.array_type = type(result) if type(result) in ARRAY_FORMATS else None
            return [result]

        def send(results: Unsent) -> None:
            self._send_results(serial, results, spec, False, 0.0, False)

        if self._journal is None:
            return run_without_journal(
                spec,
                entries,
                items,
                call,
                send,
                lambda: self._turn(serial, 0),
                self._needs_replacement,
            )
        if self._max_memory is not None:
            # The worker has a memory limit, so it measures its memory after each item. It cannot do
            # that while it fills a typed array, so results are noted one by one.
            spec.mixed = True
        make = EagerChunk if process_role.shares_process else Chunk
        chunk = make(spec, entries, step, self._journal, items, send, self._needs_replacement)
        return chunk.run(call)

    def _turn(self, serial: int, number: int) -> bool:
        """Record that the first `number` items of a chunk have begun.

        Return False if the caller has taken back the items that were to begin. Without a result
        journal (memory shared with the caller), send the caller a message that an item begins.
        """
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
        times = () if spec is None or spec.timing is None else (spec.timing.taken(),)
        message: Results = RESULTS, serial, results, last, elapsed, replace, gone, *times
        try:
            data = frame(message)
        except ValueError:  # `marshal` cannot write results of this size
            assert isinstance(results, list)  # a typed array is never too large for `marshal`

            def make(entries: list[Entry]) -> Results:
                return RESULTS, serial, entries, last, elapsed, replace, gone, *times

            data = frame_of_entries(make, results, spec is None or spec.by_value)
        # Code that ran between items, such as the pickling of a result, may have changed the
        # process.
        if traces:
            self._surroundings.tidy()
        self._sender.send(data, self._items.attachments.taken())
