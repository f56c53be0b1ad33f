"""Which functions can run in a worker, and what is said of those that cannot."""

import asyncio
import functools
import textwrap
from collections.abc import Awaitable, Callable, Iterator

import pytest
from tests.unit.calls.callables import Adder, double, pages

from pmap import pmap, sync
from pmap._calls.call import Call, apply, each, star
from pmap._calls.describe import name_of


async def fetch(x: int) -> int:
    return x


def numbers(x: int) -> Iterator[int]:
    yield x


class Fetcher:
    async def __call__(self, x: int) -> int:
        return x


class Lister:
    def __call__(self, x: int) -> Iterator[int]:
        yield x


@pytest.mark.parametrize("xs", [[], [1]])
def test_none_is_no_function_also_over_nothing(xs: list[int]) -> None:
    with pytest.raises(TypeError, match=r"^pmap's first argument must be a function, got None"):
        each("pmap", None, (xs,))
    with pytest.raises(TypeError, match=r"^pstarmap's first argument must be a function"):
        star("pstarmap", None, xs)
    with pytest.raises(TypeError, match=r"^papply's first argument must be a function"):
        apply("papply", None, (), {})


def test_a_result_in_place_of_the_function_shows_the_right_call() -> None:
    with pytest.raises(TypeError, match=r"got int: 2\. .*pmap\(f, xs\), not pmap\(f\(x\), xs\)"):
        each("pmap", double(1), ([1],))
    with pytest.raises(TypeError, match=r"pstarmap\(f, rows\), not pstarmap\(f\(\*row\), rows\)"):
        star("pstarmap", 5, [(1,)])
    with pytest.raises(TypeError, match=r"papply\(f, \*args\), not papply\(f\(\*args\)\)"):
        apply("papply", 5, (1,), {})


def test_swapped_arguments_are_seen() -> None:
    with pytest.raises(TypeError, match=r"The function comes first: pmap\(f, xs\)"):
        each("pmap", [1, 2], (double,))


ASYNCHRONOUS: list[Callable[[int], object]] = [
    fetch,
    functools.partial(fetch),
    functools.partial(functools.partial(fetch)),
    Adder().afetch,
    functools.partial(Adder().afetch),
    Adder.sfetch,
    Fetcher(),
    functools.partial(Fetcher()),
]


@pytest.mark.parametrize("function", ASYNCHRONOUS, ids=name_of)
def test_a_coroutine_function_is_refused(function: Callable[[int], object]) -> None:
    ways: list[Callable[[], Call]] = [
        lambda: each("pmap", function, ([],)),
        lambda: star("pstarmap", function, []),
        lambda: apply("papply", function, (), {}),
    ]
    for make in ways:
        with pytest.raises(TypeError, match=r"coroutine function (?s:.*)\(sync\("):
            make()


@pytest.mark.parametrize("function", [numbers, functools.partial(numbers), Lister()], ids=name_of)
def test_a_generator_function_is_refused(function: Callable[[int], object]) -> None:
    with pytest.raises(TypeError, match="the generator function "):
        each("pmap", function, ([],))


@pytest.mark.parametrize("function", [fetch, numbers, pages])
def test_the_wrapper_in_the_message_works(function: Callable[[int], object]) -> None:
    with pytest.raises(TypeError) as caught:
        each("pmap", function, ([1, 2],))
    code = textwrap.dedent(str(caught.value).split(":\n\n")[1])
    *wrapper, call = code.splitlines()
    names: dict[str, object] = {"asyncio": asyncio, name_of(function): function}
    names |= {"pmap": pmap.using(backend="serial"), "sync": sync, "xs": [1, 2]}
    exec("\n".join(wrapper), names)
    result: object = eval(call, names)
    assert result == ([1, 2] if function is fetch else [[1], [2]])


def wrapped(x: int) -> int:
    return asyncio.run(fetch(x))


@functools.wraps(fetch)
def synchronous(x: int) -> int:
    return asyncio.run(fetch(x))


PLAIN: list[Callable[..., object]] = [
    *(double, len, int, Adder, Adder(), Adder().add, functools.partial(pow, 2), str.upper),
    *(wrapped, synchronous, Fetcher, functools.lru_cache(double), lambda: fetch),
]


@pytest.mark.parametrize("function", PLAIN, ids=name_of)
def test_a_plain_function_is_taken_as_it_is(function: Callable[..., object]) -> None:
    assert each("pmap", function, ([],)).function is function


def test_a_function_that_returns_an_awaitable_is_no_coroutine_function() -> None:
    def start(x: int) -> Awaitable[int]:
        raise AssertionError(x)

    assert each("pmap", start, ([],)).function is start
