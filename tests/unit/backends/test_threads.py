"""What the threads backend tells of an item that ends at the moment when it is given up."""

import random
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

import pytest

from pmap._backends.in_process import run_chunk
from pmap._backends.protocol import BackendEvent, ResultsArrived, WorkerEnded, WorkerStarted
from pmap._backends.threads import ThreadBackend, has_gil
from pmap._calls.call import Call, Kind
from pmap._jobs.work import Work
from pmap._scheduling.run_rules import RunRules


def begin(function: Callable[[int], object], items: Sequence[int]) -> ThreadBackend:
    """Return a backend whose worker 0 has a chunk with a time limit."""
    backend = ThreadBackend(None, ())
    backend.start(0)
    assert backend.collect(backend.poll(None)) == [WorkerStarted(0, one_ahead=not has_gil())]
    work = Work(1, Call("pmap", function, Kind.EACH, items, RunRules(timeout=60.0)))
    backend.send(0, work, 0, len(items), 1)
    return backend


def until_the_end(backend: ThreadBackend) -> tuple[list[object], WorkerEnded]:
    """Return the results that are told, and how the end of the worker is told."""
    results: list[object] = []
    while True:
        events: list[BackendEvent] = backend.collect(backend.poll(None))
        for event in events:
            if isinstance(event, ResultsArrived):
                results += event.values
            elif isinstance(event, WorkerEnded):
                assert event is events[-1], "nothing is told of a worker that has ended"
                return results, event


class Gate:
    """A function that says when it has begun, and returns when it may."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.calls = 0

    def __call__(self, item: int) -> int:
        self.calls += 1
        self.begun.set()
        self.may_end.wait()
        return item


def thread_of(backend: ThreadBackend) -> threading.Thread:
    thread = backend._threads[0].thread
    assert thread is not None
    return thread


def test_an_item_that_is_done_after_it_was_given_up_is_lost_and_not_run_again() -> None:
    gate = Gate()
    backend = begin(gate, [7])
    gate.begun.wait()
    late = backend.check_deadline(0, 0.0)
    assert late is not None
    assert late[1]
    backend.abort(0)
    thread = thread_of(backend)
    gate.may_end.set()
    thread.join()  # the item is done before anybody has asked for the events
    results, end = until_the_end(backend)
    # `begun` is what keeps the scheduler from giving the item to another worker.
    assert (results, end.begun) == ([], 1)


def test_an_item_that_is_done_before_it_is_given_up_has_its_result() -> None:
    gate = Gate()
    backend = begin(gate, [7, 8])
    gate.begun.wait()
    assert backend.check_deadline(0, 0.0) is not None
    item = backend._threads[0].item
    thread = thread_of(backend)
    item.pop()  # the thread does so when its item is done, and has told nothing yet
    backend.abort(0)
    item.append(0.0)
    gate.may_end.set()
    thread.join()
    results, end = until_the_end(backend)
    assert (results, end.begun, gate.calls) == ([7], 0, 1)


@pytest.mark.parametrize("locked", [True, False])
def test_the_stack_of_a_thread_is_read_only_if_no_other_thread_can_run(
    monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: locked, raising=False)
    gate = Gate()
    backend = begin(gate, [7])
    gate.begun.wait()
    thread = thread_of(backend)
    frames = sys._current_frames
    read: list[bool] = []

    def current_frames() -> dict[int, FrameType]:
        read.append(True)
        return frames()

    monkeypatch.setattr(sys, "_current_frames", current_frames)
    backend.abort(0)
    gate.may_end.set()
    thread.join()
    _, end = until_the_end(backend)
    assert bool(read) == locked == bool(end.stack)


def test_whenever_it_is_given_up_an_item_is_told_once() -> None:
    choices = random.Random(19)
    for _ in range(300):
        ran: list[int] = []
        items = range(20)
        backend = begin(ran.append, items)
        while choices.random() < 0.9 and len(ran) < len(items):
            pass
        thread = thread_of(backend)
        backend.abort(0)
        thread.join()
        results, end = until_the_end(backend)
        # The item that is given up has begun, or would have begun at this moment.
        assert len(results) <= len(ran) <= len(results) + end.begun
        assert end.begun in {0, 1}


@pytest.mark.parametrize("gil", [True, False])
def test_a_chunk_is_sent_ahead_where_threads_can_take_all_processors(
    gil: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: gil, raising=False)
    backend = ThreadBackend(None, ())
    backend.start(0)
    assert backend.collect(backend.poll(None)) == [WorkerStarted(0, one_ahead=not gil)]
    backend.end()


class WatchedWork(Work):
    """A call of which all uses are counted."""

    uses = 0

    def __getattribute__(self, name: str) -> object:
        WatchedWork.uses += 1
        return super().__getattribute__(name)


@pytest.mark.parametrize("rules", [RunRules(), RunRules(collect=True), RunRules(seed=1)])
@pytest.mark.parametrize(("kind", "item"), [(Kind.EACH, 1), (Kind.STAR, (1,))])
def test_what_threads_share_is_used_once_per_chunk(
    rules: RunRules, kind: Kind, item: object
) -> None:
    # Without the GIL threads take turns to use an object that another thread has made.
    uses: list[int] = []

    def run(count: int) -> None:
        before = WatchedWork.uses
        assert run_chunk(0, work, 0, items[:count], lambda: True, []).values == [1] * count
        uses.append(WatchedWork.uses - before)

    items = [item] * 100
    work = WatchedWork(1, Call("pmap", abs, kind, items, rules))
    for count in (2, 100):
        thread = threading.Thread(target=run, args=(count,))
        thread.start()
        thread.join()
    assert uses[0] == uses[1] > 0


def test_an_item_costs_four_calls_beside_its_own() -> None:
    calls = 0
    counts: list[int] = []

    def note(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    def run(count: int) -> None:
        before = calls
        sys.setprofile(note)
        try:
            finished = run_chunk(0, work, 0, items[:count], lambda: True, [])
        finally:
            sys.setprofile(None)
        assert len(finished.values) == count
        counts.append(calls - before)

    items = [1] * 100
    work = Work(1, Call("pmap", abs, Kind.EACH, items, RunRules()))
    for count in (50, 100):
        thread = threading.Thread(target=run, args=(count,))
        thread.start()
        thread.join()
    # To copy the context, to run in it, to keep the result, to ask whether to go on.
    assert counts[1] - counts[0] == 50 * 4
