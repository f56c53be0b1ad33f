"""The memory of large buffers: where there is none, and what is kept of it between two calls."""

import functools
import multiprocessing
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.limits import TIME_LIMIT, until
from tests.process.large_items import (
    Kept,
    N,
    descriptors,
    full,
    look,
    noted_segments,
    noted_writes,
    same,
    segments,
    weigh,
)
from tests.property.memory_items import is_mapped

from pmap import Pool, pmap
from pmap._engine import leadership as _leadership
from pmap._transport import segments as _segments
from pmap._transport.segments import LARGE

if TYPE_CHECKING:
    from pmap._types import StartMethod

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="large values go through the socket here"
)


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
