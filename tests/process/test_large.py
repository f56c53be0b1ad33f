"""Large buffers: they go by shared memory, and nobody can tell but by the time it takes."""

import functools
import gc
import multiprocessing
import operator
import os
import pickle
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.limits import TIME_LIMIT, until
from tests.property.memory_items import is_mapped

from pmap import Failure, Pool, WorkerLost, pmap, pstarmap
from pmap._api.shared_pools import shared_pools
from pmap._backends.processes import ProcessBackend
from pmap._engine import leadership as _leadership
from pmap._engine.driver import Driver
from pmap._scheduling.chunk_sizes import MOST_BYTES
from pmap._transport import segments as _segments
from pmap._transport.journal import SIZE, STACK
from pmap._transport.segments import LARGE, MOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from pmap._jobs.work import Work
    from pmap._types import StartMethod

Array = NDArray[Any]

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="large values go through the socket here"
)

N: Final = LARGE // 8 + 1000  # floats that make a large buffer
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


def noted_writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many bytes this process writes into segments from now on, one by one."""
    sizes: list[int] = []
    write = _segments.Segment.write

    def noted(segment: _segments.Segment, buffers: Any) -> None:
        sizes.append(sum(memoryview(buffer).nbytes for buffer in buffers))
        write(segment, buffers)

    monkeypatch.setattr(_segments.Segment, "write", noted)
    return sizes


def same(value: Any) -> Any:
    return value


def look(array: Array) -> tuple[bool, bool, float]:
    return is_mapped(array), array.flags.writeable, float(array.sum())


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


def noted_segments(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the segments that are made here from now on, one element each."""
    made: list[int] = []
    create = os.memfd_create

    def noted(*args: Any) -> int:
        made.append(0)
        return create(*args)

    monkeypatch.setattr(os, "memfd_create", noted)
    return made


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


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


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


# --- the function -------------------------------------------------------------------------------


def weigh(weights: Array, number: int) -> float:
    return float(weights[number])


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


# --- without -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start", ["forkserver", "fork"]
)  # a fork of this process has no way either
def test_without_such_memory(start: "StartMethod", monkeypatch: pytest.MonkeyPatch) -> None:
    writes = noted_writes(monkeypatch)
    monkeypatch.setattr(_segments.Segment, "new", lambda: None)
    arrays = [np.full(N, float(n)) for n in range(6)]
    with Pool(2, context=multiprocessing.get_context(start)) as pool:
        seen = pool.map(look, arrays)
        assert seen == [(False, True, float(n) * N) for n in range(6)]
        for array, back in zip(arrays, pool.map(same, arrays), strict=True):
            assert (array == back).all()
            assert is_mapped(back) == (start == "forkserver")
        weights = np.arange(float(N))
        assert pool.map(functools.partial(weigh, weights), [3]) == [3.0]
    assert not writes


def test_where_nothing_can_be_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_segments, "_can_map_more", lambda: False)
    array = np.arange(float(N))
    for back in pmap(same, [array] * 3):
        assert not is_mapped(back)
        assert back.flags.writeable
        assert (back == array).all()


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert pmap(look, [np.ones(N)] * 3) == [(False, True, float(N))] * 3


def test_the_next_call_finds_the_pages_of_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    made = noted_segments(monkeypatch)
    monkeypatch.setattr(_leadership, "_WARM", TIME_LIMIT)
    with Pool(2) as pool:
        for _ in range(3):
            made.clear()
            pool.map(look, [np.ones(N)] * 2, chunksize=1)
        assert not made


@pytest.mark.parametrize("mappable", [True, False])
def test_a_segment_in_use_again_is_written_through_a_mapping_that_is_kept(
    mappable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_leadership, "_WARM", TIME_LIMIT)
    if not mappable:
        monkeypatch.setattr(_segments, "_can_map_more", lambda: False)
    calls: list[str] = []
    pwrite, mapped = os.pwrite, _segments.Segment._map

    def write(fd: int, data: bytes, at: int) -> int:
        calls.append("pwrite")
        return pwrite(fd, data, at)

    def map_(segment: _segments.Segment, size: int, flags: int) -> Any:
        calls.append("map")
        return mapped(segment, size, flags)

    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(_segments.Segment, "_map", map_)
    mapping = ["pwrite", "map", "", "pwrite", "pwrite", "map", "pwrite"]
    without = ["pwrite", "map pwrite", "map pwrite", "pwrite", "pwrite", "map pwrite", "pwrite"]
    with Pool(1) as pool:
        # The third needs half of the pages, and the rest is given back; so the fourth and the fifth
        # need more than there are, and the sixth finds the mapping too short. The last one needs so
        # few that it gets new ones.
        for place, times in enumerate((2, 2, 1, 2, 3, 3, 1)):
            calls.clear()
            array = np.arange(float(times * N)) * place
            assert pool.map(look, [array]) == [(True, True, float(array.sum()))]
            assert " ".join(calls) == (mapping if mappable else without)[place]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_pool_keeps_nothing_when_there_is_no_work(asynchronous: bool) -> None:
    with Pool(2) as pool:
        pool.map(same, [1, 2])
        before = descriptors()
        for _ in range(2):
            if asynchronous:
                pool.map_async(look, [np.ones(N)] * 20).get(TIME_LIMIT)
            else:
                pool.map(look, [np.ones(N)] * 20)
            until(lambda: descriptors() == before)


