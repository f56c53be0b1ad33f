"""Caller and worker meet at the journal: each chunk and item is run or taken back, never both."""

import mmap
import random
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.limits import TIME_LIMIT

from pmap._transport.journal import SIZE, STACK, ResultJournal


@pytest.fixture(name="journal")
def _journal() -> Iterator[ResultJournal]:
    journal = ResultJournal(mmap.mmap(-1, SIZE + STACK))
    yield journal
    journal.close()


@pytest.fixture(name="hurried")
def _switch_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@given(st.lists(st.booleans(), max_size=60), st.integers(2, 8))
def test_each_chunk_is_run_or_taken_back(looks: list[bool], held: int) -> None:
    journal = ResultJournal(mmap.mmap(-1, SIZE + STACK))
    ran: list[int] = []
    taken: set[int] = set()
    serial = 0
    for look in looks:
        first = serial + 1
        last = serial + held
        assert journal.begin(first, in_turn=False)
        if look:
            taken.update(range(journal.reclaim(last)[0] + 1, last + 1))
        ran.append(first)
        ran += [serial for serial in range(first + 1, last + 1) if journal.begin(serial, False)]
        serial = last
    assert sorted([*ran, *taken]) == list(range(1, serial + 1))
    journal.close()


def run_in_parts(
    journal: ResultJournal,
    chunks: int,
    size: int,
    sent: threading.Semaphore,
    ran: list[tuple[int, int]],
) -> None:
    for serial in range(1, chunks + 1):
        sent.acquire()
        if not journal.begin(serial, in_turn=True):
            continue
        step = 1 + serial % 3
        for item in range(0, size, step):
            if not journal.turn(item + step):
                break
            ran.extend((serial, item + more) for more in range(step))
            time.sleep(0)  # let the other one in


@pytest.mark.usefixtures("hurried")
def test_each_item_is_run_or_taken_back_whenever_they_meet(journal: ResultJournal) -> None:
    rng = random.Random(11)
    chunks, size = 1500, 6
    ran: list[tuple[int, int]] = []
    kept: dict[int, int] = {}  # of what was taken back, items that the worker has
    sent = threading.Semaphore(0)
    worker = threading.Thread(target=run_in_parts, args=(journal, chunks, size, sent, ran))
    worker.start()
    last = 0
    while last < chunks:
        first, last = last + 1, last + min(rng.randint(1, 4), chunks - last)
        sent.release(last - first + 1)
        for _ in range(rng.randint(1, 40)):
            if rng.random() < 0.7:
                time.sleep(0)
                continue
            begun, items = journal.reclaim(last)
            if items is not None:
                assert kept.setdefault(begun, items) == items
            for serial in range(max(begun + 1, first), last + 1):
                assert kept.setdefault(serial, 0) == 0
        while worker.is_alive() and sent._value:  # as in life, serials behind these come later
            time.sleep(0)
    worker.join(TIME_LIMIT)
    assert not worker.is_alive()
    assert len(ran) == len(set(ran))
    for serial in range(1, chunks + 1):
        assert sum(1 for chunk, _ in ran if chunk == serial) == kept.get(serial, size)
    assert any(0 < items < size for items in kept.values())


@pytest.mark.usefixtures("hurried")
def test_one_of_both_has_it_whenever_they_meet(journal: ResultJournal) -> None:
    # The caller knows which chunks are not answered, as in life, and asks at any moment.
    rng = random.Random(7)
    count = 3000
    ran: list[int] = []
    taken: set[int] = set()
    sent = threading.Semaphore(0)

    def work() -> None:
        for serial in range(1, count + 1):
            sent.acquire()
            if journal.begin(serial, in_turn=False):
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
            taken.update(range(journal.reclaim(last)[0] + 1, last + 1))
            time.sleep(0)
    worker.join(TIME_LIMIT)
    assert not worker.is_alive()
    assert len(ran) == len(set(ran))
    assert taken.isdisjoint(ran)
    assert taken.union(ran) == set(range(1, count + 1))
    assert taken
