"""The window of a stream: which items are still unfinished."""

from hypothesis import given as of
from hypothesis import strategies as st

from pmap._calls.input import Window


@of(st.lists(st.tuples(st.integers(1, 4), st.integers()), max_size=8))
def test_unreleased_are_the_ranges_between_those_that_were_released(
    given: list[tuple[int, int]],
) -> None:
    sizes = [size for size, _ in given]
    window = Window()
    total = sum(sizes)
    window.extend(range(total))
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    order = sorted(range(len(sizes)), key=lambda place: given[place][1])
    left = {*range(total)}
    assert [*left] == [x for start, stop in window.unreleased() for x in range(start, stop)]
    for place in order:
        begin, end = starts[place], starts[place] + sizes[place]
        window.release(begin, end)
        left.difference_update(range(begin, end))
        ranges = window.unreleased()
        assert [x for start, stop in ranges for x in range(start, stop)] == sorted(left)
        assert all(start < stop for start, stop in ranges)
