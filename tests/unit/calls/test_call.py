"""What one call asks for: wrong arguments are told before anything starts."""

import itertools
from collections.abc import Iterator

import pytest
from tests.unit.calls.callables import Row, double, pages

from pmap import pstarmap
from pmap._calls.call import Kind, apply, each, star


class Old:
    """Iterable by the old protocol only."""

    def __getitem__(self, index: int) -> int:
        if index > 2:
            raise IndexError
        return index


# -- items -------------------------------------------------------------------------------------


def test_a_list_is_copied_what_cannot_change_is_kept() -> None:
    xs = [1, 2]
    call = each("pmap", double, (xs,))
    xs.append(3)
    assert call.items == [1, 2]
    for fixed in ((1, 2), range(10**12)):
        assert each("pmap", double, (fixed,)).items is fixed
    row = Row(1, 2)
    assert each("pmap", double, (row,)).items == [1, 2]
    assert each("pmap", double, (Old(),)).items == [0, 1, 2]
    assert each("pmap", double, ("ab",)).items == ["a", "b"]


def test_the_exception_of_an_iterable_is_its_own() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        each("pmap", double, (broken(),))
    with pytest.raises(KeyError, match="mine"):
        each("pmap", max, ([1, 2], broken()))


def test_rows_become_tuples_and_no_row_is_left_to_its_item() -> None:
    row = Row(1, 2)
    call = star("pstarmap", pow, [row, [1, 2], "ab", (), 5, None, {"k": 1}])
    assert call.items == [row, (1, 2), ("a", "b"), (), 5, None, ("k",)]
    assert call.items[0] is row
    assert call.kind is Kind.STAR


@pytest.mark.parametrize("rows", [[(1, 2), 5], [(1, 2), (1,)], [(1, 2), (1, 2, 3, 4)], [None]])
def test_a_bad_row_is_a_type_error_as_in_starmap(rows: list[tuple[int, ...]]) -> None:
    with pytest.raises(TypeError):
        list(itertools.starmap(pow, rows))
    with pytest.raises(TypeError):
        pstarmap.using(backend="serial")(pow, rows)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_apply_is_one_item() -> None:
    call = apply("papply", double, (1,), {"x": 2})
    assert call.items == (((1,), {"x": 2}),)
    assert call.kind is Kind.APPLY


# -- what is no iterable -----------------------------------------------------------------------


def test_the_argument_that_is_no_iterable_is_named() -> None:
    with pytest.raises(TypeError, match=r"^pmap's second argument xs must be iterable, got int: 5"):
        each("pmap", double, (5,))
    with pytest.raises(TypeError, match=r"^pmap's third argument ys must be iterable, got None"):
        each("pmap", max, ([1], None))
    with pytest.raises(TypeError, match=r"^pmap's argument 9 must be iterable, got float: 1.5"):
        each("pmap", max, (*[[1]] * 7, 1.5))
    with pytest.raises(TypeError, match=r"^pstarmap's second argument rows must be iterable"):
        star("pstarmap", double, 5)


def test_nothing_is_read_where_an_argument_is_wrong() -> None:
    source = iter([1, 2])
    with pytest.raises(TypeError):
        each("pmap", max, (source, 5))
    with pytest.raises(TypeError):
        each("pmap", None, (source,))
    assert list(source) == [1, 2]


def test_an_asynchronous_iterable_is_refused_with_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"asynchronous.*async for y in"):
        each("pmap", double, (pages(1),))