def test_what_nobody_could_give_back_later_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_leadership, "_WARM", TIME_LIMIT)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Pool(2) as pool:
        pool.map(same, [1, 2])
        before = descriptors()
        pool.map(look, [np.ones(N)] * 20)
        assert descriptors() == before
        kept = Kept(pool._driver, pool.map)
        pool.map(full, range(8))
        until(lambda: not kept())
    with Pool(2, context=multiprocessing.get_context("fork")) as pool:
        pool.map(same, [1, 2])
        before = descriptors()
        pool.map(look, [np.ones(N)] * 20)
        assert descriptors() == before, "no thread is started where this process is forked"
        kept = Kept(pool._driver, pool.map)
        pool.map(full, range(8))
        until(lambda: not kept())


def segments() -> int:
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum("memfd:pmap " in os.readlink(link) for link in links if os.path.lexists(link))


def test_a_fork_of_the_caller_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_leadership, "_WARM", TIME_LIMIT)
    before = segments()
    with Pool(2) as pool:
        pool.map(look, [np.ones(N)] * 20)
        assert segments() > before
        child = os.fork()
        if child == 0:
            os._exit(segments() > before)
        assert os.waitpid(child, 0)[1] == 0
    assert segments() == before


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_what_is_copied_is_copied_by_the_system_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, kind: type[bytes | bytearray]
) -> None:
    mapped: list[int] = []

    def note(_: _segments.Segment, size: int) -> None:
        mapped.append(size)

    monkeypatch.setattr(_segments.Segment, "_mapped", note)
    assert pmap(kind, [2 * LARGE], processes=1) == [kind(2 * LARGE)]
    assert not mapped


