"""Sentinels: from a process descriptor, from a kqueue, or none."""

import errno
import os
import select
from contextlib import suppress

import pytest

from pmap._backends import boot as _boot
from pmap._backends.poller import comes_within
from pmap._backends.sentinel import sentinel_of


class Kqueue:
    """A kqueue that keeps what it is told, or refuses it; its descriptor is that of a pipe."""

    refusal = 0

    def __init__(self) -> None:
        self.told: list[object] = []
        self.ends = os.pipe()
        self.is_closed = False

    def control(self, changes: list[object], most: int) -> list[object]:
        assert most == 0
        if self.refusal:
            raise OSError(self.refusal, os.strerror(self.refusal))
        self.told += changes
        return []

    def fileno(self) -> int:
        return self.ends[0]

    def close(self) -> None:
        self.is_closed = True
        for end in self.ends:
            with suppress(OSError):
                os.close(end)


def _event(*fields: object) -> tuple[object, ...]:
    return fields


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Kqueue]:
    """The kqueues that are made, on a system that has them and no process descriptors."""
    found: list[Kqueue] = []

    def new() -> Kqueue:
        found.append(Kqueue())
        return found[-1]

    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.setattr(select, "kqueue", new, raising=False)
    monkeypatch.setattr(select, "kevent", _event, raising=False)
    for name in ("FILTER_PROC", "EV_ADD", "NOTE_EXIT"):
        monkeypatch.setattr(select, f"KQ_{name}", name, raising=False)
    return found


def test_a_kqueue_waits_for_the_end_of_the_process(made: list[Kqueue]) -> None:
    sentinel = sentinel_of(123)
    assert sentinel is not None
    (kqueue,) = made
    assert kqueue.told == [(123, "FILTER_PROC", "EV_ADD", "NOTE_EXIT")]
    assert sentinel.fd == kqueue.fileno()
    assert not comes_within(0, sentinel.fd)
    sentinel.close()
    assert kqueue.is_closed


def test_a_process_that_has_ended_already_shows_at_once(
    made: list[Kqueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kqueue, "refusal", errno.ESRCH)
    sentinel = sentinel_of(123)
    assert sentinel is not None
    assert comes_within(0, sentinel.fd)
    assert made[0].is_closed
    sentinel.close()


def test_without_room_for_a_kqueue_there_is_no_sentinel(
    made: list[Kqueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kqueue, "refusal", errno.ENOMEM)
    assert sentinel_of(123) is None
    assert made[0].is_closed


def test_without_any_means_there_is_no_sentinel(
    made: list[Kqueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(select, "kqueue")
    assert sentinel_of(os.getpid()) is None


def test_a_fork_closes_no_kqueue_of_its_parent(
    made: list[Kqueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[object] = []
    monkeypatch.setattr(_boot, "_kept", kept)
    sentinel = sentinel_of(123)
    assert sentinel is not None
    sentinel.after_fork_in_child()
    assert not made[0].is_closed
    assert kept == made  # nor does the fork delete it, which would close it
    made[0].close()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="kqueues: the tests above")
def test_a_fork_closes_its_copy_of_a_process_descriptor() -> None:
    sentinel = sentinel_of(os.getpid())
    assert sentinel is not None
    assert not comes_within(0, sentinel.fd)
    sentinel.after_fork_in_child()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(sentinel.fd)
