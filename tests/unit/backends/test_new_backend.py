"""A backend that is written from the docstring of `Backend` alone keeps the laws."""

import inspect
import threading
from collections.abc import Iterator
from typing import Final

import pytest
from tests.leaks import end_shared_pools

from pmap import papply, pmap
from pmap._backends import serial
from pmap._backends.in_process import run_chunk
from pmap._backends.protocol import Backend, BackendEvent, WorkerEnded, WorkerStarted
from pmap._jobs.work import Work


class InlineBackend(Backend[bool]):
    """Runs each chunk within `poll`, by the methods that have no default."""

    runs_in_poll = True

    def __init__(self) -> None:
        self._chunks: list[tuple[int, Work, int, int]] = []
        self._events: list[BackendEvent] = []
        self._news = threading.Event()

    def start(self, worker: int) -> None:
        self._tell(WorkerStarted(worker, can_reclaim_chunks=False))

    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        self._chunks.append((worker, work, start, stop))
        self.wake()

    def stop(self, worker: int) -> None:
        self._tell(WorkerEnded(worker, begun=0))

    def kill(self, worker: int) -> None:
        self._chunks = [chunk for chunk in self._chunks if chunk[0] != worker]
        self._tell(WorkerEnded(worker, begun=0))

    def poll(self, timeout: float | None) -> bool:
        self._news.wait(timeout)
        self._news.clear()
        while self._chunks:
            worker, work, start, stop = self._chunks.pop(0)
            items = work.call.items[start:stop]
            self._tell(run_chunk(worker, work, start, items, lambda: True, []))
        return True

    def collect(self, polled: bool) -> list[BackendEvent]:
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        self._news.set()

    def end(self) -> None:
        self._chunks.clear()
        self._events.clear()

    def _tell(self, event: BackendEvent) -> None:
        self._events.append(event)
        self.wake()


MOST_LINES: Final = 50


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[InlineBackend]]:
    """Put the backend in the place of the serial one; return those that were made."""
    made: list[InlineBackend] = []

    def make(*given: object) -> InlineBackend:
        made.append(InlineBackend())
        return made[-1]

    monkeypatch.setattr(serial, "SerialBackend", make)
    end_shared_pools()  # those with the usual one
    yield made
    end_shared_pools()


def test_it_defines_what_is_abstract_and_nothing_else() -> None:
    public = {name for name in vars(InlineBackend) if not name.startswith("_")}
    abstract: frozenset[str] = Backend.__abstractmethods__
    assert public - {"runs_in_poll"} == abstract
    assert len(inspect.getsource(InlineBackend).splitlines()) <= MOST_LINES


@pytest.mark.parametrize("chunksize", [None, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_map_is_map(count: int, chunksize: int | None, made: list[InlineBackend]) -> None:
    items = range(-count, 0)
    verb = pmap.using(backend="serial", chunksize=chunksize)
    assert list(verb(abs, items)) == [*map(abs, items)]
    assert list(verb.iter(abs, iter(items))) == [*map(abs, items)]
    assert len(made) == 1


def test_calls_run_one_after_another() -> None:
    verb = papply.using(backend="serial")
    assert [verb(divmod, number, 3) for number in range(20)] == [divmod(n, 3) for n in range(20)]


def inverse(number: int) -> float:
    return 1 / number


def test_the_first_failure_ends_a_call_and_not_the_pool(made: list[InlineBackend]) -> None:
    verb = pmap.using(backend="serial")
    with pytest.raises(ZeroDivisionError):
        verb(inverse, [1, 0, 2])
    assert list(verb(inverse, [1, 2])) == [1.0, 0.5]
    assert len(made) == 1


def test_a_stream_that_is_left_leaves_the_pool_usable(made: list[InlineBackend]) -> None:
    verb = pmap.using(backend="serial")
    with verb.iter(abs, iter(range(1000))) as results:
        assert next(results) == 0
    assert list(verb(abs, [-1])) == [1]
    assert len(made) == 1
