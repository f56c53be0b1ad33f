"""The messages between caller, worker and template: each kind with what makes it and reads it.

A message is a tuple of plain values whose first word is its kind (see `framing`). For each kind
there is a `make` function for the sender and a `parse` function for the receiver, side by side. The
exceptions are `Chunk`, `Results` and `Report`, of which there is one or more for each chunk: there
both ends name and type the words as they build or unpack the tuple, which costs no call.

Only requests to the template are bytes of one struct: its socket carries nothing but these, and
with some of them the socket of a worker.

A `list[Entry]` with one entry stands where a pickle goes that may be large: see `frame_of_entries`.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing import TypeAlias

    from .by_value.arriving import Name
    from .environment import Environment
    from .packing import Entry, Packed

    # How a stream of the caller is: encoding, how it treats errors, whether each line is to be seen
    # at once, whether it is a terminal.
    Stream: TypeAlias = tuple[str, str, bool, bool]
    # What `multiprocessing` says of a worker: identity, name, process id of the caller, its name.
    Identity: TypeAlias = tuple[tuple[int, ...], str, int, str]
    # The script that a worker imports: number of its namespace, path (None: a fork has imported
    # it), package or None.
    Script: TypeAlias = tuple[int, str | None, str | None]
    # How the items of a call run: whether its first failure ends it, whether functions among the
    # results are pickled by value, whether all items of a chunk run at once, seconds that an item
    # may run or None, seed or None, whether log records are sent to the caller.
    WorkerRules: TypeAlias = tuple[bool, bool, bool, float | None, int | None, bool]

# --- from the caller to a worker -----------------------------------------------------------------

SETUP = 0
CALL_SPEC = 1
CHUNK = 2
DROP = 3
QUIT = 4
DISCARD = 5
BACK = 6
UNIT = 7
NEEDS = 8
FORGET = 9
TIES = 15

if TYPE_CHECKING:
    SetUpMessage: TypeAlias = tuple[
        int,
        int,
        Identity,
        Environment,
        list[str],
        tuple[int, ...],
        Script | None,
        tuple[int, ...],
        tuple[Name, ...],
        list[Entry],
        int | None,
        bool,
        bool,
        int,
        tuple[Stream, Stream],
        str | None,
    ]


class SetUp:
    """What a worker is told first. Only `UNIT` and `TIES` messages come before it.

    Attributes:
        generation: how many pools there are above it: 1 in the pool of a program.
        identity: what `multiprocessing` says of it.
        environment: its first environment.
        argv: the caller's `sys.argv`.
        inherited: numbers of the namespaces that a fork has from its caller; else nothing.
        script: the script to import; None: it imports none.
        units: numbers of the units that the initializer needs.
        names: the names that the initializer needs.
        initializer: one entry, of the initializer and its arguments; nothing where there is none,
            or where a fork has it.
        max_memory: bytes of memory that it may take; None: any.
        kill_over_memory: whether it is killed at once when it takes more.
        may_spin: whether it may spin for a moment while it waits for a message.
        room: bytes of segments that it may keep to use them again.
        streams: how the caller's stdout and stderr are.
        coverage_config: the file by which coverage measures it; None: coverage does not.
    """

    __slots__ = (
        "argv",
        "coverage_config",
        "environment",
        "generation",
        "identity",
        "inherited",
        "initializer",
        "kill_over_memory",
        "max_memory",
        "may_spin",
        "names",
        "room",
        "script",
        "streams",
        "units",
    )

    def __init__(
        self,
        generation: int,
        identity: Identity,
        environment: Environment,
        argv: list[str],
        inherited: tuple[int, ...],
        script: Script | None,
        units: tuple[int, ...],
        names: tuple[Name, ...],
        initializer: list[Entry],
        max_memory: int | None,
        kill_over_memory: bool,
        may_spin: bool,
        room: int,
        streams: tuple[Stream, Stream],
        coverage_config: str | None,
    ) -> None:
        self.generation = generation
        self.identity = identity
        self.environment = environment
        self.argv = argv
        self.inherited = inherited
        self.script = script
        self.units = units
        self.names = names
        self.initializer = initializer
        self.max_memory = max_memory
        self.kill_over_memory = kill_over_memory
        self.may_spin = may_spin
        self.room = room
        self.streams = streams
        self.coverage_config = coverage_config


def make_setup(setup: SetUp, initializer: list[Entry]) -> SetUpMessage:
    """Return the message of `setup`, with `initializer` in the place of its own."""
    return (
        SETUP,
        setup.generation,
        setup.identity,
        setup.environment,
        setup.argv,
        setup.inherited,
        setup.script,
        setup.units,
        setup.names,
        initializer,
        setup.max_memory,
        setup.kill_over_memory,
        setup.may_spin,
        setup.room,
        setup.streams,
        setup.coverage_config,
    )


def parse_setup(message: SetUpMessage) -> SetUp:
    """Return what a worker is told first."""
    return SetUp(*message[1:])


if TYPE_CHECKING:
    CallSpecMessage: TypeAlias = tuple[
        int,
        int,
        list[Entry],
        tuple[int, ...],
        tuple[Name, ...],
        list[bytes],
        bool,
        bool,
        bool,
        float | None,
        int | None,
        bool,
        Environment | None,
    ]


def make_call_spec(
    number: int,
    units: tuple[int, ...],
    names: tuple[Name, ...],
    variables: list[bytes],
    rules: WorkerRules,
    environment: Environment | None,
    function: list[Entry],
) -> CallSpecMessage:
    """Return the message that tells a worker of a call, before its first chunk.

    Args:
        number: of the call spec.
        units: numbers of the units that the function needs.
        names: the names that it needs, with their versions.
        variables: context variables, each pickled with its value.
        rules: how its items run.
        environment: of its items; None: that of the call spec that was sent before.
        function: one entry, of the function and its kind.
    """
    return (CALL_SPEC, number, function, units, names, variables, *rules, environment)


def parse_call_spec(
    message: CallSpecMessage,
) -> tuple[
    int,
    tuple[int, ...],
    tuple[Name, ...],
    list[bytes],
    WorkerRules,
    Environment | None,
    Entry,
]:
    """Return what `make_call_spec` was given, and the entry of the function without its list."""
    _, number, (function,), units, names, variables = message[:6]
    return number, units, names, variables, message[6:12], message[12], function


if TYPE_CHECKING:
    # kind, number of the call spec, serial, items as `packed` has them, how many items begin a step
    # (0: all), index of the first item in the call
    Chunk: TypeAlias = tuple[int, int, int, Packed, int, int]

    DropMessage: TypeAlias = tuple[int, int]
    DiscardMessage: TypeAlias = tuple[int, list[int]]
    BackMessage: TypeAlias = tuple[int, list[int] | None]
    UnitMessage: TypeAlias = tuple[
        int, int, list[Entry], tuple[int, ...], tuple[int, ...], tuple[int, ...]
    ]
    NeedsMessage: TypeAlias = tuple[int, int, tuple[int, ...], tuple[Name, ...]]
    ForgetMessage: TypeAlias = tuple[int, tuple[int, ...]]
    TiesMessage: TypeAlias = tuple[int, bytes | None, list[Entry]]


def make_drop(spec: int) -> DropMessage:
    """Return the message that no chunk of a call spec comes any more."""
    return DROP, spec


def parse_drop(message: DropMessage) -> int:
    """Return the number of the call spec."""
    return message[1]


def make_quit() -> tuple[int]:
    """Return the message that a worker is to end. It has no other words."""
    return (QUIT,)


def make_discard(serials: list[int]) -> DiscardMessage:
    """Return the message that the chunks with these serials are not to begin."""
    return DISCARD, serials


def parse_discard(message: DiscardMessage) -> list[int]:
    """Return the serials."""
    return message[1]


def make_back(numbers: list[int] | None) -> BackMessage:
    """Return the message that the caller does not use segments of results any more.

    `numbers`: of the segments; None: the worker is to keep no segment.
    """
    return BACK, numbers


def parse_back(message: BackMessage) -> list[int] | None:
    """Return the numbers of the segments, or None."""
    return message[1]


def make_unit(
    number: int,
    values: list[Entry],
    versions: tuple[int, ...],
    definitions: tuple[int, ...],
    primed: tuple[int, ...],
) -> UnitMessage:
    """Return the message with a unit: values of names that are pickled together.

    Args:
        number: of the unit.
        values: one entry, of the values.
        versions: of the values.
        definitions: versions of those that are functions, classes and the like.
        primed: versions of values told before, to which the pickle may refer.
    """
    return UNIT, number, values, versions, definitions, primed


def parse_unit(
    message: UnitMessage,
) -> tuple[int, Entry, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return what `make_unit` was given, and the entry of the values without its list."""
    _, number, (values,), versions, definitions, primed = message
    return number, values, versions, definitions, primed


