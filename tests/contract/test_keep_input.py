"""A failure that keeps its item, so that it can be run again."""

from collections.abc import Iterable

import pytest
from tests.backends import BACKENDS, Settings

from pmap import Failure, failed, papply, pmap, pstarmap


def failures_of(results: Iterable[object]) -> list[Failure]:
    return [result for result in results if failed(result)]


def inverse(x: float, y: float = 1) -> float:
    return y / x


@pytest.mark.parametrize("on", BACKENDS, ids=lambda on: on.name)
def test_only_the_failures_again(on: Settings) -> None:
    verb = pmap.collecting.using(
        backend=on.backend, start_method=on.start_method, keep_input=True, processes=2
    )
    items = [1, 0, 2, 0.0]
    found = verb(inverse, items)
    failures = failures_of(found)
    assert [failure.item for failure in failures] == [0, 0.0]
    assert failures[0].item is items[1]
    assert verb(lambda x: inverse(1 + bool(x)), [failure.item for failure in failures]) == [1, 1]
    assert [f.item for f in failures_of(verb.iter(inverse, items))] == [0, 0.0]
    assert [f.item for f in failures_of(verb(inverse, items, [5] * 4))] == [(0, 5), (0.0, 5)]
    rows = pstarmap.collecting(inverse, [(1, 2), (0, 3)], keep_input=True, backend=on.backend)
    assert [failure.item for failure in failures_of(rows)] == [(0, 3)]
    one = papply.collecting.using(keep_input=True, backend=on.backend)(inverse, 0, y=2)
    assert isinstance(one, Failure)
    assert one.item == ((0,), {"y": 2})


def test_it_is_not_kept_unless_asked_for() -> None:
    found = pmap.collecting(inverse, [0], backend="serial")
    assert [failure.item for failure in failures_of(found)] == [None]
    kept = pmap.collecting(inverse, [0], backend="serial", keep_input=True)
    assert [type(failure.error) for failure in failures_of(kept)] == [ZeroDivisionError]
