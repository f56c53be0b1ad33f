"""What the checkers must infer. pytest runs every line, too: the types are those at run time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import count, pairwise, product
from multiprocessing import get_context
from typing import Any, NamedTuple, Never, TypeVar, assert_type

import pmap as door
from pmap import (
    Apply,
    AsyncResult,
    Calls,
    Deferred,
    Executor,
    Failure,
    Map,
    Options,
    Pool,
    ResultStream,
    StarMap,
    ThreadPool,
    as_completed,
    call,
    failed,
    gather,
    raise_failures,
    split,
    sync,
)

T = TypeVar("T")

# No workers: what is tested here is what the checkers say.
pmap = door.pmap.using(backend="serial")
pstarmap = door.pstarmap.using(backend="serial")
papply = door.papply.using(backend="serial")
pcall = door.pcall.using(backend="serial")


class Animal:
    def __init__(self, name: str = "") -> None:
        self.name = name

    def speak(self, times: int) -> list[str]:
        return [self.name] * times


class Dog(Animal): ...


class Row(NamedTuple):
    x: int
    name: str


def one(x: int) -> str:
    return str(x)


def two(x: int, name: str) -> float:
    return x + len(name)


def more(x: int, name: str = "", *, loud: bool = False) -> bytes:
    return bytes(x) + name.encode() + bytes(loud)


def total(*numbers: int) -> int:
    return sum(numbers)


def same(x: T) -> T:
    return x


def none(x: object) -> None: ...


def dog(x: int) -> Dog:
    return Dog(str(x))


def names(animal: Animal) -> str:
    return animal.name


def six(a: int, b: int, c: int, d: int, e: int, f: int) -> str:
    return f"{a}{b}{c}{d}{e}{f}"


def test_kinds() -> None:
    assert_type(door.pmap, Map)
    assert_type(door.pmap, Map[Never])
    assert_type(pmap, Map[Never])
    assert_type(pstarmap, StarMap[Never])
    assert_type(papply, Apply[Never])
    assert_type(pmap.using(processes=2).using(chunksize=3), Map[Never])
    assert_type(pmap.collecting, Map[Failure])
    assert_type(pmap.collecting.using(processes=2), Map[Failure])
    assert_type(pstarmap.collecting, StarMap[Failure])
    assert_type(papply.collecting, Apply[Failure])


def test_pmap_over_one_iterable() -> None:
    assert_type(pmap(one, [1, 2]), list[str])
    assert_type(pmap(len, ["a", "bb"]), list[int])
    assert_type(pmap(len, {"a": 1}), list[int])
    assert_type(pmap(str.upper, ("a", "b")), list[str])
    assert_type(pmap(str, range(3)), list[str])
    assert_type(pmap(Dog, ["Rex"]), list[Dog])
    assert_type(pmap(Animal("a").speak, [1]), list[list[str]])
    assert_type(pmap(lambda x: x / 2, [1, 2]), list[float])
    assert_type(pmap(same, ["a"]), list[str])
    assert_type(pmap(more, (n for n in [1, 2])), list[bytes])
    assert_type(pmap(total, [1, 2]), list[int])
    assert_type(pmap(none, [1]), list[None])
    assert_type(pmap(names, [Dog("a")]), list[str])
    assert_type(pmap(names, map(dog, [1])), list[str])


def test_pmap_over_several_iterables() -> None:
    assert_type(pmap(two, [1], ["a"]), list[float])
    assert_type(pmap(lambda x, y: x * len(y), [1], ["a"]), list[int])
    assert_type(pmap(lambda x, y, z: (z, y, x), [1], ["a"], [b""]), list[tuple[bytes, str, int]])
    assert_type(pmap(total, [1], [2], [3], [4]), list[int])
    assert_type(pmap(total, [1], [2], [3], [4], [5]), list[int])
    assert_type(pmap(six, [1], [2], [3], [4], [5], [6]), list[str])
    assert_type(pmap(total, [1], [2], [3], [4], [5], [6], [7]), list[int])
    assert_type(pmap(more, [1], ["a"]), list[bytes])


def test_options_in_the_call() -> None:
    given: Options = {"processes": 2, "chunksize": None, "backend": "serial"}
    assert_type(pmap(one, [1], chunksize=10), list[str])
    assert_type(pmap(one, [1], **given), list[str])
    assert_type(pmap(two, [1], ["a"], chunksize=10, processes=2), list[float])
    assert_type(pstarmap(two, [(1, "a")], chunksize=None), list[float])
    assert_type(pmap.using(**given), Map[Never])
    assert_type(pmap.using(initializer=one, initargs=(1,), start_method="spawn"), Map[Never])


def test_the_context_of_a_pool() -> None:
    def make(method: str) -> None:
        Pool(context=get_context("spawn"))
        Pool(2, context=get_context(method))
        Pool(2, None, (), None, get_context())

    assert callable(make)


def test_an_executor() -> None:
    def use(executor: Executor) -> None:
        assert_type(executor.submit(two, 1, name="a"), Future[float])
        assert_type(executor.map(one, [1]), Iterator[str])
        Executor(2, get_context(), one, (1,), max_tasks_per_child=3)
        Executor(initializer=two, initargs=(1, "a"), backend="threads")

    assert callable(use)


def test_a_given_pool() -> None:
    def on(pool: Pool) -> Map:
        return door.pmap.using(pool=pool)

    assert callable(on)


def test_pstarmap() -> None:
    assert_type(pstarmap(two, [(1, "a"), (2, "b")]), list[float])
    assert_type(pstarmap(two, [Row(1, "a")]), list[float])
    assert_type(pstarmap(two, zip([1, 2], ["a", "b"], strict=True)), list[float])
    assert_type(pstarmap(two, enumerate(["a"])), list[float])
    assert_type(pstarmap(two, {1: "a"}.items()), list[float])
    assert_type(pstarmap(two, product([1], "ab")), list[float])
    assert_type(pstarmap(total, pairwise([1, 2, 3])), list[int])
    assert_type(pstarmap(more, [(1, "a")]), list[bytes])
    assert_type(pstarmap(more, [(1,)]), list[bytes])
    assert_type(pstarmap(divmod, [(7, 2)]), list[tuple[int, int]])
    assert_type(pstarmap(lambda x, y: (y, x), [Row(1, "a")]), list[tuple[str, int]])
    assert_type(pstarmap(Animal.speak, [(Animal("a"), 2)]), list[list[str]])
    rows: list[tuple[int, ...]] = [(1, 2), (3,)]
    assert_type(pstarmap(total, rows), list[int])


def test_papply() -> None:
    assert_type(papply(one, 1), str)
    assert_type(papply(two, 1, name="a"), float)
    assert_type(papply(more, 1, loud=True), bytes)
    assert_type(papply(Dog, name="Rex"), Dog)
    assert_type(papply(lambda: 3), int)
    assert_type(papply(same, "a"), str)
    assert_type(papply(none, 1), None)


def test_collecting() -> None:
    assert_type(pmap.collecting(one, [1]), list[str | Failure])
    assert_type(pmap.collecting(two, [1], ["a"]), list[float | Failure])
    assert_type(pstarmap.collecting(two, [(1, "a")]), list[float | Failure])
    assert_type(papply.collecting(one, 1), str | Failure)
    assert_type(pmap.collecting.async_(one, [1]), AsyncResult[list[str | Failure]])
    assert_type(papply.collecting.async_(one, 1), AsyncResult[str | Failure])
    for result in pmap.collecting(one, [1]):
        if isinstance(result, Failure):
            assert_type(result.error, Exception)
        else:
            assert_type(result, str)


def test_async_forms() -> None:
    assert_type(pmap.async_(one, [1]), AsyncResult[list[str]])
    assert_type(pmap.async_(one, [1]).get(), list[str])
    assert_type(pmap.async_(two, [1], ["a"], chunksize=2).get(timeout=60.0), list[float])
    assert_type(pmap.async_(six, [1], [2], [3], [4], [5], [6]).get(), list[str])
    assert_type(pstarmap.async_(two, [(1, "a")]).get(), list[float])
    assert_type(papply.async_(two, 1, name="a").get(), float)
    later = papply.async_(one, 1)
    assert_type(later.ready(), bool)
    assert_type(later.cancel(), bool)
    assert_type(later.done, int)
    assert_type(later.total, int)


def test_the_names_of_the_async_forms() -> None:
    def each() -> object:  # typed only: these would start workers
        assert_type(door.pmap_async(one, [1], chunksize=1), AsyncResult[list[str]])
        assert_type(door.pstarmap_async(two, [(1, "a")]), AsyncResult[list[float]])
        return assert_type(door.papply_async(two, 1, name="a"), AsyncResult[float])

    assert callable(each)


def test_await() -> None:
    async def main() -> str:
        found = await papply.async_(one, 1)
        assert_type(found, str)
        several = await pmap.async_(one, [1])
        assert_type(several, list[str])
        return found

    assert callable(main)


def test_variance() -> None:
    # In two steps, through a variable: in one, inference may widen the result type itself.
    later = papply.async_(dog, 1)
    wider: AsyncResult[Animal] = later
    assert wider.get().name == "1"
    plain = pmap.using(chunksize=1)
    collecting: Map[Failure] = plain
    assert collecting(one, [1]) == ["1"]
    star = pstarmap.using(chunksize=1)
    collecting_rows: StarMap[Failure] = star
    assert collecting_rows(two, [(1, "a")]) == [2]
    call = papply.using(chunksize=1)
    collecting_one: Apply[Failure] = call
    assert collecting_one(one, 1) == "1"


def test_a_verb_is_a_function_to_others() -> None:
    def use(mapper: Callable[[Callable[[int], str], Sequence[int]], list[str]]) -> list[str]:
        return mapper(one, [1])

    def wrapped(f: Callable[[int], T], xs: Iterable[int]) -> list[T]:
        return pmap(f, xs)

    assert_type(use(pmap), list[str])
    assert_type(wrapped(one, [1]), list[str])


# --- streams -------------------------------------------------------------------------------------


def test_each_form_of_streams() -> None:
    assert_type(list(pmap.iter(one, [1])), list[str])
    assert_type(
        list(pmap.iter(lambda x, y, z: (z, y, x), [1], ["a"], [b""])), list[tuple[bytes, str, int]]
    )
    assert_type(list(pmap.iter(total, [1], [2], [3], [4], [5], [6], [7])), list[int])
    assert_type(list(pmap.iter_unordered(max, [1], [2], [3])), list[int])
    assert_type(list(pmap.iter_unordered(total, [1], [2], [3], [4])), list[int])
    assert_type(list(pmap.iter_unordered(total, [1], [2], [3], [4], [5])), list[int])
    assert_type(list(pmap.iter_unordered(six, [1], [2], [3], [4], [5], [6])), list[str])
    assert_type(list(pmap.collecting.iter_unordered(two, [1], ["a"])), list[float | Failure])
    assert_type(list(pstarmap.collecting.iter_unordered(two, [(1, "a")])), list[float | Failure])
    assert_type(list(pmap.iter(same, ["a"])), list[str])
    assert_type(next(pmap.iter(Dog, ["Rex"])), Dog)
    assert_type(list(pstarmap.iter(two, [Row(1, "a")], buffersize=None)), list[float])
    with pmap.collecting.iter(one, [1]) as stream:
        assert_type(stream, ResultStream[str | Failure])
        assert_type(stream.next(timeout=60), str | Failure)
    chained = pmap.iter(len, pmap.iter(one, [1]))
    assert_type(chained, ResultStream[int])
    assert list(chained) == [1]


def test_streams() -> None:
    pmap.iter(one, count(), buffersize=2).close()
    assert_type(list(pmap.iter(two, [1], ["a"])), list[float])
    assert_type(list(pmap.iter(max, [1], [2], [3])), list[int])
    assert_type(list(pmap.iter(total, [1], [2], [3], [4])), list[int])
    assert_type(list(pmap.iter(total, [1], [2], [3], [4], [5])), list[int])
    assert_type(list(pmap.iter(six, [1], [2], [3], [4], [5], [6])), list[str])
    assert_type(list(pmap.iter_unordered(one, [1])), list[str])
    assert_type(list(pmap.iter_unordered(two, [1], ["a"], chunksize=2)), list[float])
    assert_type(list(pmap.collecting.iter(one, [1])), list[str | Failure])
    assert_type(list(pstarmap.iter(two, [(1, "a")])), list[float])
    assert_type(list(pstarmap.iter_unordered(two, zip([1], ["a"], strict=True))), list[float])
    assert_type(list(pstarmap.collecting.iter(two, [(1, "a")])), list[float | Failure])
    with pmap.iter(one, [1]) as stream:
        assert_type(stream, ResultStream[str])
        assert_type(next(stream), str)
        assert_type(stream.taken, int)
        assert_type(stream.read, int)


def test_streams_of_asynchronous_iterables() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    async def rows() -> AsyncIterator[tuple[int, str]]:
        yield 1, "a"

    async def main() -> None:  # typed only: asyncio has its own tests
        assert_type(pmap.iter(one, numbers()), ResultStream[str])
        assert_type(pmap.iter_unordered(one, numbers()), ResultStream[str])
        assert_type(pstarmap.iter(two, rows()), ResultStream[float])
        assert_type(pmap.collecting.iter(one, numbers()), ResultStream[str | Failure])
        assert_type(pstarmap.iter_unordered(two, rows()), ResultStream[float])
        assert_type(door.pimap(one, numbers()), ResultStream[str])
        assert_type(door.pimap_unordered(one, numbers()), ResultStream[str])
        assert_type(pmap.iter(len, pmap.iter(one, numbers())), ResultStream[int])
        assert_type(pmap.async_(one, numbers()), AsyncResult[list[str]])
        assert_type(await pmap.collecting.async_(one, numbers()), list[str | Failure])
        assert_type(await pmap.async_(one, numbers()), list[str])
        assert_type(await pstarmap.async_(two, rows()), list[float])
        async for result in pmap.iter(one, [1]):
            assert_type(result, str)
        async for result_or_failure in pmap.collecting.iter(one, numbers()):
            assert_type(result_or_failure, str | Failure)
        async with pmap.iter(one, [1]) as stream:
            assert_type(await anext(stream), str)

    assert callable(main)


def test_the_names_of_streams() -> None:
    def each() -> object:
        assert_type(door.pimap(one, [1]), ResultStream[str])
        return assert_type(door.pimap_unordered(two, [1], ["a"]), ResultStream[float])

    assert callable(each)


def test_the_streams_of_a_pool() -> None:
    def use(pool: Pool) -> None:
        assert_type(pool.imap(one, [1]), ResultStream[str])
        assert_type(pool.imap_unordered(one, [1], 5, buffersize=10), ResultStream[str])
        assert_type(pool.imap(func=one, iterable=[1], chunksize=2), ResultStream[str])
        assert_type(pool.imap(len, ["a"], chunksize=None, buffersize=None), ResultStream[int])
        assert_type(next(pool.imap_unordered(one, [1])), str)
        assert_type(pool.istarmap(two, [(1, "a")]), ResultStream[float])
        assert_type(pool.istarmap(two, zip([1], ["a"], strict=True), 5, 10), ResultStream[float])

    assert callable(use)


def test_variance_of_streams() -> None:
    dogs = pmap.iter(dog, [1])
    animals: ResultStream[Animal] = dogs
    anything: ResultStream[object] = animals
    assert [animal.name for animal in animals] == ["1"]
    plain: Iterator[Animal] = anything_of(dogs)
    assert list(plain) == []
    maybe = pmap.iter(dog, [1])
    collected: ResultStream[Dog | Failure] = maybe
    assert len(list(collected)) == 1
    assert list(anything) == []


def anything_of(stream: ResultStream[Animal]) -> ResultStream[Animal]:
    return stream


def test_variance_of_what_is_gathered() -> None:
    dogs = papply.async_(dog, 1)
    later = gather(dogs, dogs)
    animals: AsyncResult[tuple[Animal, Animal]] = later
    assert len(animals.get()) == 2
    completed = as_completed([dogs])
    wider: Iterator[AsyncResult[Animal]] = completed
    assert next(wider).get().name == "1"


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


def needs_depth(x: int, *, depth: int) -> int:
    return x + depth


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


# --- cases, and mixed types ----------------------------------------------------------------------


def test_failures_in_a_case() -> None:
    seen: list[object] = []
    for result in pmap.collecting(int, ["1", "x"]):
        match result:
            case Failure(error=ValueError() as error, index=index):
                assert_type(error, ValueError)
                seen.append(assert_type(index, int))
            case Failure(error, index, function, text, traceback, attempts):
                assert_type(error, Exception)
                assert_type(index, int)
                seen.append((function, text, traceback, assert_type(attempts, int)))
            case _:
                seen.append(assert_type(result, int))
    assert seen == [1, 1]


def test_mixed_types() -> None:
    number, text = papply.async_(len, "a"), papply.async_(one, 1)
    assert {over.get() for over in as_completed((number, text))} == {1, "1"}
    for over in as_completed((number, text)):
        assert_type(over, AsyncResult[int | str])
    both = pcall.collecting(call(one, 1), call(two, 1, "a"))
    good, bad = split(both)
    assert_type(good, list[str | float])
    assert_type(bad, list[Failure])
    assert_type(raise_failures(both), list[str | float])
    assert_type(split(pmap.collecting(one, [1])), tuple[list[str], list[Failure]])


def test_mixed_types_in_a_list_that_says_so() -> None:
    # mypy joins what a list has to `object`; it takes the word of an annotation, on either side.
    handles: list[AsyncResult[int | str]] = [papply.async_(len, "a"), papply.async_(one, 1)]
    assert_type([over.get() for over in as_completed(handles)], list[int | str])
    assert_type(gather(*handles).get(), tuple[int | str, ...])
    results: list[str | float | Failure] = [*pmap.collecting(one, [1]), 0.5]
    good: list[str | float]
    good, bad = split(results)
    assert_type(good, list[str | float])
    assert_type(bad, list[Failure])
    wanted: list[str | float] = raise_failures(results)
    assert wanted == good == ["1", 0.5]


def test_the_verb_as_a_pool() -> None:
    assert_type(pmap.map, Map[Never])
    assert_type(pmap.collecting.map, Map[Failure])
    assert_type(pmap.map(one, [1]), list[str])


def test_rows_of_keywords_and_constants() -> None:
    rows = [{"x": 1, "depth": 2}]
    assert_type(pmap(lambda row: needs_depth(**row), rows), list[int])
    assert_type(pcall(*[call(needs_depth, **row) for row in rows]), tuple[int, ...])
    assert_type(pmap(partial(needs_depth, depth=3), [1]), list[int])
