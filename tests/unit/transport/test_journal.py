"""The result journal: who has a chunk when the caller reclaims it in the moment it begins."""

import marshal
import mmap
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from pmap._backends.held_chunks import HeldChunks
from pmap._backends.sent_chunk import SentChunk
from pmap._transport.journal import SIZE, STACK, ResultJournal


@pytest.fixture(name="journal")
def _journal() -> Iterator[ResultJournal]:
    journal = ResultJournal(mmap.mmap(-1, SIZE + STACK))
    yield journal
    journal.close()


def test_what_is_behind_the_chunk_that_runs_is_taken_back(journal: ResultJournal) -> None:
    assert journal.begin(1, in_turn=False)
    assert journal.reclaim(3) == (1, None)
    assert not journal.begin(2, in_turn=False)
    assert not journal.begin(3, in_turn=False)
    assert journal.begin(4, in_turn=False)


def test_all_is_taken_back_where_nothing_has_begun(journal: ResultJournal) -> None:
    assert journal.reclaim(2) == (0, 0)
    assert not journal.begin(1, in_turn=False)
    assert not journal.begin(2, in_turn=False)
    assert journal.begin(3, in_turn=False)


def test_what_was_taken_back_stays_so_when_more_is(journal: ResultJournal) -> None:
    assert journal.begin(1, in_turn=False)
    assert journal.reclaim(3) == (1, None)
    assert not journal.begin(2, in_turn=False)
    assert journal.reclaim(5) == (1, None)
    assert not journal.begin(3, in_turn=False)
    assert not journal.begin(4, in_turn=False)
    assert not journal.begin(5, in_turn=False)
    assert journal.begin(6, in_turn=False)


def test_what_has_begun_is_not_taken_back(journal: ResultJournal) -> None:
    assert journal.begin(1, in_turn=False)
    assert journal.begin(2, in_turn=False)
    assert journal.reclaim(2) == (2, None)
    assert journal.begin(3, in_turn=False)


def test_what_has_not_begun_of_a_chunk_is_taken_back(journal: ResultJournal) -> None:
    assert journal.begin(1, in_turn=True)
    assert journal.turn(5)
    assert journal.reclaim(1) == (1, 5)
    assert journal.reclaim(1) == (1, 5)
    assert journal.turn(5)
    assert not journal.turn(6)
    assert journal.begin(2, in_turn=True)
    assert journal.turn(9)


def test_with_the_rest_of_a_chunk_those_behind_it_are_taken_back(journal: ResultJournal) -> None:
    assert journal.begin(1, in_turn=True)
    assert journal.turn(1)
    assert journal.reclaim(1) == (1, 1)
    assert journal.reclaim(3) == (1, 1)  # sent since
    assert not journal.turn(2)
    assert not journal.begin(2, in_turn=True)
    assert journal.reclaim(4) == (1, 1)
    assert not journal.begin(3, in_turn=False)
    assert not journal.begin(4, in_turn=False)
    assert journal.begin(5, in_turn=True)
    assert journal.reclaim(5) == (5, 0)
    assert not journal.turn(1)


def test_less_asked_for_gives_back_no_more_than_was_taken(journal: ResultJournal) -> None:
    # The caller holds fewer by now: what it took back before runs elsewhere.
    assert journal.begin(5, in_turn=True)
    assert journal.turn(16)
    assert journal.reclaim(7) == (5, 16)
    assert journal.reclaim(5) == (5, 16)
    assert not journal.begin(6, in_turn=True)
    assert not journal.begin(7, in_turn=True)
    assert journal.begin(8, in_turn=True)


def test_what_begins_as_a_whole_is_not_taken_back_in_part(journal: ResultJournal) -> None:
    assert journal.begin(1, in_turn=False)
    assert journal.reclaim(1) == (1, None)
    assert journal.reclaim(2) == (1, None)
    assert not journal.begin(2, in_turn=True)
    assert journal.begin(3, in_turn=True)


# --- how much of a chunk is finished -------------------------------------------------------------


def test_what_is_noted_or_sent_of_a_chunk_is_finished(journal: ResultJournal) -> None:
    assert journal.begin(1, in_turn=False)
    assert journal.finished(1) == 0
    journal.records(0)
    assert journal.finished(1) == 0
    assert journal.record(b"x", 1)
    assert journal.record(b"y", 2)
    assert journal.finished(1) == 2
    journal.records(2)  # these were sent
    assert journal.finished(1) == 2
    assert (journal.finished(0), journal.finished(2)) == (0, 0)
    assert journal.begin(2, in_turn=False)
    assert (journal.finished(1), journal.finished(2)) == (0, 0)


@pytest.mark.parametrize("mark", [b"\xff" * 8, b"\x01" + b"\0" * 7])
@pytest.mark.parametrize("kind", ["q", "d"])
def test_of_a_typed_array_the_slots_that_are_filled(
    journal: ResultJournal, kind: Literal["q", "d"], mark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def urandom(_: int) -> bytes:
        return mark  # with and without what ints take for a sign

    monkeypatch.setattr(os, "urandom", urandom)
    assert journal.begin(7, in_turn=False)
    slots: Any = journal.typed_array(kind, 9, 3)
    for number in range(9):
        assert journal.finished(7) == 3 + number
        slots[number] = number + 2
    assert journal.finished(7) == 12


def test_nothing_is_said_of_a_journal_that_is_closed() -> None:
    journal = ResultJournal(mmap.mmap(-1, SIZE + STACK))
    journal.begin(1, in_turn=False)
    journal.close()
    assert journal.finished(1) == 0


def test_results_that_were_sent_and_lost_are_not_taken_for_others(journal: ResultJournal) -> None:
    """As on Windows, which may drop what a process had sent when it was killed."""
    work: Any = SimpleNamespace(call=SimpleNamespace(rules=SimpleNamespace(at_once=False)))
    held = HeldChunks(1, journal)
    held.chunks.append(SentChunk(7, work, 0, 10, 100))
    journal.begin(7, in_turn=False)
    held.chunks[0].received = 3
    journal.records(sent=3)
    for count, result in enumerate((30, 40), 1):
        journal.record(marshal.dumps(result), count)
    assert held.salvage() == (1, [30, 40])
    journal.records(sent=5)
    journal.record(marshal.dumps(50), 1)
    # The fourth and the fifth were sent, and lost; the sixth is noted; the seventh was running.
    assert held.salvage() == (4, [])
    held.chunks[0].received = 5
    assert held.salvage() == (1, [50])
