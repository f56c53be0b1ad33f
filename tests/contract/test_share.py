"""`share`: pickled once, one copy in each worker, gone with its handle."""

import gc
import os
import pickle
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.backends import BACKENDS, Settings
from tests.scripts import run_script

from pmap import NotPicklableError, Pool, Shared, pmap, share

if TYPE_CHECKING:
    from pathlib import Path

    from pmap._types import StartMethod

Array = NDArray[np.float64]


class Counted:
    """Says how often it was pickled."""

    count = 0

    def __init__(self) -> None:
        self.data = list(range(100))

    def __getstate__(self) -> dict[str, object]:
        Counted.count += 1
        return self.__dict__


def look(handle: Shared[Counted], index: int) -> tuple[int, int, int]:
    return handle.value.data[index], id(handle.value), os.getpid()


@pytest.fixture(name="counted")
def _counted() -> Counted:
    Counted.count = 0
    return Counted()


def test_it_is_pickled_once_and_each_worker_has_one(
    start_method: "StartMethod", counted: Counted
) -> None:
    handle = share(counted)
    verb = pmap.using(processes=2, start_method=start_method, chunksize=1)
    found = [row for _ in range(3) for row in verb(look, [handle] * 8, range(8))]
    assert [value for value, _, _ in found] == [*range(8)] * 3
    assert len({(place, pid) for _, place, pid in found}) == len({pid for _, _, pid in found}) <= 2
    assert Counted.count == 1
    assert verb(lambda index: handle.value.data[index], [3]) == [3]
    assert Counted.count == 1


@pytest.mark.parametrize("on", BACKENDS, ids=lambda on: on.name)
def test_the_handle_is_the_same_there_and_back(on: Settings) -> None:
    handle = share({"a": [1, 2]})
    verb = pmap.using(backend=on.backend, start_method=on.start_method, processes=2)
    assert verb(lambda h: h is handle, [handle]) == [True]
    assert verb(lambda h: h, [handle])[0] is handle
    assert verb(lambda key: handle.value[key], ["a"]) == [[1, 2]]
    assert repr(handle) == "<Shared dict>"


@pytest.mark.parametrize("backend", ["threads", "serial"])
def test_in_this_process_it_is_the_object_itself(backend: Any) -> None:
    value = [1]
    handle = share(value)
    assert pmap(lambda _: handle.value is value, [1], backend=backend) == [True]


def mapped(_: object) -> int:
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return sum("memfd:pmap" in line and "deleted" in line for line in maps)


def total(handle: Shared[Array]) -> float:
    return float(handle.value.sum())


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there is no memory to be shared")
def test_what_is_dropped_is_given_back() -> None:
    with Pool(1) as pool:
        pool.map(mapped, [1])
        before = pool.map(mapped, [1])[0]
        array: Array = np.arange(1_000_000, dtype=np.float64)
        handle = share(array)
        gone = weakref.ref(handle)
        assert pool.map(total, [handle]) == [array.sum()]
        assert pool.map(mapped, [1])[0] == before + 1
        del handle
        gc.collect()
        assert gone() is None
        pool.map(abs, [1])
        pool.map(abs, [1])
        assert pool.map(mapped, [1])[0] == before


def iter_of() -> Iterator[int]:
    yield 1


def test_what_cannot_be_pickled_says_so() -> None:
    given: list[object] = [iter_of() for _ in range(1)]
    handle = share(given)
    with pytest.raises(NotPicklableError, match="generator"):
        pmap(lambda _: handle.value, [1])
    with pytest.raises(NotPicklableError, match="generator"):
        pmap(lambda h: h.value, [handle])
    with pytest.raises(TypeError, match="workers of pmap only"):
        pickle.dumps(share(1))


SCRIPT: Final = """
import numpy as np
from pmap import pmap, share, restart
class Table:
    def __init__(self, rows):
        self.rows = rows
    def row(self, n):
        return self.rows[n]
table = share(Table(["a", "b"]))
both = {"table": table, "again": table}
def row(n):
    return table.value.row(n), both["table"] is table is both["again"], type(table.value) is Table
verb = pmap.using(processes=2)
print(verb(row, range(2)))
restart()
print(verb(row, range(2)))
arrays = share([np.arange(200_000.0), np.arange(3)])
print(verb(lambda n: float(arrays.value[0][n]), [5]))
def changes(n):
    arrays.value[0][0] = 7
    return float(arrays.value[0][0])
print(pmap(changes, [1], processes=1), arrays.value[0][0])
"""


def test_in_a_script(tmp_path: "Path") -> None:
    rows = "[('a', True, True), ('b', True, True)]"
    assert run_script(tmp_path, SCRIPT) == [rows, rows, "[5.0]", "[7.0] 0.0"]


WARNS: Final = """
import warnings
from pmap import pmap, share
big = list(range(3_000_000))
def look(n):
    return big[n]
def looks(n, table=bytes(20_000_000)):
    return table[n]
table = share(big)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(pmap(lambda n: table.value[n], [5]))
    print(len(caught))
    print({call})
    print({call})
for one in caught:
    text = str(one.message)
    print(one.filename == __file__, {words!r} in text, "pmap.share(" in text)
"""


@pytest.mark.parametrize(
    ("call", "words", "shown"),
    [
        ("pmap(look, [5])", "MB by value: the global 'big'", "[5]"),
        ("pmap(lambda n, t=looks.__defaults__[0]: t[n], [5])", "20 MB by value: in its", "[0]"),
    ],
)
def test_a_function_that_carries_much_says_so_once(
    call: str, words: str, shown: str, tmp_path: "Path"
) -> None:
    text = WARNS.replace("{call}", call).replace("{words!r}", repr(words))
    assert run_script(tmp_path, text) == ["[5]", "0", shown, shown, "True True True"]
