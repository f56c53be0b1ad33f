"""What the checkers must infer of several handles, and of pools. pytest runs every line, too."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing import get_context
from typing import Any, Never, assert_type

from tests.typing.accepted_functions import (
    Animal,
    Dog,
    dog,
    more,
    needs_depth,
    one,
    papply,
    pcall,
    pmap,
    pstarmap,
    same,
    total,
    two,
)

import pmap as door
from pmap import (
    AsyncResult,
    Calls,
    Deferred,
    Failure,
    Map,
    Pool,
    ResultStream,
    ThreadPool,
    as_completed,
    call,
    failed,
    gather,
    split,
    sync,
)

# --- several handles -----------------------------------------------------------------------------


def test_gather() -> None:
    a, b = papply.async_(one, 1), papply.async_(two, 1, "a")
    assert_type(gather().get(), tuple[()])
    assert_type(gather(a).get(), tuple[str])
    assert_type(gather(a, b).get(), tuple[str, float])
    assert_type(gather(a, b, a).get(), tuple[str, float, str])
    assert_type(gather(a, b, a, b).get(), tuple[str, float, str, float])
    assert_type(gather(a, b, a, b, a).get(), tuple[str, float, str, float, str])
    assert_type(gather(a, a, a, a, a, a).get(), tuple[str, ...])
    assert_type(gather(*[a, a]), AsyncResult[tuple[str, ...]])
    assert_type(gather(a, gather(b, a)).get(), tuple[str, tuple[float, str]])
    assert_type(gather(pmap.async_(one, [1]), b).get(), tuple[list[str], float])
    maybe = papply.collecting.async_(one, 1)
    assert_type(gather(maybe, a).get(), tuple[str | Failure, str])
    assert_type(gather(a, b).then(lambda both: both[1]).get(), float)

    async def main() -> None:
        assert_type(await gather(), tuple[()])
        assert_type(await gather(a, b), tuple[str, float])

    assert callable(main)


def test_handles() -> None:
    later = papply.async_(one, 1)
    assert_type(later.then(len), AsyncResult[int])
    assert_type(later.then(len).get(), int)
    assert_type(later.future(), Future[str])
    assert_type([done.get() for done in as_completed([later])], list[str])
    assert_type(later.exception(), Exception | None)
    assert_type(later.then(lambda text: [text]).get(), list[str])
    assert_type(later.then(len).then(one).get(), str)
    assert_type(later.then(len).future().result(), int)
    assert_type(pmap.async_(one, [1]).then(sorted).get(), list[str])

    def told(over: AsyncResult[str]) -> None:
        assert_type(over.get(), str)

    later.add_done_callback(told)
    later.add_done_callback(lambda over: assert_type(over.get(), str))

    async def main() -> None:
        assert_type(await later.aget(), str)
        assert_type(await later.then(len), int)
        async for over in as_completed([later]):
            assert_type(over, AsyncResult[str])
        async with asyncio.TaskGroup() as group:
            assert_type(group.create_task(later.aget()), asyncio.Task[str])

    assert callable(main)


def test_different_calls() -> None:
    assert_type(call(two, 1, name="a"), Deferred[float])
    assert_type(call(two, 1, name="a")(), float)
    assert_type(pcall(call(one, 1)), tuple[str])
    assert_type(pcall(call(one, 1), call(two, 1, "a")), tuple[str, float])
    assert_type(pcall(call(one, 1), lambda: 5), tuple[str, int])
    a, b = call(one, 1), call(two, 1, "a")
    assert_type(pcall(a, b, a), tuple[str, float, str])
    assert_type(pcall(a, b, a, b), tuple[str, float, str, float])
    assert_type(pcall(a, b, a, b, a), tuple[str, float, str, float, str])
    assert_type(pcall(a, a, a, a, a, a), tuple[str, ...])
    assert_type(pcall(*[a, a]), tuple[str, ...])
    assert_type(pcall.async_(a), AsyncResult[tuple[str]])
    assert_type(pcall.async_(a, b, a).get(), tuple[str, float, str])
    assert_type(pcall.async_(a, b, a, b).get(), tuple[str, float, str, float])
    assert_type(pcall.async_(a, b, a, b, a).get(), tuple[str, float, str, float, str])
    assert_type(pcall.async_(*[a, a]).get(), tuple[str, ...])
    assert_type(pcall.collecting.async_(a, b).get(), tuple[str | Failure, float | Failure])
    assert_type(pcall.using(chunksize=1), Calls[Never])
    assert_type(pcall.collecting, Calls[Failure])
    assert_type(call(total, 1, 2, 3)(), int)
    assert_type(call(Dog, name="Rex"), Deferred[Dog])
    assert_type(call(same, "a")(), str)
    dogs = call(dog, 1)
    animals: Deferred[Animal] = dogs
    assert animals().name == "1"
    both = pcall.collecting(call(one, 1), call(two, 1, "a"))
    assert_type(both, tuple[str | Failure, float | Failure])
    later = pcall.async_(call(one, 1), call(two, 1, "a"))
    assert_type(later, AsyncResult[tuple[str, float]])
    assert_type(later.get()[1], float)
    collecting: Calls[Failure] = pcall
    assert collecting(call(one, 1)) == ("1",)


def test_failures_are_told_apart() -> None:
    results = pmap.collecting(one, [1])
    good, bad = split(results)
    assert_type(good, list[str])
    assert_type(bad, list[Failure])
    result = results[0]
    if failed(result):
        assert_type(result, Failure)
    else:
        assert_type(result, str)
    if not failed(result):
        assert_type(result, str)
    else:
        assert_type(result.error, Exception)
    assert_type([r for r in results if not failed(r)], list[str])
    assert_type([r for r in results if failed(r)], list[Failure])
    both = pcall.collecting(call(one, 1), call(two, 1, "a"))
    if not failed(both[0]):
        assert_type(both[0], str)
    streamed, bad_ones = split(pmap.collecting.iter(two, [1], ["a"]))
    assert_type(streamed, list[float])
    assert_type(bad_ones, list[Failure])


def test_coroutine_functions() -> None:
    async def fetch(x: int, name: str = "") -> bytes:
        return name.encode() * x

    async def page(x: int) -> str:
        return str(x)

    assert_type(sync(page)(1), str)
    assert_type(pmap(sync(fetch), [1], ["a"]), list[bytes])
    assert_type(pmap.collecting(sync(page), [1]), list[str | Failure])
    assert_type(pmap.async_(sync(page), [1]).get(), list[str])
    assert_type(pcall(call(sync(fetch), 1, name="a"), call(one, 1)), tuple[bytes, str])
    assert_type(pmap(sync(page), [1]), list[str])
    assert_type(list(pmap.iter(sync(page), [1])), list[str])
    assert_type(papply(sync(fetch), 1, name="a"), bytes)
    assert_type(pstarmap(sync(fetch), [(1, "a")]), list[bytes])


def test_options_of_time() -> None:
    assert_type(pmap.using(timeout=3.0, retries=2, retry_on=ValueError), Map)
    assert_type(pmap.using(timeout=None, retries=[0.1, 1], retry_on=(OSError, KeyError)), Map)


# --- pools ---------------------------------------------------------------------------------------


def begin() -> None: ...


def greet(name: str) -> None: ...


def greet_often(name: str, times: int) -> None: ...


def greet_all(*names: object) -> None: ...


def test_the_calls_of_a_pool() -> None:
    def use(pool: Pool, anything: Any, rows: tuple[Any, ...]) -> None:
        assert_type(pool.apply(one, kwds={"x": 1}), str)
        assert_type(pool.apply(one, (1,)), str)
        assert_type(pool.apply(one, [1]), str)
        assert_type(pool.apply(two, [1, "a"]), float)
        assert_type(pool.apply(two, {1: "a"}.items(), {}), float)
        assert_type(pool.apply(needs_depth, (1,), {"depth": 2}), int)
        assert_type(pool.apply(needs_depth, [1], {"depth": 2}), int)
        assert_type(pool.apply(needs_depth, args=(1,), kwds={"depth": 2}), int)
        assert_type(pool.apply(func=needs_depth, kwds={"x": 1, "depth": 2}), int)
        assert_type(pool.apply(func=one, args=(1,)), str)
        assert_type(pool.apply(total), int)
        assert_type(pool.apply(total, ()), int)
        assert_type(pool.apply(total, range(3)), int)
        assert_type(pool.apply(total, (x for x in [1])), int)
        assert_type(pool.apply(two, anything), float)
        assert_type(pool.apply(two, rows), float)
        assert_type(pool.apply_async(one, kwds={"x": 1}), AsyncResult[str])
        assert_type(pool.apply_async(one, kwds={"x": 1}, callback=print), AsyncResult[str])
        assert_type(pool.apply_async(one, kwds={"x": 1}, error_callback=print), AsyncResult[str])
        assert_type(pool.apply_async(one, [1]), AsyncResult[str])
        assert_type(pool.apply_async(one, args=[1], callback=print), AsyncResult[str])
        assert_type(pool.apply_async(one, (1,), {}, print, print), AsyncResult[str])
        assert_type(pool.apply_async(one, (1,), callback=lambda t: t.upper()), AsyncResult[str])
        assert_type(pool.apply_async(func=one, args=(1,), kwds={}), AsyncResult[str])
        assert_type(pool.apply_async(total), AsyncResult[int])
        assert_type(pool.apply_async(lambda: 3), AsyncResult[int])
        assert_type(pool.apply_async(two, anything), AsyncResult[float])
        assert_type(pool.apply_async(two, rows), AsyncResult[float])

    assert callable(use)


def test_the_initializer_of_a_pool() -> None:
    def make(f: Callable[..., object] | None, rows: tuple[Any, ...]) -> None:
        assert_type(Pool(), Pool)
        Pool(2, begin)
        Pool(2, begin, ())
        Pool(2, greet, ("a",))
        Pool(2, greet_often, ("a", 1))
        Pool(2, greet_all)
        Pool(2, greet_all, (1, "a"))
        Pool(None, greet, ("a",), 5, get_context("spawn"))
        Pool(2, initializer=greet, initargs=("a",))
        Pool(initializer=greet, initargs=("a",), maxtasksperchild=3)
        Pool(initializer=begin)
        Pool(2, None, ())
        Pool(2, greet, ["a"])
        Pool(initializer=greet_often, initargs=["a", 1])
        Pool(2, print, ("started",))
        Pool(2, lambda: None)
        Pool(2, more, (1, "a"), main="import")
        Pool(2, f, rows)
        Pool(initializer=f, initargs=rows)
        ThreadPool(2, greet, ("a",))
        ThreadPool(initializer=begin)
        ThreadPool(2, greet, initargs=("a",))

    assert callable(make)


def test_a_class_that_derives_from_a_pool() -> None:
    class Named(Pool):
        def __init__(self, name: str, processes: int | None = None) -> None:
            super().__init__(processes)
            self.name = name

    def use() -> None:
        with Named("a", 2) as pool:
            assert_type(pool, Named)
            assert_type(pool.map(one, [1]), list[str])
        with ThreadPool(2) as threads:
            assert_type(threads, ThreadPool)
            assert_type(threads.imap(one, [1]), ResultStream[str])
            assert_type(door.pmap.using(pool=threads), Map[Never])

    assert callable(use)
