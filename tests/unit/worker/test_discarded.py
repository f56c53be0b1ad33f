"""Chunks that the caller discards while they wait in a worker: the worker does not run them."""

from collections.abc import Iterator, Sequence
from socket import socketpair
from typing import TYPE_CHECKING

import pytest

from pmap._transport import protocol
from pmap._transport.framing import FrameReader, frame
from pmap._transport.light_stdlib import socket
from pmap._worker import worker as _worker
from pmap._worker.function import ReceivedSpec
from pmap._worker.worker import Worker

if TYPE_CHECKING:
    from pmap._transport.packing import Entry

SPEC = 7  # the number of the call spec that the worker knows


class Noting(Worker):
    """A worker that notes which chunks it runs, and runs none of their items."""

    def __init__(self, sock: socket) -> None:
        super().__init__(sock)
        environment = self._last_environment
        rules = True, True, False, None, None, True
        self._specs[SPEC] = ReceivedSpec([], (), (), [], environment, *rules)
        self.run_serials: list[int] = []

    def _run_chunk(
        self, spec: ReceivedSpec, serial: int, entries: "Sequence[Entry]", step: int, start: int
    ) -> None:
        self.run_serials.append(serial)

    def serve(self) -> None:
        """Take in what has been sent, and do all of it."""
        assert self._receive()
        while self._inbox:
            message = self._inbox.popleft()
            if message[0] == protocol.CHUNK:
                self._on_chunk(message)
            else:
                self._on_message(message)


@pytest.fixture
def ends() -> Iterator[tuple[socket, socket]]:
    """The caller's end of a worker's socket, and the worker's."""
    ours, theirs = socketpair()
    with ours, theirs:
        yield ours, theirs


def chunk(serial: int) -> bytes:
    message: protocol.Chunk = protocol.CHUNK, SPEC, serial, [serial], 0, 0
    return frame(message)


def empty_answers(ours: socket) -> list[int]:
    """Return the numbers of the chunks for which the worker has sent no results."""
    found = [*FrameReader().feed(ours.recv(1 << 16))]
    return [message[1] for message in found if message[0] == protocol.RESULTS and not message[2]]


def test_chunks_are_discarded_that_wait_with_the_message(ends: tuple[socket, socket]) -> None:
    ours, theirs = ends
    worker = Noting(theirs)
    discard = frame(protocol.make_discard([1, 2, 4]))
    ours.sendall(chunk(1) + chunk(2) + chunk(3) + chunk(4) + discard + chunk(5))
    worker.serve()
    assert worker.run_serials == [3, 5]
    assert empty_answers(ours) == [1, 2, 4]


def test_a_message_is_found_that_comes_while_chunks_wait(
    ends: tuple[socket, socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = ends

    class Late(Noting):
        def _run_chunk(
            self, spec: ReceivedSpec, serial: int, entries: "Sequence[Entry]", step: int, start: int
        ) -> None:
            super()._run_chunk(spec, serial, entries, step, start)
            if serial == 1:
                ours.sendall(frame(protocol.make_discard([1, 3])))

    monkeypatch.setattr(_worker, "_MOMENT", -1.0)  # each chunk comes a moment after the last look
    worker = Late(theirs)
    ours.sendall(chunk(1) + chunk(2) + chunk(3))
    worker.serve()
    assert worker.run_serials == [1, 2]
    assert empty_answers(ours) == [3]


def test_numbers_of_chunks_that_have_had_their_turn_are_forgotten(
    ends: tuple[socket, socket],
) -> None:
    ours, theirs = ends
    worker = Noting(theirs)
    for serial in (1, 2):
        ours.sendall(chunk(serial) + frame(protocol.make_discard([serial, 0])))
        worker.serve()
        assert not worker._discarded
    assert not worker.run_serials
