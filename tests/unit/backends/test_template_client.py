"""What the caller keeps for the template process: descriptors that are on their way."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pmap._backends import boot as _boot
from pmap._backends.template_client import Template
from pmap._transport.framing import frame
from pmap._transport.light_stdlib import socketpair
from pmap._transport.protocol import make_failed, make_forked

if TYPE_CHECKING:
    from pmap._transport.light_stdlib import socket


class _Process:
    pid = 123
    command: tuple[str, ...] = ()
    exitcode = None

    def kill(self) -> None:
        pass

    def wait(self) -> None:
        pass

    def after_fork_in_child(self) -> None:
        pass


class _Boot:
    by_value = True

    def __init__(self, sock: "socket") -> None:
        self.sock = sock
        self.process = _Process()
        self.lifeline = _boot.Lifeline()


class Stage:
    """A template as the caller sees it, the other end of its socket, and a worker's socket."""

    def __init__(self) -> None:
        ours, self.theirs = socketpair()
        boot: Any = _Boot(ours)
        self.template = Template(boot)
        self.worker, self._other = socketpair()
        self._before = self._open()

    def _open(self) -> int:
        inode = os.fstat(self.worker.fileno()).st_ino
        found = 0
        for fd in range(256):
            try:
                found += os.fstat(fd).st_ino == inode
            except OSError:
                continue
        return found

    def copies(self) -> int:
        """Return how many copies of the worker's socket the caller keeps."""
        return self._open() - self._before

    def close(self) -> None:
        for sock in (self.template.sock, self.theirs, self.worker, self._other):
            sock.close()
        self.template.lifeline.close()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(sys, "platform", "darwin")
    made = Stage()
    yield made
    made.close()


def test_a_socket_is_kept_until_the_template_has_it(stage: Stage) -> None:
    stage.template.start(1, stage.worker)
    stage.template.start(2, stage.worker)
    assert stage.copies() == 2
    stage.theirs.sendall(frame(make_forked(1, 1001)))
    assert stage.template.read() == []
    assert stage.copies() == 1
    stage.theirs.sendall(frame(make_failed(2, 11)))
    assert stage.template.read() == [2]
    assert stage.copies() == 0


@pytest.mark.parametrize("end", ["lost", "closed", "forked"])
def test_nothing_is_kept_after_the_end_of_the_template(stage: Stage, end: str) -> None:
    stage.template.start(1, stage.worker)
    stage.theirs.close()
    if end == "lost":
        assert stage.template.read() == []
    elif end == "closed":
        stage.template.close()
    else:
        stage.template.after_fork_in_child()
    assert stage.copies() == 0


def test_linux_needs_no_copy(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    stage.template.start(1, stage.worker)
    assert stage.copies() == 0


def test_without_a_descriptor_for_the_copy_the_request_is_sent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "dup", refuse)
    stage.template.start(1, stage.worker)
    assert stage.copies() == 0
    assert stage.theirs.recv(100)
