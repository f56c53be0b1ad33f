"""A connection: which states it goes through, and what it says of its worker's end."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
from tests.states import WatchedState

from pmap._backends import connection_states as states
from pmap._backends.connection import Connection
from pmap._backends.launch import StartedProcess
from pmap._backends.outbox import Outbox
from pmap._backends.poller import Poller
from pmap._backends.protocol import WorkerStarted
from pmap._transport import protocol
from pmap._transport.by_value.baseline import Baseline
from pmap._transport.environment import capture_environment, current_directory
from pmap._transport.failure_record import capture
from pmap._transport.framing import FrameReader, frame
from pmap._transport.light_stdlib import socket, socketpair
from pmap._transport.segment_pool import FreeSegments, LentSegments


class FakeProcess:
    """A worker's process that there is not."""

    sentinel: int | None = None
    failure = ""
    hopeless = False

    def __init__(self) -> None:
        self.pid: int | None = None
        self.ends: list[str] = []

    def set_pid(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        self.ends.append("kill")

    def abort(self) -> None:
        self.ends.append("abort")

    def terminate(self) -> None:
        self.ends.append("terminate")

    def reap(self) -> tuple[bool, int | None]:
        return True, 0

    def is_surely_python(self) -> bool:
        return False

    def release(self) -> None:
        self.ends.append("release")

    def after_fork_in_child(self) -> None:
        self.ends.append("after_fork_in_child")

    def abandon(self) -> None:
        self.ends.append("abandon")


@dataclass
class Wired:
    """A connection with both ends of its socket here."""

    connection: Connection
    process: FakeProcess
    worker: socket
    poller: Poller[Connection]
    to_flush: dict[int, Outbox] = field(default_factory=dict[int, Outbox])


@pytest.fixture(name="changes")
def _changes(monkeypatch: pytest.MonkeyPatch) -> WatchedState:
    watched = WatchedState()
    monkeypatch.setattr(Connection, "state", watched, raising=False)
    return watched


@pytest.fixture(name="wired")
def _wired(changes: WatchedState) -> Iterator[Wired]:
    wired = wire()
    yield wired
    unwire(wired)


def wire() -> Wired:
    ours, theirs = socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    process, poller = FakeProcess(), Poller[Connection]()
    to_flush: dict[int, Outbox] = {}
    connection = Connection(
        7,
        1,
        StartedProcess(ours, process, None),
        Baseline(),
        capture_environment(current_directory()),
        LentSegments(FreeSegments(), 0, 0),
        poller,
        to_flush,
    )
    return Wired(connection, process, theirs, poller, to_flush)


def unwire(wired: Wired) -> None:
    wired.connection.close()
    wired.worker.close()
    wired.poller.close()


HELLO: Final = frame(protocol.make_hello())
NO_PROCESS: Final = 2**22 + 11  # Linux gives no process a number above 2**22
READY: Final = frame(protocol.make_ready(NO_PROCESS))
AGAIN: Final = frame(protocol.make_again())
BROKEN: Final = frame(protocol.make_broken(capture(ValueError("no"))))
GARBAGE: Final = b"something else\n" * 10
END: Final = b""  # of the socket
GIVE_UP: Final = "give up"
LET_GO: Final = "let go"

S, A, R, L, F, H = range(len(states.NAMES))
LIVES: Final[dict[str, tuple[Sequence[bytes | str], list[int]]]] = {
    "its end": ([HELLO, READY, END], [S, A, R, H]),
    "no hello": ([READY, END], [S, A, R, H]),
    "never a Python": ([END], [S, H]),
    "dead in the initializer": ([HELLO, END], [S, A, H]),
    "no answer": ([GIVE_UP], [S, F, H]),
    "no Python": ([GARBAGE], [S, F, H]),
    "ran the program again": ([AGAIN, END], [S, A, F, H]),
    "initializer failed": ([HELLO, BROKEN, END], [S, A, F, H]),
    "garbage": ([READY, GARBAGE], [S, A, R, F, H]),
    "interpreter ends": ([READY, LET_GO, END], [S, A, R, L, H]),
    "garbage at the end": ([READY, LET_GO, GARBAGE], [S, A, R, L, F, H]),
}


def live(wired: Wired, events: Sequence[bytes | str]) -> list[object]:
    """Let a worker's end of the socket do what is said; return the events of the caller's."""
    told: list[object] = []
    for event in events:
        if event == GIVE_UP:
            wired.connection.give_up("nothing came")
        elif event == LET_GO:
            wired.connection.let_go()
        elif event == END:
            wired.worker.close()
        else:
            assert isinstance(event, bytes)
            wired.worker.send(event)
        told += wired.connection.receive()
    return told


@pytest.mark.parametrize("name", LIVES)
def test_a_connection_goes_through_its_states(
    name: str, wired: Wired, changes: WatchedState
) -> None:
    events, path = LIVES[name]
    told = live(wired, events)
    assert [after for _, after in changes.changes] == path
    assert not changes.unknown(states.STARTING, states.TRANSITIONS)
    assert wired.connection.reached == path[-2]
    assert told == ([WorkerStarted(7, False, False)] if R in path else [])


def test_each_transition_of_the_table_is_seen(changes: WatchedState) -> None:
    for events, _ in LIVES.values():
        wired = wire()
        live(wired, events)
        unwire(wired)
    table = states.TRANSITIONS
    assert changes.seen() == {(before, after) for before in table for after in table[before]}


@pytest.mark.parametrize(
    ("name", "reason", "hopeless"),
    [
        ("its end", "", False),
        ("interpreter ends", "", False),
        ("dead in the initializer", "the process exited with code 3 before it was ready", False),
        ("initializer failed", "the initializer raised ValueError: no", False),
        ("garbage", "something in it wrote into its connection", False),
        ("garbage at the end", "something in it wrote into its connection", False),
        ("no answer", "nothing came", True),
        ("ran the program again", "ran the program again", True),
        ("never a Python", "did not answer as a Python: it exited with code 3", True),
    ],
)
def test_a_connection_says_why_a_worker_could_not_start(
    name: str, reason: str, hopeless: bool, wired: Wired
) -> None:
    live(wired, LIVES[name][0])
    last = wired.connection.last_event(0, 3, True, "too large")
    assert (last.worker, last.exitcode) == (7, 3)
    assert reason in last.reason
    assert bool(last.reason) == bool(reason)
    assert last.hopeless == hopeless


def test_the_first_reason_stays(wired: Wired) -> None:
    live(wired, [HELLO, BROKEN, GARBAGE])
    last = wired.connection.last_event(0, None, False, "")
    assert last.reason == "the initializer raised ValueError: no"
    assert isinstance(last.cause, ValueError)


def test_a_worker_that_closes_its_socket_and_lives_on_has_lost_its_connection(
    wired: Wired,
) -> None:
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("only Linux tells whether a process lives")
    live(wired, [READY])
    wired.process.pid = os.getpid()
    live(wired, [END])
    assert "lost its connection" in wired.connection.last_event(0, None, False, "").reason


def test_an_outbox_waits_for_a_worker_that_takes_no_more(wired: Wired) -> None:
    outbox, reader = wired.connection.outbox, FrameReader()
    messages = [protocol.make_drop(number) for number in range(20_000)]
    for message in messages:
        outbox.write(frame(message))
    arrived: list[object] = []
    for _ in range(1000):
        while wired.to_flush:
            wired.to_flush.popitem()[1].flush()
        outbox.flush()
        try:
            arrived += reader.feed(wired.worker.recv(1 << 20))
        except BlockingIOError:
            break
    assert arrived == messages
    # The socket was full in between; the poller is not asked to tell of room any more.
    assert not wired.poller.poll(0)


def test_what_is_written_later_goes_along_with_the_next_message(wired: Wired) -> None:
    outbox = wired.connection.outbox
    outbox.write_later(frame(protocol.make_forget((1, 2))))
    assert not wired.to_flush
    outbox.write(frame(protocol.make_quit()))
    assert wired.to_flush == {7: outbox}
    outbox.flush()
    sent = [*FrameReader().feed(wired.worker.recv(1 << 16))]
    assert sent == [protocol.make_forget((1, 2)), protocol.make_quit()]
