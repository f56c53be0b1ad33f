"""What is pending: in which order those who wait hear of its end, and what its lock allows."""

import gc
import sys
import threading
from collections.abc import Iterator
from functools import partial
from types import FrameType

import pytest
from tests.watched_states import Watch, transitions_of

from pmap._jobs import pending as _pending
from pmap._jobs.pending import Pending


class Plain(Pending):
    """Something that is over when somebody says so."""

    @property
    def name(self) -> str:
        return "plain"


@pytest.fixture
def watch() -> Iterator[Watch]:
    """See that what is pending goes over to the states of the table only."""
    watch = Watch(Pending, "_state", _pending)
    yield watch
    watch.end()
    assert not watch.wrong


@pytest.mark.usefixtures("watch")
def test_callbacks_run_in_order_and_before_those_who_follow() -> None:
    pending = Plain()
    heard: list[str] = []
    for number in range(3):
        pending.when_settled(partial(heard.append, f"told {number}"))
        pending.when_over(partial(heard.append, f"over {number}"))
    assert not heard
    pending.settle()
    assert heard == ["over 0", "over 1", "over 2", "told 0", "told 1", "told 2"]
    pending.settle()
    assert len(heard) == 6
    pending.when_over(lambda: heard.append("late"))
    pending.when_settled(lambda: heard.append("later"))
    assert heard[6:] == ["late", "later"]


@pytest.mark.usefixtures("watch")
def test_what_comes_while_the_callbacks_run() -> None:
    pending = Plain()
    heard: list[str] = []

    def callback() -> None:
        assert pending.over  # for this thread
        pending.when_over(lambda: heard.append("over"))
        pending.when_settled(lambda: heard.append("told"))
        assert heard == ["over", "told"]
        other.start()
        other.join()
        assert heard == ["over", "told", "over there"]

    def elsewhere() -> None:
        assert not pending.over
        pending.when_over(lambda: heard.append("over there"))  # no callback comes any more
        pending.when_settled(lambda: heard.append("told there"))

    other = threading.Thread(target=elsewhere)
    pending.when_over(callback)
    pending.settle()
    assert heard == ["over", "told", "over there", "told there"]


def test_all_transitions_of_the_table_are_needed(watch: Watch) -> None:
    for fork in (False, True):
        pending = Plain()
        if fork:
            pending.after_fork_in_child(OSError())
        pending.settle()
        assert pending.over
    pending = Plain()
    pending.when_over(lambda: pending.after_fork_in_child(OSError()))  # in a callback that forks
    pending.settle()
    assert isinstance(pending.error, OSError)
    assert watch.seen == transitions_of(_pending)


class Watched:
    """A lock that notes what runs in its thread while it is held."""

    def __init__(self, calls: bool) -> None:
        self._lock = threading.Lock()
        self._calls = calls  # or else collections: to note calls makes frames
        self._own = {
            method.__code__ for method in (Watched.__enter__, Watched.__exit__, Watched.collected)
        }
        self.held = 0
        self.inside = False
        self.seen: list[str] = []

    def __enter__(self) -> None:
        self._lock.acquire()
        self.held += 1
        if self._calls:
            sys.setprofile(self._note)
        self.inside = True

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.inside = False
        sys.setprofile(None)
        self._lock.release()

    def _note(self, frame: FrameType, event: str, arg: object) -> None:
        if event in ("call", "c_call") and self.inside and frame.f_code not in self._own:
            self.seen.append(f"{event} {arg or frame.f_code.co_qualname}")

    def collected(self, phase: str, info: object) -> None:
        if self.inside:
            self.seen.append(f"garbage collected: {phase}")


@pytest.fixture(params=["calls", "collections"])
def lock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    watched = Watched(calls=request.param == "calls")
    monkeypatch.setattr(_pending, "_lock", watched)
    before = gc.get_threshold()
    if request.param == "collections":
        gc.callbacks.append(watched.collected)
        gc.set_threshold(1)  # whatever makes a container collects garbage
    yield watched
    gc.set_threshold(*before)
    if watched.collected in gc.callbacks:
        gc.callbacks.remove(watched.collected)


def test_nothing_is_called_or_made_under_the_lock(lock: Watched) -> None:
    # Else a signal's handler or a finaliser may run there, which waits for what this thread holds.
    pending = Plain()
    for _ in range(3):
        pending.when_over(lambda: None)
        pending.when_settled(lambda: None)
        assert not pending.wait(0)
    pending.when_over(lambda: pending.when_over(lambda: None))
    pending.when_over(lambda: pending.when_settled(lambda: None))
    pending.settle()
    assert pending.wait()
    pending.when_over(lambda: None)
    pending.when_settled(lambda: None)
    pending.settle()
    assert lock.held >= 17
    assert not lock.seen
