"""Which items a trial takes, and how much of the input it reads."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count

import pytest

from pmap._explain.source import MOST, source_of


def test_a_sequence_is_read_at_some_places_only() -> None:
    class Counted(list[int]):
        read = 0

        def __getitem__(self, index: object) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            assert isinstance(index, int)
            self.read += 1
            return super().__getitem__(index)

        def __iter__(self) -> Iterator[int]:
            raise AssertionError("it is not read from the beginning")

    given = Counted(range(1000))
    source = source_of([given])
    taken = source.take(3) + source.take(2)
    assert [place for place, _ in taken] == [item for _, item in taken]
    assert max(place for place, _ in taken) > 500
    assert (given.read, source.length, source.consumed) == (5, 1000, 0)


@pytest.mark.parametrize("given", [{1, 2, 3}, {1: "a", 2: "b", 3: "c"}, {1: 2}.items()])
def test_what_gives_its_items_again_is_not_consumed(given: Iterable[object]) -> None:
    source = source_of([given])
    assert [item for _, item in source.take(5)] == list(given)
    assert (source.length, source.consumed) == (len(list(given)), 0)


def test_an_iterator_is_read_as_far_as_it_says() -> None:
    numbers = count()
    source = source_of([numbers])
    assert source.take(3) == [(0, 0), (1, 1), (2, 2)]
    assert source.take(1) == [(3, 3)]
    assert (source.length, source.consumed) == (None, 4)
    assert next(numbers) == 4


def test_the_length_of_an_iterator_is_known_at_its_end() -> None:
    source = source_of([iter("abc")])
    assert source.take(2) == [(0, "a"), (1, "b")]
    generated = source_of([(letter for letter in "abc")])
    lengths = [generated.length]
    assert len(generated.take(5)) == generated.consumed == 3
    assert generated.take(5) == []
    lengths.append(generated.length)
    assert lengths == [None, 3]


def test_several_iterables_go_together_up_to_the_shortest() -> None:
    source = source_of([range(10), "abc"])
    assert sorted(source.take(5)) == [(0, (0, "a")), (1, (1, "b")), (2, (2, "c"))]
    assert source.length == 3
    mixed = source_of([deque([1, 2]), iter("abc")])
    assert mixed.take(5) == [(0, (1, "a")), (1, (2, "b"))]
    assert mixed.consumed == 2


def test_no_more_than_so_many_are_read() -> None:
    source = source_of([count()])
    assert len(source.take(5 * MOST)) == source.consumed == MOST
    assert source.take(1) == []
    assert source.length is None
