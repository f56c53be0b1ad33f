"""Large buffers: they go by shared memory, and nobody can tell but by the time it takes."""

import functools
import gc
import operator
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from tests.limits import until
from tests.process.large_items import (
    Array,
    N,
    descriptors,
    look,
    noted_segments,
    noted_writes,
    same,
    weigh,
)
from tests.property.memory_items import is_mapped

from pmap import Failure, Pool, WorkerLost, pmap, pstarmap
from pmap._backends.processes import ProcessBackend
from pmap._scheduling.chunk_sizes import MOST_BYTES
from pmap._transport import segments as _segments
from pmap._transport.segments import LARGE, MOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from pmap._jobs.work import Work
    from pmap._types import StartMethod

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="large values go through the socket here"
)
LAYOUTS: Final = {
    "rows": np.arange(2.0 * N).reshape(2, N),
    "columns": np.asfortranarray(np.arange(2.0 * N).reshape(2, N)),
    "in pieces": np.arange(4.0 * N)[::2],
    "backwards": np.arange(1.0 * N)[::-1],
    "records": np.zeros(N, dtype=[("a", "i4"), ("b", "f8")]),
    "small": np.arange(3),
    "empty": np.empty((0, 5)),
    "objects": np.array([None, "a", 3], dtype=object),
    "big endian": np.arange(N, dtype=">i8"),
}


