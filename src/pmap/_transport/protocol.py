"""The messages between caller, worker and fork server, and the functions for each kind.

A message is a tuple of plain values whose first word is its kind (see `framing`). For each kind a
`make` function serves the sender and a `parse` function the receiver. The exceptions are `Chunk`,
`Results` and `Report`, which are frequent: sender and receiver build and unpack these tuples in
place, which saves a call.

Requests to the fork server are no tuples: they are the bytes of a struct.

A message entry is one pickled or plain value (see `values`). An entry whose pickle may be large is
in a list of its own: see `framing.frame_of_entries`.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import TypeAlias

    from .by_value.arriving import Name
    from .environment import Environment
    from .packing import Entry, Packed

    # Properties of the caller's stdout or stderr: encoding, error handler of the encoding, whether
    # the stream is line-buffered, whether the stream is a terminal.
    Stream: TypeAlias = tuple[str, str, bool, bool]
    # A worker as a process of `multiprocessing`: its identity and name, and the process id and name
    # of its parent.
    Identity: TypeAlias = tuple[tuple[int, ...], str, int, str]
    # The script that a worker imports: the number of the script's globals; the path of the script,
    # None if the worker's parent process has imported it; the package of the script or None.
    Script: TypeAlias = tuple[int, str | None, str | None]
    # How the items of a call run: whether the first failure ends the call, whether functions among
    # the results are pickled by value, whether all items of a chunk run at once, seconds that an
    # item may run or None, seed or None, whether log records are sent to the caller; and, only if
    # results are to have times (see the module `times`), True.
    WorkerRules: TypeAlias = tuple[
        bool, bool, bool, float | None, int | None, bool, *tuple[bool, ...]
    ]

# --- messages from the caller to a worker --------------------------------------------------------

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
    """All that a worker is told when it starts, before it is told of any call.

    Attributes:
        generation: how deep pools are nested: 1 for a worker of the main program's pool.
        identity: the worker's identity and name as a process of `multiprocessing`, and its parent.
        environment: the first environment of the worker.
        argv: the caller's `sys.argv`.
        inherited: numbers of those modules of the caller whose globals a forked worker has.
        script: the script that the worker imports; None: the worker imports no script.
        units: numbers of the units (values of names, pickled together) that the initializer needs.
        names: the names that the initializer needs.
        initializer: the initializer and its arguments, one entry; empty if there is no initializer,
            or if the worker is a fork of the caller and has the initializer already.
        max_memory: bytes of memory that the worker may take; None: there is no limit.
        kill_over_memory: whether the worker is killed at once when it takes more memory.
        may_spin: whether the worker may spin for a moment while it waits for a message.
        room: bytes of shared-memory segments that the worker may keep to use them again.
        streams: the properties of the caller's stdout and stderr.
        coverage_config: the configuration file for coverage.py; None: no coverage is measured.
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
    """Return the message of `setup`, with `initializer` in place of `setup.initializer`."""
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
    """Return a worker's set-up from the message SETUP."""
    return SetUp(*message[1:])


