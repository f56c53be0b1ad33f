"""Very few, very many, very deep; and nothing that grows.

``PMAP_POOLS=5000`` opens and closes more pools.
"""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from operator import le
from typing import Any, Final, TypeVar

import pytest
from tests.items import square
from tests.limits import TIME_LIMIT, until

from pmap import Failure, Pool, TransportError, papply, pmap, pstarmap

T = TypeVar("T")

POOLS: Final = int(os.environ.get("PMAP_POOLS", "24"))
DEPTH: Final = 100_000

Form = Callable[..., list[Any]]


def _streamed(f: Callable[[Any], object], xs: Any, **options: Any) -> list[Any]:
    return list(pmap.using(**options).iter(f, xs))


def _asynchronous(f: Callable[[Any], object], xs: Any, **options: Any) -> list[Any]:
    return pmap.async_(f, xs, **options).get(TIME_LIMIT)


def _rows(f: Callable[[Any], object], xs: Any, **options: Any) -> list[Any]:
    return pstarmap(f, ((x,) for x in xs), **options)


def _of_a_pool(f: Callable[[Any], object], xs: Any, **_: Any) -> list[Any]:
    with Pool(2) as pool:
        return pool.map(f, xs)


FORMS: Final[dict[str, Form]] = {
    "pmap": pmap,
    "async_": _asynchronous,
    "iter": _streamed,
    "pstarmap": _rows,
    "Pool.map": _of_a_pool,
}


@pytest.fixture(params=FORMS, name="form")
def _form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


# --- few and many ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few(form: Form, count: int) -> None:
    assert form(square, range(count)) == [n * n for n in range(count)]


def test_a_million(form: Form) -> None:
    count = 1_000_000 if form is pmap else 100_000
    results = form(abs, range(-count, 0))
    assert len(results) == count
    assert results[0] == count
    assert results[-1] == 1
    assert sum(results) == count * (count + 1) // 2


def test_many_more_workers_than_cpus() -> None:
    with Pool(64) as pool:
        assert pool.map(square, range(1000), chunksize=1) == [n * n for n in range(1000)]
        assert len(set(pool.map(_meet, range(64), chunksize=1))) <= 64


def _meet(_: int) -> int:
    return os.getpid()


def test_many_more_workers_than_items() -> None:
    assert pmap(square, [1, 2, 3], processes=64) == [1, 4, 9]


# --- deep -----------------------------------------------------------------------------------------


def nested(depth: int) -> list[Any]:
    """Return a list in a list, and so on."""
    outer: list[Any] = []
    for _ in range(depth):
        outer = [outer]
    return outer


def flatten(value: list[Any]) -> None:
    """Take a deep list apart: to let go of it at once needs a deep stack in some versions."""
    while value:
        value = value.pop()


def test_an_argument_that_is_nested_too_deeply(form: Form) -> None:
    deep = nested(DEPTH)
    with pytest.raises(TransportError, match="argument") as caught:
        form(len, [[], deep, [1]])
    assert isinstance(caught.value.__cause__, RecursionError)
    assert form(len, [[], [2]]) == [0, 1]
    flatten(deep)


def test_a_result_that_is_nested_too_deeply() -> None:
    first, deep, last = pmap.collecting(nested, [1, DEPTH, 2], chunksize=3)
    assert first == [[]]
    assert last == [[[]]]
    assert isinstance(deep, Failure)
    assert isinstance(deep.error, TransportError)
    assert "RecursionError" in str(deep.error)


def test_a_function_that_holds_what_is_nested_too_deeply() -> None:
    deep = nested(DEPTH)
    with pytest.raises(TransportError, match="function"):
        papply(lambda: len(deep))
    assert papply(len, [1]) == 1
    flatten(deep)


# --- odd inputs -------------------------------------------------------------------------------


class Broken(Exception):
    """What an input raises."""


def test_a_stream_yields_all_that_came_before_its_input_broke() -> None:
    def items() -> Iterator[int]:
        yield from range(50)
        raise Broken

    seen: list[int] = []

    def take() -> None:
        for result in pmap.iter(square, items()):
            seen.append(result)  # noqa: PERF402  # `extend` would keep none if it raises

    with pytest.raises(Broken):
        take()
    assert seen == [n * n for n in range(50)]


def test_an_input_that_is_its_own_function() -> None:
    def items() -> Iterator[Callable[[], int]]:
        yield lambda: 1
        yield lambda: 2

    assert pmap(lambda f: f(), items()) == [1, 2]


def test_an_argument_that_cannot_be_pickled_among_many() -> None:
    count, bad = 20_000, 12_345
    items: list[Any] = [[n] for n in range(count)]
    items[bad] = threading.Lock()
    results = pmap.collecting(_first, items)
    failure = results[bad]
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, TransportError)
    assert failure.index == bad
    results[bad] = bad
    assert results == list(range(count))


def _first(row: list[int]) -> int:
    return row[0]


# --- nothing grows ---------------------------------------------------------------------------


def held() -> tuple[int, int]:
    """Return how many descriptors and threads this process has."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def resident() -> int:
    """Return how many bytes of memory this process takes."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counted in /proc")
@pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool:ResourceWarning")
@pytest.mark.parametrize("end", ["close", "terminate", "with", "dropped"])
def test_pools_in_turn_leave_nothing(end: str) -> None:
    def one() -> None:
        pool = Pool(2)
        assert pool.map(square, [1, 2, 3]) == [1, 4, 9]
        if end == "with":
            with pool:
                pass
        elif end == "close":
            pool.close()
            pool.join()
        elif end == "terminate":
            pool.terminate()
        del pool

    before = held()
    for _ in range(3):
        one()
    size = resident()
    for _ in range(POOLS // 4):
        one()
    # What another test has left may end meanwhile, so that there is less than before.
    until(lambda: all(map(le, held(), before)), f"the end of the last one ({before})")
    assert resident() - size < (1 << 22) + POOLS * 4096


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counted in /proc")
def test_calls_in_turn_leave_nothing() -> None:
    for _ in range(50):
        pmap(square, range(10))
    before, size = held(), resident()
    for n in range(1000):
        assert papply(square, n) == n * n
    for _ in range(20):
        pmap(square, range(2000))
        pmap.async_(square, range(100)).get(TIME_LIMIT)
        list(pmap.iter(square, range(100)))
    assert held() == before
    assert resident() - size < 1 << 22


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counted in /proc")
@pytest.mark.parametrize("recycled", ["chunks", "items"])
def test_a_soak(recycled: str) -> None:
    # benchmarks/soak.py is the long one.
    verb = pmap.using(processes=2)
    verb = verb.using(max_tasks_per_child=2) if recycled == "chunks" else verb.using(isolate=True)
    results = verb.iter(abs, iter(range(100_000)))
    count = 20_000 if recycled == "chunks" else 100
    for _ in range(count // 10):
        next(results)
    before, size = held(), resident()
    for n in range(count // 10, count):
        assert next(results) == n
    after = held()
    assert resident() - size < 1 << 22
    # A worker more or less is being replaced at any moment: a socket and a journal each.
    assert abs(after[0] - before[0]) <= 6
    assert after[1] == before[1]
    results.close()