def test_both_ways(start_method: "StartMethod") -> None:
    verb = pmap.using(start_method=start_method)
    arrays = [np.full(N, float(n)) for n in range(8)]
    assert verb(look, arrays) == [(True, True, float(n) * N) for n in range(8)]
    for n, back in enumerate(verb(same, arrays)):
        assert is_mapped(back)
        assert (back == arrays[n]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("writable", [True, False])
def test_what_arrives_is_what_a_pickle_gives(layout: str, writable: bool) -> None:
    array = LAYOUTS[layout].copy(order="K")
    array.flags.writeable = writable
    pickled = pickle.loads(pickle.dumps(array, 5))
    [back] = pmap(same, [array])
    assert back.dtype == pickled.dtype
    assert back.flags.writeable == pickled.flags.writeable
    assert back.flags.f_contiguous == pickled.flags.f_contiguous
    assert back.tobytes("A") == pickled.tobytes("A") or layout == "objects"
    assert back.tolist() == pickled.tolist()


@pytest.mark.parametrize(
    "value",
    [
        b"x" * LARGE,
        bytearray(b"y" * LARGE),
        "z" * LARGE,
        "é" * LARGE,
        [b"1" * LARGE, bytearray(b"2" * LARGE)],
        {"many": list(range(LARGE))},
        (b"a" * LARGE, 1),
        [np.arange(N), np.arange(3), np.arange(2 * N)],
        b"x" * (LARGE - 1),
        [memoryview(b"q" * LARGE).tobytes(), "w", None],
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_other_types(value: Any) -> None:
    for each in (pmap(same, [value, 0, value]), pmap(same, [value] * 3)):
        for back in each[::2]:
            assert type(back) is type(value)
            assert pickle.dumps(back) == pickle.dumps(value)


def scribble(array: Array) -> float:
    before = float(array.sum())
    array[:] = -1.0
    return before


def test_an_argument_is_the_items_own() -> None:
    array = np.ones(N)
    assert pmap(scribble, [array] * 20, processes=2) == [float(N)] * 20
    assert (array == 1.0).all()


def test_a_result_is_the_callers_own() -> None:
    first, second = pmap(same, [np.ones(N)] * 2)
    first[:] = 5.0
    assert (second == 1.0).all()
    again = pmap(same, [np.zeros(N)] * 8)
    assert (first == 5.0).all()
    assert all((array == 0.0).all() for array in again)


_kept: list[Array] = []


def keep(array: Array) -> list[float]:
    _kept.append(array)
    return [float(kept[0]) for kept in _kept if (kept == kept[0]).all()]


def test_an_argument_that_is_kept_stays_what_it_was() -> None:
    # The caller writes into a segment again only when nothing of it is mapped.
    count = 40
    seen = pmap(keep, [np.full(N, float(n)) for n in range(count)], processes=1, isolate=False)
    assert seen[-1][-count:] == [float(n) for n in range(count)]
    assert seen[0][-1:] == [0.0]


def leave_a_child(array: Array, place: Path) -> None:
    if os.fork() == 0:
        try:
            until((place / "go").exists)
            found = {float(value) for value in array}
            (place / "part").write_text(str(found))
            (place / "part").rename(place / "found")
        finally:
            os._exit(0)


def test_a_child_that_an_item_left_keeps_the_argument(tmp_path: Path) -> None:
    with Pool(1) as pool:
        pool.apply(leave_a_child, (np.full(N, 1.0), tmp_path))
        pool.map(look, [np.full(N, 2.0)] * 10)
        (tmp_path / "go").touch()
        until((tmp_path / "found").exists)
    assert (tmp_path / "found").read_text() == "{1.0}"


LARGE_WAYS: Final[dict[str, "tuple[Callable[[Any], object], object]"]] = {
    "bytes there": (len, bytes(1 << 20)),
    "bytes back": (bytes, 1 << 20),
    "text there": (len, "x" * (1 << 20)),
    "text back": (functools.partial(operator.mul, "x"), 1 << 20),
}


@pytest.mark.parametrize("way", LARGE_WAYS)
def test_chunks_of_large_items_have_few(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However quick they are, or one would hold hundreds of megabytes."""
    sent: list[int] = []
    send = ProcessBackend.send

    def note(
        self: ProcessBackend, worker: int, work: "Work", start: int, stop: int, together: int
    ) -> None:
        sent.append(stop - start)
        send(self, worker, work, start, stop, together)

    monkeypatch.setattr(ProcessBackend, "send", note)
    function, item = LARGE_WAYS[way]
    with Pool(2) as pool:
        assert all(r == function(item) for r in pool.imap(function, [item] * 300))
        assert pool.map(function, [item] * 300) == [function(item)] * 300
        assert max(sent) <= MOST_BYTES >> 20
        sent.clear()
        assert pool.map(abs, range(100_000)) == [*range(100_000)]
        assert max(sent) > 1000, "small ones are not fewer for that"


def test_segments_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = noted_segments(monkeypatch)
    count = 200
    array = np.ones(N)
    with Pool(2) as pool:
        pool.map(look, [array] * 2, chunksize=1)
        made.clear()
        assert pool.map(look, [array] * count, chunksize=1) == [(True, True, float(N))] * count
    # Eight chunks may be sent ahead to each of the workers.
    assert len(made) <= 2 * (8 + 2)


def test_a_large_chunk_does_not_go_to_and_fro(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a worker still reads it, another one is idle."""
    sent: list[int] = []
    send = ProcessBackend.send

    def note(self: ProcessBackend, worker: int, *args: Any) -> None:
        sent.append(worker)
        send(self, worker, *args)

    monkeypatch.setattr(ProcessBackend, "send", note)
    arrays = [np.full(N, float(n)) for n in range(60)]
    with Pool(2) as pool:
        for _ in range(5):
            sent.clear()
            assert len(pool.map(look, arrays, chunksize=len(arrays))) == len(arrays)
            # It is handed on when some of it has begun, and not before: a few items each time.
            assert len(sent) <= 12


def test_a_results_memory_goes_with_it() -> None:
    pmap(same, [1, 2])
    before = descriptors()
    assert all(map(is_mapped, pmap.iter(same, (np.ones(N) for _ in range(30)))))
    kept = pmap(same, [np.ones(N)] * 4)
    if sys.version_info < (3, 13):
        assert descriptors() > before
    assert all(map(is_mapped, kept))
    del kept
    gc.collect()
    until(lambda: descriptors() == before)  # those of the arguments a moment later


def test_more_in_a_chunk_than_descriptors_can_travel_with_a_message() -> None:
    arrays = [np.full(N, float(n)) for n in range(MOST + 20)]
    # One worker: another would be given what this one has not begun, in a message of its own.
    seen = pmap(look, arrays, chunksize=len(arrays), processes=1)
    assert [total for _, _, total in seen] == [float(array.sum()) for array in arrays]
    assert sum(mapped for mapped, _, _ in seen) == min(MOST, _segments.most_at_once())


def test_a_large_result_outlives_its_worker() -> None:
    first, lost, last = pmap.collecting(give_or_end, [0, 1, 2], chunksize=3)
    assert isinstance(first, np.ndarray)
    assert isinstance(last, np.ndarray)
    assert isinstance(lost, Failure)
    assert isinstance(lost.error, WorkerLost)


def give_or_end(number: int) -> Array:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return np.full(N, float(number))


def end_once(array: Array, mark: Path) -> float:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return float(array.sum())


def test_an_item_with_a_large_argument_is_tried_again(tmp_path: Path) -> None:
    verb = pstarmap.using(retries=1, chunksize=2)
    rows = [(np.full(N, float(n)), tmp_path / "mark") for n in range(6)]
    assert verb(end_once, rows) == [float(n) * N for n in range(6)]


def test_a_large_function_is_written_once_for_all_workers_and_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writes = noted_writes(monkeypatch)
    weights = np.arange(float(N))
    with Pool(2) as pool:
        for _ in range(3):
            found = pool.map(functools.partial(weigh, weights), range(100), chunksize=1)
            assert found == list(map(float, range(100)))
        assert writes == [weights.nbytes]
        weights[7] = -7.0
        assert pool.map(functools.partial(weigh, weights), range(10), chunksize=1)[7] == -7.0
        assert writes == [weights.nbytes] * 2


def put(weights: Array, number: int) -> float:
    weights[0] += 1.0
    return float(weights[0])


def test_what_an_item_does_to_a_large_function_ends_with_the_call() -> None:
    weights = np.zeros(N)
    with Pool(1) as pool:
        for _ in range(2):
            assert pool.map(functools.partial(put, weights), range(3)) == [1.0, 2.0, 3.0]
    assert weights[0] == 0.0


def put_then_look(weights: Array, place: Path, number: int) -> float:
    if number == 0:
        weights[0] = 1.0
        (place / "written").touch()
    until((place / "written").exists)
    return float(weights[0])


def test_what_a_worker_does_to_a_large_function_the_others_do_not_see(tmp_path: Path) -> None:
    weights = np.zeros(N)
    function = functools.partial(put_then_look, weights, tmp_path)
    assert pmap(function, range(2), processes=2, chunksize=1) == [1.0, 0.0]
    assert weights[0] == 0.0


def test_a_large_function_by_value() -> None:
    weights = np.arange(float(N))
    assert pmap(lambda n: float(weights[n]), range(4)) == [0.0, 1.0, 2.0, 3.0]