def make_needs(spec: int, units: tuple[int, ...], names: tuple[Name, ...]) -> NeedsMessage:
    """Return the message with all that the next chunk of a call needs.

    `spec`: the number of the call spec; `units` and `names` take the place of those it came with.
    """
    return NEEDS, spec, units, names


def parse_needs(message: NeedsMessage) -> tuple[int, tuple[int, ...], tuple[Name, ...]]:
    """Return what `make_needs` was given."""
    return message[1:]


def make_forget(units: tuple[int, ...]) -> ForgetMessage:
    """Return the message that nothing at the caller refers to the units of these numbers."""
    return FORGET, units


def parse_forget(message: ForgetMessage) -> tuple[int, ...]:
    """Return the numbers of the units."""
    return message[1]


def make_ties(key: bytes | None, tracker: list[Entry]) -> TiesMessage:
    """Return the message with what `multiprocessing` has at the caller.

    Args:
        key: the caller's authentication key, or None.
        tracker: one entry, of the descriptor of its resource tracker; nothing where it has none.
    """
    return TIES, key, tracker


def parse_ties(message: TiesMessage) -> tuple[bytes | None, list[Entry]]:
    """Return what `make_ties` was given."""
    return message[1:]


# --- from a worker to the caller -----------------------------------------------------------------