def test_what_the_system_copies_only_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pread

    def part(fd: int, size: int, at: int) -> bytes:
        return whole(fd, min(size, 1000), at)

    monkeypatch.setattr(os, "pread", part)
    value = bytes(range(256)) * (LARGE // 128)
    assert pmap(bytes, [value], processes=1) == [value]


# --- results, whose segments a worker uses again ------------------------------------------------


class Kept:
    """The segments that the workers of a pool have for results."""

    def __init__(self, driver: Driver, call: "Callable[..., object]") -> None:
        """Look at workers none of whose results were large; `call` maps on them."""
        self._driver = driver
        # A call each time, as it is who waits for its result that hears of a worker's start.
        until(lambda: call(abs, [1, 2]) and len(self._pids()) == driver.limit, "all workers' start")
        self._before = self._inodes()  # a fork has what its parent has open

    def _pids(self) -> list[int]:
        backend = self._driver.backend
        assert isinstance(backend, ProcessBackend)
        return backend.pids()

    def _inodes(self) -> set[int]:
        found: set[int] = set()
        for pid in self._pids():
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    file = fd.stat()
                    # A journal has a size that no segment has: all of these are larger.
                    if "memfd:pmap " in os.readlink(fd) and file.st_size != SIZE + STACK:
                        found.add(file.st_ino)
                except FileNotFoundError:
                    continue  # it was closed meanwhile
        return found

    def __call__(self) -> set[int]:
        """Return their inodes."""
        return self._inodes() - self._before


def full(number: float, size: int = N) -> Array:
    return np.full(size, number)


def test_a_worker_uses_the_segments_of_its_results_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_leadership, "_WARM", TIME_LIMIT)
    with Pool(1) as pool:  # of two, either may happen to run more of a map than of the one before
        kept = Kept(pool._driver, pool.map)
        pool.map(full, range(8), chunksize=4)
        first = kept()
        assert len(first) == 8
        for _ in range(5):
            assert all((array == 7.0).all() for array in pool.map(full, [7.0] * 8, chunksize=4))
            assert len(kept() | first) == 8
        # A stream whose results are dropped one by one needs no more for many than for a few.
        for number, array in enumerate(pool.imap(full, map(float, range(200)), buffersize=4)):
            assert (array == number).all()
        assert len(kept()) <= 12


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_those_of_what_is_copied_at_once(
    kind: "type[bytes | bytearray]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_leadership, "_WARM", TIME_LIMIT)
    with Pool(1) as pool:
        kept = Kept(pool._driver, pool.map)
        values = pool.map(functools.partial(operator.mul, kind(b"x")), [LARGE] * 30, chunksize=1)
        assert values == [b"x" * LARGE] * 30
        assert 0 < len(kept()) < 15


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_worker_keeps_nothing_when_there_is_no_work(
    asynchronous: bool, start_method: "StartMethod"
) -> None:
    with Pool(2, context=multiprocessing.get_context(start_method)) as pool:
        kept = Kept(pool._driver, pool.map)
        if asynchronous:
            held = pool.map_async(full, range(8)).get(TIME_LIMIT)
        else:
            held = pool.map(full, range(8))
        until(lambda: not kept())
        assert [float(array[0]) for array in held] == [*range(8)]
        del held
        assert [float(array[0]) for array in pool.map(full, range(8))] == [*range(8)]
        until(lambda: not kept())


def test_nothing_is_kept_where_a_workers_memory_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_leadership, "_WARM", TIME_LIMIT)
    verb = pmap.using(processes=1, max_memory_per_child=1 << 30)
    before = set(shared_pools.drivers.values())
    verb(abs, [1])
    [driver] = set(shared_pools.drivers.values()) - before
    kept = Kept(driver, verb)
    for _ in range(3):
        assert len(verb(full, range(8))) == 8
        verb(abs, [1])  # when this is back, the worker is through with what it sent before
        assert not kept()


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["keep", "drop", "write", "fork"]),
            st.lists(st.integers(1, 3), min_size=1, max_size=5),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_result_stays_what_it_is_while_others_come(
    steps: "list[tuple[str, list[int]]]",
) -> None:
    held: dict[float, Array] = {}
    children: list[tuple[int, int]] = []
    number = 0.0
    for what, sizes in steps:
        numbers = [number + place for place in range(len(sizes))]
        number += len(sizes)
        arrays = pstarmap(full, [(n, N * size) for n, size in zip(numbers, sizes, strict=True)])
        assert all((array == n).all() for n, array in zip(numbers, arrays, strict=True))
        if what != "drop":
            held.update(zip(numbers, arrays, strict=True))
        if what == "write":
            arrays[0][:] = number
            held[number] = held.pop(numbers[0])
            number += 1
        if what == "fork":
            children.append(child_that_looks_again(held))
            del held[numbers[0]]
        del arrays
    for n, array in held.items():
        assert (array == n).all()
    for child, go in children:
        os.write(go, b"x")
        os.close(go)
        assert os.waitpid(child, 0)[1] == 0


