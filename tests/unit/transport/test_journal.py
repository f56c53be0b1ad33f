"""The arena: who has a chunk, when the caller wants it back in the moment in which it begins."""

import mmap
from collections.abc import Iterator

import pytest

from pmap._transport.journal import SIZE, STACK, Arena


@pytest.fixture(name="arena")
def _arena() -> Iterator[Arena]:
    arena = Arena(mmap.mmap(-1, SIZE + STACK))
    yield arena
    arena.close()


def test_what_is_behind_the_chunk_that_runs_is_taken_back(arena: Arena) -> None:
    assert arena.begin(1, in_turn=False)
    assert arena.take_back(3) == (1, None)
    assert not arena.begin(2, in_turn=False)
    assert not arena.begin(3, in_turn=False)
    assert arena.begin(4, in_turn=False)


def test_all_is_taken_back_where_nothing_has_begun(arena: Arena) -> None:
    assert arena.take_back(2) == (0, 0)
    assert not arena.begin(1, in_turn=False)
    assert not arena.begin(2, in_turn=False)
    assert arena.begin(3, in_turn=False)


def test_what_was_taken_back_stays_so_when_more_is(arena: Arena) -> None:
    assert arena.begin(1, in_turn=False)
    assert arena.take_back(3) == (1, None)
    assert not arena.begin(2, in_turn=False)
    assert arena.take_back(5) == (1, None)
    assert not arena.begin(3, in_turn=False)
    assert not arena.begin(4, in_turn=False)
    assert not arena.begin(5, in_turn=False)
    assert arena.begin(6, in_turn=False)


def test_what_has_begun_is_not_taken_back(arena: Arena) -> None:
    assert arena.begin(1, in_turn=False)
    assert arena.begin(2, in_turn=False)
    assert arena.take_back(2) == (2, None)
    assert arena.begin(3, in_turn=False)


def test_what_has_not_begun_of_a_chunk_is_taken_back(arena: Arena) -> None:
    assert arena.begin(1, in_turn=True)
    assert arena.turn(5)
    assert arena.take_back(1) == (1, 5)
    assert arena.take_back(1) == (1, 5)
    assert arena.turn(5)
    assert not arena.turn(6)
    assert arena.begin(2, in_turn=True)
    assert arena.turn(9)


def test_with_the_rest_of_a_chunk_those_behind_it_are_taken_back(arena: Arena) -> None:
    assert arena.begin(1, in_turn=True)
    assert arena.turn(1)
    assert arena.take_back(1) == (1, 1)
    assert arena.take_back(3) == (1, 1)  # sent since
    assert not arena.turn(2)
    assert not arena.begin(2, in_turn=True)
    assert arena.take_back(4) == (1, 1)
    assert not arena.begin(3, in_turn=False)
    assert not arena.begin(4, in_turn=False)
    assert arena.begin(5, in_turn=True)
    assert arena.take_back(5) == (5, 0)
    assert not arena.turn(1)


def test_less_asked_for_gives_back_no_more_than_was_taken(arena: Arena) -> None:
    # The caller holds fewer by now: what it took back before runs elsewhere.
    assert arena.begin(5, in_turn=True)
    assert arena.turn(16)
    assert arena.take_back(7) == (5, 16)
    assert arena.take_back(5) == (5, 16)
    assert not arena.begin(6, in_turn=True)
    assert not arena.begin(7, in_turn=True)
    assert arena.begin(8, in_turn=True)


def test_what_begins_as_a_whole_is_not_taken_back_in_part(arena: Arena) -> None:
    assert arena.begin(1, in_turn=False)
    assert arena.take_back(1) == (1, None)
    assert arena.take_back(2) == (1, None)
    assert not arena.begin(2, in_turn=True)
    assert arena.begin(3, in_turn=True)
