"""Large results: a worker uses their segments again, and nobody can tell by what arrives."""

import functools
import gc
import multiprocessing
import operator
import os
import pickle
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.limits import TIME_LIMIT, until
from tests.process.large_items import Array, Kept, N, full

from pmap import Pool, pmap, pstarmap
from pmap._api.shared_pools import shared_pools
from pmap._engine import leadership as _leadership
from pmap._transport.segments import LARGE

if TYPE_CHECKING:
    from pmap._types import StartMethod

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="large values go through the socket here"
)


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