READY = 10
BROKEN = 11
BEGUN = 12
RESULTS = 13
REPORT = 14

# Kinds of reports. What was printed to either stream; a pickled record of logging; a pickled
# warning; that an item has flushed a stream, OUTPUT or ERRORS as one byte.
OUTPUT, ERRORS, LOG, WARNING, FLUSH = 1, 2, 3, 4, 5

if TYPE_CHECKING:
    # kind, serial, results as `packed` has them, whether they are the last of the chunk, seconds
    # that the chunk took (with the last ones), whether the worker is to be replaced, numbers of
    # segments of arguments that the worker does not use any more
    Results: TypeAlias = tuple[int, int, Packed, bool, float, bool, list[int]]
    # kind, kind of the report, offset in its chunk of the item that runs (None: it is not known),
    # bytes
    Report: TypeAlias = tuple[int, int, int | None, bytes]

    ReadyMessage: TypeAlias = tuple[int, int]
    BrokenMessage: TypeAlias = tuple[int, list[Entry]]
    BegunMessage: TypeAlias = tuple[int, int]


def make_ready(pid: int) -> ReadyMessage:
    """Return the message that a worker can take chunks; `pid`: its process id."""
    return READY, pid


def parse_ready(message: ReadyMessage) -> int:
    """Return the process id."""
    return message[1]


def make_broken(failure: list[Entry]) -> BrokenMessage:
    """Return the message that a worker cannot begin; `failure`: see `failure_record`."""
    return BROKEN, failure


def parse_broken(message: BrokenMessage) -> list[Entry]:
    """Return the failure."""
    return message[1]


def make_begun(serial: int) -> BegunMessage:
    """Return the message that an item of a chunk begins; only sent where there is no journal."""
    return BEGUN, serial


def parse_begun(message: BegunMessage) -> int:
    """Return the serial of the chunk."""
    return message[1]


# --- from a process that is to become a worker, or the template ----------------------------------

HELLO = 16
AGAIN = 17

# --- from the template to the caller -------------------------------------------------------------

FORKED = 20
FAILED = 21
EXITED = 22
CROWDED = 23

if TYPE_CHECKING:
    # A process that was just started may be a worker or the template, so these have one form.
    StartMessage: TypeAlias = tuple[int, int, int]


def make_hello() -> StartMessage:
    """Return the first message of a fresh interpreter: it is a Python and runs our code."""
    return HELLO, 0, 0


def make_again() -> StartMessage:
    """Return the message that a process runs the program again, and does not become a worker."""
    return AGAIN, 0, 0


def make_forked(number: int, pid: int) -> StartMessage:
    """Return the message that worker `number` was started, as process `pid`."""
    return FORKED, number, pid


def parse_forked(message: StartMessage) -> tuple[int, int]:
    """Return the number and the process id."""
    return message[1:]


def make_failed(number: int, error: int) -> StartMessage:
    """Return the message that worker `number` could not be started; `error`: an `errno`."""
    return FAILED, number, error


def parse_failed(message: StartMessage) -> tuple[int, int]:
    """Return the number and the error."""
    return message[1:]


def make_exited(pid: int, exitcode: int) -> StartMessage:
    """Return the message that process `pid` has ended."""
    return EXITED, pid, exitcode


def parse_exited(message: StartMessage) -> tuple[int, int]:
    """Return the process id and the exit code."""
    return message[1:]


def make_crowded(threads: int) -> StartMessage:
    """Return the message that the template has `threads` threads and therefore does not fork."""
    return CROWDED, threads, 0


def parse_crowded(message: StartMessage) -> int:
    """Return how many threads it has."""
    return message[1]


# --- from the caller to the template -------------------------------------------------------------

# Requests. FORK has the number of a worker, and its socket comes along; PREPARE has 0; the others
# have the process id of a worker.
# With IMPORT comes a file that says, as marshal writes it, what a process is told that imports the
# script: generation, identity, environment, argv, (path of the script, its package or None),
# streams, configuration of coverage; see `SetUp` for these. The template answers with `Report`s.
FORK, KILL, ABORT, PREPARE, TERMINATE, IMPORT = 0, 1, 2, 3, 4, 5
_REQUEST = struct.Struct("<Bq")
REQUEST_SIZE = _REQUEST.size


def make_request(request: int, number: int) -> bytes:
    """Return the bytes of a request; `number`: of a worker, or its process id."""
    return _REQUEST.pack(request, number)


def parse_request(data: bytes) -> tuple[int, int]:
    """Return what `make_request` was given."""
    request, number = _REQUEST.unpack(data)
    return request, number
