"""What the checkers must infer of streams. pytest runs every line, too."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import assert_type

from tests.typing.accepted_functions import (
    Animal,
    Dog,
    Row,
    dog,
    one,
    papply,
    pmap,
    pstarmap,
    same,
    six,
    total,
    two,
)

import pmap as door
from pmap import AsyncResult, Failure, Pool, ResultStream, as_completed, gather


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
