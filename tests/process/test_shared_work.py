"""Who gets what waits behind an item, and which chunks travel together."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from tests.limits import TIME_LIMIT, until

from pmap import Failure, Pool, WorkerLost, failed, pmap
from pmap._backends.held_chunks import HeldChunks
from pmap._backends.processes import ProcessBackend
from pmap._backends.protocol import ResultsArrived
from pmap._backends.sent_chunk import SentChunk
from pmap._scheduling.chunk_sizes import _FEW_TOGETHER, _MOST_TOGETHER

if TYPE_CHECKING:
    from pmap._jobs.work import Work
    from pmap._types import StartMethod

ITEMS: Final = 4000
SLOW: Final = 1500  # the item that waits for others, when it is known that they are quick


def note(path: str, x: int) -> None:
    """Note in a file that an item has begun: two bytes each, by its number."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, x.to_bytes(2, "big"))
    os.close(file)


def noted(path: str) -> list[int]:
    """Return which items have begun, in their order."""
    data = Path(path).read_bytes()
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def wait_for_the_others(path: str, left: int, x: int) -> int:
    """Note an item; `SLOW` ends only when all but `left` have begun."""
    note(path, x)
    if x == SLOW:
        until(lambda: os.stat(path).st_size // 2 >= ITEMS - left)
    return x


def die_at(path: str, fatal: int, x: int) -> int:
    """Note an item; at one of them the worker dies."""
    note(path, x)
    if x == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.fixture(name="sent")
def _sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items each message carried."""
    sent: list[int] = []
    send = ProcessBackend.send

    def counted(
        self: ProcessBackend, worker: int, work: "Work", start: int, stop: int, together: int
    ) -> None:
        sent.append(stop - start)
        send(self, worker, work, start, stop, together)

    monkeypatch.setattr(ProcessBackend, "send", counted)
    return sent


def test_less_and_less_of_a_chunk_is_kept() -> None:
    sent = SentChunk(1, cast("Work", None), 0, items=10, size=1000)
    kept: list[tuple[int, int]] = []
    for items in (10, 4, 0, 0):
        sent.keep(items)
        kept.append((sent.items, sent.size))
    assert kept == [(10, 1000), (4, 400), (0, 0), (0, 0)]


@pytest.mark.parametrize("chunksize", [None, 1, 1000])
def test_what_waits_in_the_chunk_of_a_slow_item_is_run_by_others(
    chunksize: int | None, tmp_path: Path, start_method: "StartMethod"
) -> None:
    path = str(tmp_path / "begun")
    left = {None: _MOST_TOGETHER, 1: 1, 1000: _FEW_TOGETHER}[chunksize]
    run = pmap.using(processes=2, start_method=start_method, chunksize=chunksize)
    assert run(partial(wait_for_the_others, path, left), range(ITEMS)) == [*range(ITEMS)]
    assert sorted(noted(path)) == [*range(ITEMS)], "one was run twice, or not at all"


def test_what_was_taken_back_does_not_count_as_carried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the next chunks would be small, for items that seem to be large."""
    sizes: list[float] = []
    finish = HeldChunks.finish

    def weighed(self: HeldChunks, *args: Any) -> ResultsArrived:
        told = finish(self, *args)
        if told.last and told.values:
            sizes.append(told.size / len(told.values))
        return told

    monkeypatch.setattr(HeldChunks, "finish", weighed)
    f = partial(wait_for_the_others, str(tmp_path / "begun"), _FEW_TOGETHER)
    assert pmap(f, [*range(ITEMS)], processes=2, chunksize=2000) == [*range(ITEMS)]
    assert max(sizes) < 100, "an int takes eight bytes each way"


def test_also_where_each_item_has_a_time_limit(tmp_path: Path) -> None:
    path = str(tmp_path / "begun")
    run = pmap.using(processes=2, chunksize=1000, timeout=TIME_LIMIT)
    assert run(partial(wait_for_the_others, path, 1), range(ITEMS)) == [*range(ITEMS)]
    assert sorted(noted(path)) == [*range(ITEMS)]


def test_also_in_a_stream(tmp_path: Path) -> None:
    path = str(tmp_path / "begun")
    f = partial(wait_for_the_others, path, 1000)
    with pmap.iter(f, range(ITEMS), processes=2, chunksize=1000, buffersize=ITEMS) as results:
        assert list(results) == [*range(ITEMS)]
    assert sorted(noted(path)) == [*range(ITEMS)]


def test_quick_chunks_of_one_item_travel_together(sent: list[int]) -> None:
    with Pool(2) as pool:
        assert pool.map(abs, range(10_000), chunksize=1) == [*range(10_000)]
    assert sum(sent) >= 10_000  # some may have been had back, and sent again
    assert len(sent) < 2000


def test_a_large_chunk_is_on_its_way_before_the_next_one_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or a worker would wait for what is made for others."""
    waiting: list[bool] = []
    send = ProcessBackend.send

    def watched(
        backend: ProcessBackend, worker: int, work: "Work", start: int, stop: int, together: int
    ) -> None:
        send(backend, worker, work, start, stop, together)
        link = backend._connections[worker]
        if stop - start >= 4000:  # in four bytes each
            waiting.append(bool(link.outbox._waiting) and not link.outbox._is_blocked)

    monkeypatch.setattr(ProcessBackend, "send", watched)
    items = [*range(1000, 101_000)]
    with Pool(2) as pool:
        assert pool.map(abs, items, chunksize=5000) == items
    assert waiting
    assert not any(waiting)


def test_chunks_travel_alone_where_a_worker_is_to_run_so_many(sent: list[int]) -> None:
    with Pool(2, maxtasksperchild=500) as pool:
        assert pool.map(abs, range(1000), chunksize=1) == [*range(1000)]
    assert set(sent) == {1}


def test_chunks_of_a_stream_travel_alone(sent: list[int]) -> None:
    """Else the results of the first would wait for those of the last."""
    with Pool(2) as pool:
        assert list(pool.imap(abs, range(1000))) == [*range(1000)]
    assert set(sent) == {1}


@pytest.mark.parametrize("chunksize", [None, 1, 7])
def test_a_death_among_chunks_that_travel_together_costs_one_item(
    chunksize: int | None, tmp_path: Path
) -> None:
    path = str(tmp_path / "begun")
    results = pmap.using(processes=2, chunksize=chunksize).collecting(
        partial(die_at, path, SLOW), range(ITEMS)
    )
    (lost,) = [result for result in results if failed(result)]
    assert isinstance(lost, Failure)
    assert isinstance(lost.error, WorkerLost)
    assert lost.index == SLOW
    assert [r for r in results if not failed(r)] == [x for x in range(ITEMS) if x != SLOW]
    assert sorted(noted(path)) == [*range(ITEMS)], "one was run twice"


@pytest.mark.parametrize("big", [1 << 63, -(1 << 63) - 1, 1 << 200])
def test_many_ints_of_any_size(big: int) -> None:
    for items in ([*range(100)], [*range(50), big, *range(50)], [float(x) for x in range(100)]):
        assert pmap(str, items, chunksize=len(items), processes=1) == [*map(str, items)]
    assert pmap(type, [True, 1, 2.0] * 20, chunksize=60, processes=1) == [bool, int, float] * 20
