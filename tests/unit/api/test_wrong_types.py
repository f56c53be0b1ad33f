"""What is given a value of a wrong type names itself, and nothing is started."""

import sys
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.context import SpawnContext
from typing import Any, Final

import numpy as np
import pytest
from tests.backends import START_METHODS

from pmap import (
    Executor,
    OptionError,
    Pool,
    ThreadPool,
    as_completed,
    gather,
    papply,
    pimap,
    pmap,
    pstarmap,
)
from pmap._api.executor import ExecutorOptions
from pmap._calls.arguments import start_method_of
from pmap._calls.options import Options
from pmap._engine import process_end as _process_end


class Refuses:
    """What raises whatever it is asked."""

    def __index__(self) -> int:
        raise RuntimeError("no index")

    def __float__(self) -> float:
        raise RuntimeError("no float")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


# Of no type that any option takes.
NEVER: Final[dict[str, Any]] = {
    "an object": object(),
    "text": "abc",
    "bytes": b"a",
    "a complex number": 1j,
    "no number": float("nan"),
    "what refuses": Refuses(),
    "a module": sys,
    "a class": Refuses,
}
NUMBERS: Final[dict[str, Any]] = {"one": 1, "minus one": -1, "a half": 0.5}
SEVERAL: Final[dict[str, Any]] = {
    "a list": [1],
    "a dict": {"a": 1},
    "a set": {"a"},
    "an array": np.array([1, 2]),
}
MORE: Final[dict[str, Any]] = {
    "a function": abs,
    "a class that is an int": int,
    "True": True,
    "a class of contexts": SpawnContext,
}
VALUES: Final = NEVER | NUMBERS | SEVERAL | MORE
# What is of a right type among them.
_RIGHT: Final[list[tuple[str, set[str]]]] = [
    ("initializer callback error_callback f", {"a class", *MORE} - {"True"}),
    ("initargs args", {*SEVERAL, "text", "bytes"}),
    ("isolate kill_over_memory kill_on_cancel keep_input logs", {"True"}),
    ("checkpoint", {"text"}),
    ("progress", {"text", "a function", "True"}),
    ("trace", {"True"}),
    ("timeout", {*NUMBERS}),
    ("deadline", {"one", "a half"}),
    ("retries", {"one", "a list", "an array"}),
    ("kwds", {"a dict"}),
    ("seed processes max_workers chunksize buffersize maxtasksperchild", {"one"}),
    ("max_tasks_per_child max_memory_per_child threads_per_worker", {"one"}),
]
RIGHT: Final = {option: titles for options, titles in _RIGHT for option in options.split()}
MADE: Final[dict[Callable[..., object], list[str]]] = {
    Pool: ["processes", "initializer", "initargs", "maxtasksperchild", "context", "main"],
    ThreadPool: ["processes", "initializer", "initargs"],
    Executor: [
        *("max_workers", "mp_context", "initializer", "initargs", "max_tasks_per_child"),
        *ExecutorOptions.__annotations__,
    ],
    pmap.using: [*Options.__annotations__],
    pstarmap.using: [*Options.__annotations__],
    papply.using: [*Options.__annotations__],
    pimap: ["processes", "context", "chunksize", "buffersize"],
}


def wrong(option: str) -> Iterator[Any]:
    for title, value in VALUES.items():
        if title not in RIGHT.get(option, ()):
            yield value


def assert_it_names_itself(option: str, ask: Callable[[Any], object]) -> None:
    asked = 0
    for value in wrong(option):
        with pytest.raises((TypeError, ValueError), match=rf"\b{option}\b"):
            ask(value)
        asked += 1
    assert asked > 5


@pytest.mark.parametrize(
    ("make", "option"), [(make, option) for make, options in MADE.items() for option in options]
)
def test_of_what_is_made(make: Callable[..., object], option: str) -> None:
    before = {*_process_end.engines}
    more: list[Any] = [abs, [1]] if make is pimap else []
    assert_it_names_itself(option, lambda value: make(*more, **{option: value}))
    assert {*_process_end.engines} <= before


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPool]:
    with ThreadPool(1) as made:
        yield made
        made.close()
        made.join()


def none_submitted(*_: object) -> Any:
    raise AssertionError("a call was submitted")


CALLS: Final[dict[str, list[str]]] = {
    "apply": ["args", "kwds"],
    "apply_async": ["args", "kwds", "callback", "error_callback"],
    "map": ["chunksize"],
    "map_async": ["chunksize", "callback", "error_callback"],
    "starmap": ["chunksize"],
    "starmap_async": ["chunksize", "callback", "error_callback"],
    "imap": ["chunksize", "buffersize"],
    "imap_unordered": ["chunksize", "buffersize"],
    "istarmap": ["chunksize", "buffersize"],
}


@pytest.mark.parametrize(("method", "option"), [(m, o) for m, some in CALLS.items() for o in some])
def test_of_the_calls_of_a_pool(
    method: str, option: str, pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool._driver, "submit", none_submitted)
    call: Any = getattr(pool, method)
    more = [abs] if "apply" in method else [abs, [(1,)]]
    assert_it_names_itself(option, lambda value: call(*more, **{option: value}))


@pytest.mark.parametrize("option", ["timeout", "chunksize", "buffersize"])
def test_of_the_map_of_an_executor(option: str) -> None:
    executor: Any = Executor(1, backend="threads")
    assert_it_names_itself(option, lambda value: executor.map(abs, [1], **{option: value}))
    assert not executor._drivers


def test_of_handles_and_streams(pool: ThreadPool) -> None:
    later: Any = pool.apply_async(abs, (-1,))
    stream: Any = pool.imap(abs, [-1, -2])
    assert_it_names_itself("timeout", later.get)
    assert_it_names_itself("timeout", later.wait)
    assert_it_names_itself("timeout", stream.next)
    assert_it_names_itself("callback", later.add_done_callback)
    assert_it_names_itself("f", later.then)
    # As good as for ever, though nothing can wait for so long.
    assert (later.get(float("inf")), later.get(1e300), stream.next(1e300)) == (1, 1, 1)
    assert [*stream] == [2]
    for value in NEVER.values():
        with pytest.raises(TypeError, match="gather's argument 1 must be an AsyncResult"):
            gather(value)
        with pytest.raises(TypeError, match="as_completed's argument 2 must be an AsyncResult"):
            as_completed([later, value])
    with pytest.raises(TypeError, match="as_completed takes handles, as a list, and got int"):
        as_completed(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_a_context_names_the_start_method() -> None:
    for method in START_METHODS:
        assert start_method_of("context", get_context(method)) == method
        context: Any = get_context(method)
        assert Executor(1, context)._options.start_method == method
    assert start_method_of("context", None) is None

    class Foreign:
        def get_start_method(self) -> str:
            return "loky"

    with pytest.raises(OptionError, match=r"^context=.*get_context\('spawn'\)"):
        start_method_of("context", Foreign())


@pytest.mark.parametrize(("make", "option"), [(Pool, "context"), (Executor, "mp_context")])
def test_a_name_where_a_context_is_expected(make: Any, option: str) -> None:
    for method in START_METHODS:
        with pytest.raises(OptionError) as caught:
            make(1, **{option: method})
        said = str(caught.value)
        assert f"multiprocessing.get_context({method!r})" in said
        assert f"start_method={method!r}" in said
    with pytest.raises(OptionError, match=r"multiprocessing\.get_context\('spawn'\)"):
        make(1, **{option: "spwan"})
