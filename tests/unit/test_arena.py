"""The arena: who has a chunk, when the caller wants it back in the moment in which it begins."""

import mmap
import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap._arena import SIZE, STACK, Arena

PATIENCE: Final = 30.0


@pytest.fixture(name="arena")
def _arena() -> Iterator[Arena]:
    arena = Arena(mmap.mmap(-1, SIZE + STACK))
    yield arena
    arena.close()


@pytest.fixture(name="hurried")
def _switch_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_what_is_behind_the_chunk_that_runs_is_taken_back(arena: Arena) -> None:
    assert arena.begin(1, in_turn=False)
    assert arena.take_back(3) == 1
    assert not arena.begin(2, in_turn=False)
    assert not arena.begin(3, in_turn=False)
    assert arena.begin(4, in_turn=False)


def test_all_is_taken_back_where_nothing_has_begun(arena: Arena) -> None:
    assert arena.take_back(2) == 0
    assert not arena.begin(1, in_turn=False)
    assert not arena.begin(2, in_turn=False)
    assert arena.begin(3, in_turn=False)


def test_what_was_taken_back_stays_so_when_more_is(arena: Arena) -> None:
    assert arena.begin(1, in_turn=False)
    assert arena.take_back(3) == 1
    assert not arena.begin(2, in_turn=False)
    assert arena.take_back(5) == 1
    assert not arena.begin(3, in_turn=False)
    assert not arena.begin(4, in_turn=False)
    assert not arena.begin(5, in_turn=False)
    assert arena.begin(6, in_turn=False)


def test_what_has_begun_is_not_taken_back(arena: Arena) -> None:
    assert arena.begin(1, in_turn=False)
    assert arena.begin(2, in_turn=False)
    assert arena.take_back(2) == 2
    assert arena.begin(3, in_turn=False)


@given(st.lists(st.booleans(), max_size=60), st.integers(2, 8))
def test_each_chunk_is_run_or_taken_back(looks: list[bool], held: int) -> None:
    arena = Arena(mmap.mmap(-1, SIZE + STACK))
    ran: list[int] = []
    taken: set[int] = set()
    serial = 0
    for look in looks:
        first = serial + 1
        last = serial + held
        assert arena.begin(first, in_turn=False)
        if look:
            taken.update(range(arena.take_back(last) + 1, last + 1))
        ran.append(first)
        ran += [serial for serial in range(first + 1, last + 1) if arena.begin(serial, False)]
        serial = last
    assert sorted([*ran, *taken]) == list(range(1, serial + 1))
    arena.close()


@pytest.mark.usefixtures("hurried")
def test_one_of_both_has_it_whenever_they_meet(arena: Arena) -> None:
    # The caller knows which chunks are not answered, as in life, and asks at any moment.
    rng = random.Random(7)
    count = 3000
    ran: list[int] = []
    taken: set[int] = set()
    sent = threading.Semaphore(0)

    def work() -> None:
        for serial in range(1, count + 1):
            sent.acquire()
            if arena.begin(serial, in_turn=False):
                ran.append(serial)
                for _ in range(serial % 5):
                    time.sleep(0)  # let the other one in

    worker = threading.Thread(target=work)
    worker.start()
    last = 0
    while last < count:
        more = min(rng.randint(2, 8), count - last)
        sent.release(more)
        last += more
        for _ in range(rng.randint(1, 20)):
            taken.update(range(arena.take_back(last) + 1, last + 1))
            time.sleep(0)
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert len(ran) == len(set(ran))
    assert taken.isdisjoint(ran)
    assert taken.union(ran) == set(range(1, count + 1))
    assert taken