if TYPE_CHECKING:
    # The message has the values of `WorkerRules` in its middle, before the environment.
    CallSpecMessage: TypeAlias = tuple[
        int,
        int,
        list[Entry],
        tuple[int, ...],
        tuple[Name, ...],
        list[bytes],
        *WorkerRules,
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
    """Return the message that describes a call: all that a worker is told before its items.

    Args:
        number: the number of the call spec.
        units: numbers of the units (pickled values of names) that the function needs.
        names: the global names that the function needs, with their versions.
        variables: context variables, each pickled with its value.
        rules: how the items of the call run.
        environment: the environment of the items; None: the same as that of the previous call.
        function: a list with one message entry, which has the function and its kind.
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
    """Return the arguments of `make_call_spec`; in place of the list `function`, its one entry."""
    _, number, (function,), units, names, variables = message[:6]
    return number, units, names, variables, message[6:-1], message[-1], function


if TYPE_CHECKING:
    # The message CHUNK: kind, number of the call spec, serial of the chunk, items as `packed`
    # returns them, how many items begin together (0: all), index of the chunk's first item in the
    # call.
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
    """Return the message that no more items come for the call with the call spec `spec`."""
    return DROP, spec


def parse_drop(message: DropMessage) -> int:
    """Return the number of the call spec (the message about a call) that the worker can forget."""
    return message[1]


def make_quit() -> tuple[int]:
    """Return the message that a worker is to end; the message has nothing but its kind."""
    return (QUIT,)


def make_discard(serials: list[int]) -> DiscardMessage:
    """Return the message that a worker is not to begin the chunks with these numbers."""
    return DISCARD, serials


def parse_discard(message: DiscardMessage) -> list[int]:
    """Return the numbers of the chunks that are not to begin."""
    return message[1]


def make_back(numbers: list[int] | None) -> BackMessage:
    """Return the message that some shared-memory segments of results are free again.

    `numbers`: the numbers of these segments; None: the worker is to keep no segment.
    """
    return BACK, numbers


def parse_back(message: BackMessage) -> list[int] | None:
    """Return the numbers of segments that are free again; None if the worker is to keep none."""
    return message[1]


def make_unit(
    number: int,
    values: list[Entry],
    versions: tuple[int, ...],
    definitions: tuple[int, ...],
    primed: tuple[int, ...],
) -> UnitMessage:
    """Return the message with a unit: the values of some names, pickled together.

    Args:
        number: the number of the unit.
        values: a list with one message entry, which has the pickled values.
        versions: the versions of the values.
        definitions: the versions of the values that are functions, classes and the like.
        primed: the versions of values that were sent before, to which the pickle may refer.
    """
    return UNIT, number, values, versions, definitions, primed


def parse_unit(
    message: UnitMessage,
) -> tuple[int, Entry, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return the arguments of `make_unit`; in place of the list `values`, its one entry."""
    _, number, (values,), versions, definitions, primed = message
    return number, values, versions, definitions, primed


def make_needs(spec: int, units: tuple[int, ...], names: tuple[Name, ...]) -> NeedsMessage:
    """Return the message about the global names that the next items of a call need.

    `units` and `names` replace those of the call spec with the number `spec`.
    """
    return NEEDS, spec, units, names


def parse_needs(message: NeedsMessage) -> tuple[int, tuple[int, ...], tuple[Name, ...]]:
    """Return the arguments of `make_needs` from the message that it has made."""
    return message[1:]


def make_forget(units: tuple[int, ...]) -> ForgetMessage:
    """Return the message that a worker can forget units, the pickled values of names."""
    return FORGET, units


def parse_forget(message: ForgetMessage) -> tuple[int, ...]:
    """Return the numbers of the units (pickled values) that the worker can forget."""
    return message[1]


def make_ties(key: bytes | None, tracker: list[Entry]) -> TiesMessage:
    """Return the message with the caller's authentication key and resource tracker.

    Args:
        key: the caller's authentication key, or None.
        tracker: a list: empty, or with one entry, a descriptor of the caller's resource tracker.
    """
    return TIES, key, tracker


def parse_ties(message: TiesMessage) -> tuple[bytes | None, list[Entry]]:
    """Return the arguments of `make_ties` from the message that it has made."""
    return message[1:]


# --- messages from a worker to the caller --------------------------------------------------------

READY = 10
BROKEN = 11
BEGUN = 12
RESULTS = 13
REPORT = 14

# The kinds of reports. OUTPUT and ERRORS have text of stdout and of stderr; LOG has a pickled log
# record; WARNING a pickled warning. FLUSH says that an item has flushed a stream; its one byte,
# OUTPUT or ERRORS, says which.
OUTPUT, ERRORS, LOG, WARNING, FLUSH = 1, 2, 3, 4, 5

if TYPE_CHECKING:
    # The message RESULTS: kind, serial of the chunk, results as `packed` returns them, whether the
    # results are the last of the chunk, seconds that the chunk took (only with the last results),
    # whether the worker is to be replaced, numbers of the arguments' segments that the worker no
    # longer uses; if the call is traced, times: see the module `times`.
    Results: TypeAlias = tuple[int, int, Packed, bool, float, bool, list[int], *tuple[bytes, ...]]
    # The message REPORT: kind of the message, kind of the report, index of the running item in its
    # chunk (None: not known), bytes.
    Report: TypeAlias = tuple[int, int, int | None, bytes]

    ReadyMessage: TypeAlias = tuple[int, int]
    BrokenMessage: TypeAlias = tuple[int, list[Entry]]
    BegunMessage: TypeAlias = tuple[int, int]


def make_ready(pid: int) -> ReadyMessage:
    """Return the message that the worker with the process id `pid` can take chunks."""
    return READY, pid


def parse_ready(message: ReadyMessage) -> int:
    """Return the process id of the worker that the message comes from."""
    return message[1]


def make_broken(failure: list[Entry]) -> BrokenMessage:
    """Return the message that a worker cannot start; `failure` says why (a failure record)."""
    return BROKEN, failure


def parse_broken(message: BrokenMessage) -> list[Entry]:
    """Return the failure record (plain values) that says why the worker cannot start."""
    return message[1]


def make_begun(serial: int) -> BegunMessage:
    """Return the message that an item begins; workers without a result journal send it."""
    return BEGUN, serial


def parse_begun(message: BegunMessage) -> int:
    """Return the number of the chunk whose next item the worker begins to run."""
    return message[1]


# --- messages from a process that is to become a worker or the fork server ------------------------

HELLO = 16
AGAIN = 17

# --- messages from the fork server to the caller --------------------------------------------------

FORKED = 20
FAILED = 21
EXITED = 22
CROWDED = 23

if TYPE_CHECKING:
    # The messages of a process that has just started, and of the fork server. Each has a kind and
    # two numbers.
    StartMessage: TypeAlias = tuple[int, int, int]


def make_hello() -> StartMessage:
    """Return the first message of a new process; it says that the process runs pmap's code."""
    return HELLO, 0, 0


def make_again() -> StartMessage:
    """Return the message that a new process runs the user's program, and becomes no worker."""
    return AGAIN, 0, 0


def make_forked(number: int, pid: int) -> StartMessage:
    """Return the message that worker `number` was started, as process `pid`."""
    return FORKED, number, pid


def parse_forked(message: StartMessage) -> tuple[int, int]:
    """Return the number and the process id of the worker that was started."""
    return message[1:]


def make_failed(number: int, error: int) -> StartMessage:
    """Return the message that worker `number` could not be started; `error` is the `errno`."""
    return FAILED, number, error


def parse_failed(message: StartMessage) -> tuple[int, int]:
    """Return the number of the worker that could not be started, and the `errno`."""
    return message[1:]


def make_exited(pid: int, exitcode: int) -> StartMessage:
    """Return the message that the worker with the process id `pid` has ended."""
    return EXITED, pid, exitcode


def parse_exited(message: StartMessage) -> tuple[int, int]:
    """Return the process id and the exit code of the worker that has ended."""
    return message[1:]


def make_crowded(threads: int) -> StartMessage:
    """Return the message that the fork server, which has `threads` threads, does not fork."""
    return CROWDED, threads, 0


def parse_crowded(message: StartMessage) -> int:
    """Return how many threads the fork server has."""
    return message[1]


# --- requests from the caller to the fork server --------------------------------------------------

# The kinds of requests. Each request has a number: for FORK it is that of a worker, whose socket
# comes along; for KILL, ABORT and TERMINATE a worker's process id; for PREPARE and IMPORT 0. The
# descriptor of a file comes with IMPORT. The file has what the process that imports the script is
# told, as marshal writes it: generation, identity, environment, argv, (path of the script, its
# package or None), streams, configuration of coverage; see `SetUp`. The answers are `Report`
# messages.
FORK, KILL, ABORT, PREPARE, TERMINATE, IMPORT = 0, 1, 2, 3, 4, 5
_REQUEST = struct.Struct("<Bq")
REQUEST_SIZE = _REQUEST.size


def make_request(request: int, number: int) -> bytes:
    """Return the bytes of a request; `number`: see the kinds of requests above."""
    return _REQUEST.pack(request, number)


def parse_request(data: bytes) -> tuple[int, int]:
    """Return the arguments of `make_request` from the bytes that it has made."""
    request, number = _REQUEST.unpack(data)
    return request, number
