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
    assert arena.take_back(1, 3)
    assert not arena.begin(2, in_turn=False)
    assert not arena.begin(3, in_turn=False)
    assert arena.begin(4, in_turn=False)


def test_nothing_is_taken_back_before_the_first_begins_or_when_the_next_has(arena: Arena) -> None:
    assert not arena.take_back(1, 3)
    assert arena.begin(1, in_turn=False)
    assert arena.begin(2, in_turn=False)
    assert not arena.take_back(1, 3)
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
        if look and arena.take_back(first, last):
            taken.update(range(first + 1, last + 1))
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
    answered = 0
    ran: list[int] = []
    taken: set[int] = set()
    sent = threading.Semaphore(0)

    def work() -> None:
        nonlocal answered
        for serial in range(1, count + 1):
            sent.acquire()
            if arena.begin(serial, in_turn=False):
                ran.append(serial)
                for _ in range(serial % 5):
                    time.sleep(0)  # let the other one in
            answered = serial

    worker = threading.Thread(target=work)
    worker.start()
    last = 0
    while last < count:
        more = min(rng.randint(2, 8), count - last)
        sent.release(more)
        last += more
        for _ in range(rng.randint(1, 20)):
            now = answered + 1
            while now in taken:
                now += 1
            if now < last and arena.take_back(now, last):
                taken.update(range(now + 1, last + 1))
                break
            time.sleep(0)
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert len(ran) == len(set(ran))
    assert taken.isdisjoint(ran)
    assert taken.union(ran) == set(range(1, count + 1))
    assert taken