class Undead:
    """Has a large buffer, refers to itself, and is back when it was collected."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer
        self.cycle = self

    def __reduce_ex__(self, protocol: Any) -> "tuple[type[Undead], tuple[pickle.PickleBuffer]]":
        return Undead, (pickle.PickleBuffer(self.buffer),)

    def __del__(self) -> None:
        _undead.append(self)


_undead: list[Undead] = []


def undead(number: int) -> Undead:
    return Undead(bytearray([number]) * LARGE)


def test_a_result_that_its_finaliser_brings_back_stays_what_it_is() -> None:
    try:
        for number in range(1, 5):
            pmap(undead, [number], processes=1)
            gc.collect()
        assert [bytes(one.buffer) for one in _undead] == [bytes([n]) * LARGE for n in range(1, 5)]
    finally:
        _undead.clear()
        gc.collect()
        _undead.clear()


def child_that_looks_again(held: "dict[float, Array]") -> tuple[int, int]:
    """Fork, and let the child look whether all is what it was, when it is told."""
    before = {n: float(array.sum()) for n, array in held.items()}
    wait, go = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(go)
            os.read(wait, 1)
            code = int(before != {n: float(array.sum()) for n, array in held.items()})
        finally:
            os._exit(code)
    os.close(wait)
    return child, go


def leave_one_that_tells(place: Path) -> Array:
    """Fork, and let the child say which segments it has."""
    if os.fork() == 0:
        try:
            links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
            links = [link for link in links if os.path.lexists(link)]
            inodes = {os.stat(link).st_ino for link in links if "memfd:pmap " in os.readlink(link)}
            (place / "part").write_text(str(len(inodes)))
            (place / "part").rename(place / "found")
        finally:
            os._exit(0)
    return full(1.0)


def test_a_child_that_an_item_left_has_nothing_of_what_its_worker_keeps(tmp_path: Path) -> None:
    with Pool(1) as pool:
        held = pool.map(full, range(8))
        held += pool.map(full, range(8))
        pool.apply(leave_one_that_tells, (tmp_path,))
        until((tmp_path / "found").exists)
        assert [float(array[0]) for array in held] == [*range(8)] * 2
    assert (tmp_path / "found").read_text() == "1", "the journal"


def make_while_another_forks(count: int) -> int:
    """Return how often a thread of this process forked meanwhile."""
    stop = threading.Event()
    forks: list[int] = []

    def fork() -> None:
        while not stop.is_set():
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
            forks.append(child)

    _threads.append((stop, threading.Thread(target=fork)))
    sys.setswitchinterval(1e-5)
    _threads[-1][1].start()
    until(lambda: len(forks) > count)
    return len(forks)


_threads: list[tuple[threading.Event, threading.Thread]] = []


def let_it_end(_: int) -> None:
    stop, thread = _threads.pop()
    stop.set()
    thread.join()
    sys.setswitchinterval(0.005)


def test_a_thread_of_an_item_forks_while_others_have_large_results(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Pool(1) as pool:
        assert pool.apply(make_while_another_forks, (3,)) > 3
        for number in range(60):
            sizes = [N * (1 + (number + place) % 4) for place in range(6)]
            for array, size in zip(
                pool.map(functools.partial(full, 7.0), sizes), sizes, strict=True
            ):
                assert array.size == size
                assert (array == 7.0).all()
        pool.apply(let_it_end, (0,))
    assert "Exception ignored" not in capfd.readouterr().err


def test_a_fork_of_the_caller_while_another_thread_sends_large_arguments() -> None:
    stop = threading.Event()
    wrong: list[object] = []
    interval = sys.getswitchinterval()
    with Pool(2) as pool:

        def send() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                arrays = [np.ones(N * (1 + (number + place) % 4)) for place in range(6)]
                if pool.map(np.sum, arrays) != [float(array.size) for array in arrays]:
                    wrong.append(arrays)

        thread = threading.Thread(target=send)
        thread.start()
        sys.setswitchinterval(1e-5)
        try:
            for _ in range(150):
                child = os.fork()
                if child == 0:
                    # All of the parent's pools were abandoned.
                    os._exit(0 if pool._driver.closed else 1)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            sys.setswitchinterval(interval)
            stop.set()
            thread.join()
    assert not wrong


def replace_segments(place: Path) -> tuple[int, Array]:
    """Let files of one's own have the descriptors of all segments that are kept."""
    files: list[int] = []
    for link in Path("/proc/self/fd").iterdir():
        fd = int(link.name)
        if link.is_symlink() and "memfd:pmap " in os.readlink(link) and fd not in _journal_fds:
            os.close(fd)
            own = os.open(place / f"own {fd}", os.O_RDWR | os.O_CREAT)
            if own != fd:
                os.dup2(own, fd)
                os.close(own)
            files.append(fd)
    _own.extend(files)
    return len(files), full(1.0)


_own: list[int] = []
_journal_fds: set[int] = set()


def learn_journal(_: int) -> int:
    _journal_fds.update(
        int(link.name)
        for link in Path("/proc/self/fd").iterdir()
        if link.is_symlink() and "memfd:pmap " in os.readlink(link)
    )
    return len(_journal_fds)


def own_sizes(_: int) -> list[int]:
    return [os.fstat(fd).st_size for fd in _own]


def test_files_that_an_item_put_in_place_of_what_is_kept_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_leadership, "_WARM", TIME_LIMIT)
    with Pool(1) as pool:
        pool.map(learn_journal, [0])
        held = pool.map(full, range(4))
        assert len(held) == 4
        count, array = pool.apply(replace_segments, (tmp_path,))
        assert count >= 4
        del held
        for _ in range(3):
            assert all((array == 5.0).all() for array in pool.map(full, [5.0] * 8))
        del array
        assert pool.apply(own_sizes, (0,)) == [0] * count
