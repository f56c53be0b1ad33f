"""Who waits stays awake for a moment: only then, and only where a processor can be spared."""

import gc
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import pytest
from tests.backends import START_METHODS
from tests.items import all_workers_at_once
from tests.limits import TIME_LIMIT
from tests.processes import pids_of

from pmap import Pool, papply, pmap
from pmap._backends import processes as process
from pmap._backends.processes import ProcessBackend
from pmap._transport.adaptive_spin import AdaptiveSpin
from pmap._worker.worker import Worker

Found = TypeVar("Found")


def this_worker() -> tuple[bool, int]:
    """Return whether the worker that runs this may stay awake, and how many waits it will not."""
    [worker] = [one for one in gc.get_objects() if type(one) is Worker]
    return worker._may_spin, worker._spin._asleep


def runs(pid: int) -> list[str]:
    """Return how long each thread of a process has run, and how often."""
    return [path.read_text() for path in sorted(Path(f"/proc/{pid}/task").glob("*/schedstat"))]


@pytest.mark.skipif(sys.platform != "linux", reason="how often a process ran is read from /proc")
@pytest.mark.parametrize("method", START_METHODS)
def test_a_pool_at_rest_does_not_run(method: str) -> None:
    with Pool(2, context=get_context(method)) as pool:
        assert pool.map(abs, [-1] * 100, chunksize=1) == [1] * 100
        for _ in range(50):
            assert pool.apply(abs, (-1,)) == 1  # now both sides expect the next in a moment
        backend = pool._driver.backend
        assert isinstance(backend, ProcessBackend)
        pids = pids_of(backend)
        assert len(pids) == 2
        before = list(map(runs, pids))
        limit = time.monotonic() + TIME_LIMIT
        while True:
            time.sleep(0.2)  # nothing is to happen in this time
            after = list(map(runs, pids))
            if after == before:
                break
            before = after  # it was not at rest yet
            assert time.monotonic() < limit


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each wait of this process that was awake at first found something so."""
    awake = AdaptiveSpin.awake
    found: list[bool] = []

    def watched(
        self: AdaptiveSpin, may: Callable[[], bool], look: Callable[[], Found]
    ) -> Found | None:
        result = awake(self, may, look)
        if may():
            found.append(bool(result))
        return result

    monkeypatch.setattr(AdaptiveSpin, "awake", watched)
    return found


def test_some_small_calls_find_their_caller_awake(
    waits: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "cpu_count", lambda: 2)
    limit = time.monotonic() + TIME_LIMIT
    with Pool(1) as pool:
        # On a busy machine the worker often has no processor just then.
        while not any(waits) and time.monotonic() < limit:
            assert pool.apply(abs, (-1,)) == 1
    assert any(waits)


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("processors", [1, 2])
def test_on_a_single_processor_nobody_stays_awake(
    method: str, processors: int, waits: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "cpu_count", lambda: processors)
    with Pool(1, context=get_context(method)) as pool:
        verb = papply.using(pool=pool)
        for _ in range(5):
            stays_awake, asleep = verb(this_worker)
            assert stays_awake == (processors > 1)
            assert stays_awake or not asleep
    assert bool(waits) == (processors > 1)


class Changing:
    """A worker as the backend knows it, which is joined by another one when it is looked at."""

    def __init__(self, connections: dict[int, object]) -> None:
        self._connections = connections
        self.chunks: list[int] = []

    @property
    def held(self) -> "Changing":
        self._connections[len(self._connections)] = Changing(self._connections)
        return self


def test_workers_may_be_started_while_one_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    # By another thread: the thread that polls does not hold the lock.
    backend = ProcessBackend(None, 2, None, ())
    connections: dict[int, object] = {}
    connections[0] = Changing(connections)
    connections[1] = Changing(connections)
    monkeypatch.setattr(backend, "_connections", connections)
    assert not backend._may_spin()
    assert len(connections) == 4


def test_nobody_stays_awake_where_all_processors_have_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy: list[int] = []
    can = ProcessBackend._may_spin

    def watched(self: ProcessBackend) -> bool:
        answer = can(self)
        work = sum(1 for one in self._connections.values() if one.held.chunks)
        assert answer == (work == 1)
        busy.append(work)
        return answer

    monkeypatch.setattr(process, "cpu_count", lambda: 2)
    monkeypatch.setattr(ProcessBackend, "_may_spin", watched)

    def asked(_: AdaptiveSpin, may: Callable[[], bool], __: object) -> None:
        may()

    monkeypatch.setattr(AdaptiveSpin, "awake", asked)
    with Pool(2) as pool:
        both = pmap.using(pool=pool, chunksize=1)
        assert len(set(both(lambda _: all_workers_at_once(str(tmp_path), 2), range(2)))) == 2
    assert 2 in busy  # both ran at once, and the caller waited
