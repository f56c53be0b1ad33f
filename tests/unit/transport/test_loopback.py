"""Pairs of sockets as Windows has them, where another process could have connected first."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import TypeAlias

import pytest

from pmap._transport import loopback

Pair: TypeAlias = tuple[socket.socket, socket.socket]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What is closed after the test."""
    with ExitStack() as stack:
        yield stack


def pair_of(opened: ExitStack, strangers: bool) -> Pair:
    """Return a pair over a port of this machine, as Windows does; a stranger may be the first."""
    listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    if strangers:
        opened.enter_context(socket.create_connection(listener.getsockname()))
    one = opened.enter_context(socket.create_connection(listener.getsockname()))
    other, _ = listener.accept()
    return one, opened.enter_context(closing(other))


def test_both_ends_are_each_others(monkeypatch: pytest.MonkeyPatch, opened: ExitStack) -> None:
    monkeypatch.setattr(socket, "socketpair", lambda: pair_of(opened, False))
    one, other = loopback.socketpair()
    one.sendall(b"to the other")
    assert other.recv(100) == b"to the other"
    for end in (one, other):
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_stranger_gets_nothing(monkeypatch: pytest.MonkeyPatch, opened: ExitStack) -> None:
    made: list[Pair] = []

    def make() -> Pair:
        made.append(pair_of(opened, len(made) < 2))
        return made[-1]

    monkeypatch.setattr(socket, "socketpair", make)
    assert loopback.socketpair() == made[2]
    assert all(end.fileno() == -1 for pair in made[:2] for end in pair)


def refuse() -> Pair:
    """Be a newer Python, which checks the pair itself."""
    raise ConnectionError("Unexpected peer connection")


@pytest.mark.parametrize("kind", ["found by us", "found by Python"])
def test_strangers_without_end(
    kind: str, monkeypatch: pytest.MonkeyPatch, opened: ExitStack
) -> None:
    make: Callable[[], Pair] = refuse
    if kind == "found by us":
        make = lambda: pair_of(opened, True)  # noqa: E731
    monkeypatch.setattr(socket, "socketpair", make)
    with pytest.raises(ConnectionError, match="another process connected first"):
        loopback.socketpair()
