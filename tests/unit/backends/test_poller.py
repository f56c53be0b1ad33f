"""Waiting for several sockets, with what Linux has and with what other systems have."""

import os
import select
import selectors
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from socket import socketpair

import pytest
from tests.limits import TIME_LIMIT

from pmap._backends import boot as _boot
from pmap._backends import poller as _poller
from pmap._backends.poller import READABLE, WRITABLE, Poller, comes_within

KERNELS = ["selectors", *(["epoll"] if sys.platform == "linux" else [])]


@pytest.fixture(params=KERNELS)
def poller(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Poller[str]]:
    if request.param == "selectors":
        monkeypatch.setattr(_poller, "_kernel", _poller._Selected)
    made = Poller[str]()
    yield made
    made.close()


def ready(poller: Poller[str], timeout: float | None = 0) -> list[tuple[str | None, bool, bool]]:
    found = poller.poll(timeout)
    return [(one.source, bool(event & READABLE), bool(event & WRITABLE)) for one, event in found]


def test_it_tells_whose_socket_has_something(poller: Poller[str]) -> None:
    ours, theirs = socketpair()
    others = socketpair()
    with ours, theirs, others[0], others[1]:
        poller.watch(ours, "one")
        poller.watch(others[0], "other")
        assert ready(poller) == []
        theirs.send(b"x")
        assert ready(poller, None) == [("one", True, False)]
        others[1].send(b"x")
        assert ready(poller, 1) in (
            [("one", True, False), ("other", True, False)],
            [("other", True, False), ("one", True, False)],
        )
        poller.unwatch(ours)
        assert ready(poller) == [("other", True, False)]
        poller.unwatch(ours)  # again, as where a signal has struck between the two
        poller.unwatch(others[0])
        assert ready(poller) == []


def test_it_tells_of_the_end(poller: Poller[str]) -> None:
    ours, theirs = socketpair()
    with ours:
        poller.watch(ours, "one")
        theirs.close()
        (one,) = ready(poller, 1)
        assert one[:2] == ("one", True)


def test_it_tells_when_more_can_be_written_only_where_that_is_wanted(poller: Poller[str]) -> None:
    ours, theirs = socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        poller.watch(ours, "one")
        with suppress(BlockingIOError):
            while True:
                ours.send(bytes(1 << 16))
        poller.watch_writing(ours, True)
        assert ready(poller) == []
        with suppress(BlockingIOError):
            while True:
                theirs.recv(1 << 20)
        assert ready(poller) == [("one", False, True)]
        poller.watch_writing(ours, False)
        assert ready(poller) == []


def test_another_thread_ends_the_wait(poller: Poller[str]) -> None:
    thread = threading.Thread(target=poller.wake)
    thread.start()
    assert ready(poller, None) == [(None, True, False)]
    thread.join()
    for _ in range(1 << 10):  # more than fit: one is enough
        poller.wake()
    while ready(poller):
        poller.quiet()
    poller.quiet()
    assert ready(poller) == []


@pytest.mark.skipif(sys.platform == "win32", reason="a socket is no descriptor there")
@pytest.mark.parametrize("which", [0, 1])
def test_it_notices_that_its_descriptors_are_not_its_own(which: int) -> None:
    poller = Poller[str]()
    assert not poller.has_lost_descriptors()
    fd = poller._wakers[which].fileno()
    ours, theirs = socketpair()
    os.dup2(theirs.fileno(), fd)
    try:
        assert poller.has_lost_descriptors()
        poller.abandon()
        kernel = _boot._kept.pop()
        assert kernel is poller._kernel
        poller._kernel.close()
        assert os.fstat(fd).st_ino == os.fstat(theirs.fileno()).st_ino  # it is not closed
        assert [end.fileno() for end in poller._wakers] == [-1, -1]
    finally:
        os.close(fd)
        ours.close()
        theirs.close()


def test_what_comes_within_a_time() -> None:
    ours, theirs = socketpair()
    with ours:
        assert not comes_within(0, ours)
        theirs.send(b"x")
        assert comes_within(60, ours)
        assert ours.recv(1) == b"x"
        theirs.close()
        assert comes_within(60, ours.fileno())


def test_a_fork_does_not_close_a_kqueue(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []
    monkeypatch.setattr(_boot, "_kept", kept)
    monkeypatch.setattr(_poller, "_kernel", _poller._Selected)
    monkeypatch.setattr(select, "kqueue", object, raising=False)
    made = Poller[str]()
    selector = vars(made._kernel)["_selector"]
    made.after_fork_in_child()
    assert kept == [selector]
    assert selector.get_map() is not None  # it is open: nothing was closed
    selector.close()


def test_a_fork_closes_what_it_has_of_a_poller(poller: Poller[str]) -> None:
    ends = [end.fileno() for end in poller._wakers]
    poller.after_fork_in_child()
    for fd in ends:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    with pytest.raises((ValueError, RuntimeError)):
        poller._kernel.register(0, READABLE)


class Late(selectors.SelectSelector):
    """A selector that waits with what was registered when the wait began."""

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.changed = threading.Event(), threading.Event()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        before = [*self.get_map().values()]
        self.waits.set()
        assert self.changed.wait(TIME_LIMIT)
        fds = [key.fd for key in before]
        found = select.select(fds, [], [], timeout)[0]
        return [(key, selectors.EVENT_READ) for key in before if key.fd in found]


@pytest.mark.parametrize("change", ["watch", "watch_writing"])
def test_select_is_woken_when_there_is_more_to_watch(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_poller, "_kernel", _poller._Selected)
    monkeypatch.setattr(selectors, "DefaultSelector", Late)
    poller = Poller[str]()
    late = getattr(poller._kernel, "_selector")  # noqa: B009  # the kernel's type is a protocol
    ours, theirs = socketpair()
    found: list[object] = []
    with ours, theirs:
        if change == "watch_writing":
            poller.watch(ours, "one")
            poller.quiet()
        thread = threading.Thread(target=lambda: found.extend(poller.poll(TIME_LIMIT)))
        thread.start()
        assert late.waits.wait(TIME_LIMIT)
        if change == "watch":
            poller.watch(ours, "one")
        else:
            poller.watch_writing(ours, True)
        late.changed.set()
        thread.join(TIME_LIMIT)
        assert found
    poller.close()
