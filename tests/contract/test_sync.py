"""Coroutine functions, on every backend: in worker processes, the items of a chunk run at once."""

import asyncio
import contextvars
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.backends import BACKENDS, Settings
from tests.files import mark, marks, wait_for_file
from tests.items import all_workers_at_once, square
from tests.limits import seconds
from tests.signals import KILL

from pmap import (
    ControlFlowError,
    Failure,
    TaskTimeout,
    TransportError,
    WorkerLost,
    call,
    papply,
    pcall,
    pmap,
    pstarmap,
    sync,
)

if TYPE_CHECKING:
    from pmap import Options

PROCESSES = [b for b in BACKENDS if b.processes]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def options(backend: Settings) -> "Options":
    """The options for a backend with two workers."""
    return {"backend": backend.backend, "start_method": backend.start_method, "processes": 2}


@pytest.fixture(params=PROCESSES, ids=lambda b: b.name)
def process(request: pytest.FixtureRequest) -> "Options":
    """The options for two worker processes."""
    return {"start_method": request.param.start_method, "processes": 2}


async def double(x: int) -> int:
    """Return twice x, after a while."""
    await asyncio.sleep(0.001 * (x % 3))
    return 2 * x


async def fail_at(bad: int, x: int) -> int:
    """Fail at one item."""
    await asyncio.sleep(0)
    if x == bad:
        raise LookupError(x)
    return x


async def meet(folder: str, of: int, x: int) -> int:
    """Return when so many others are here, too."""
    mark(folder, x)
    while len(marks(folder)) < of:  # noqa: ASYNC110 - they may be in other processes
        await asyncio.sleep(0.001)
    return x


async def set_variable(x: int) -> str:
    """Return what the variable was, and set it."""
    before = variable.get()
    variable.set(f"set by {x}")
    await asyncio.sleep(0)
    return before


async def misbehave(kind: type[BaseException], x: int) -> int:
    """Raise what would end the event loop."""
    await asyncio.sleep(0)
    if x == 2:
        raise kind
    return x


async def double_or_wait(x: int) -> int:
    """Return twice x at once; of a negative one, never."""
    if x < 0:
        await asyncio.Event().wait()
    return 2 * x


async def die_at(folder: str, fatal: int, x: int) -> int:
    """Note that the item begins; when all of its chunk have, one of them ends the process."""
    mark(folder, x)
    await asyncio.sleep(0.01)
    if x == fatal:
        os.kill(os.getpid(), KILL)
    await asyncio.sleep(0.05)
    return x


def test_coroutine_functions(options: "Options") -> None:
    verb = pmap.using(**options)
    assert verb(sync(double), range(30)) == [2 * x for x in range(30)]
    assert list(verb.iter(sync(double), range(30))) == [2 * x for x in range(30)]
    assert pstarmap.using(**options)(sync(fail_at), [(9, 1), (9, 2)]) == [1, 2]
    assert papply.using(**options)(sync(double), 4) == 8
    assert verb(sync(partial(fail_at, 9)), range(3)) == [0, 1, 2]

    async def local(x: int) -> int:
        return x + offset

    offset = 5
    assert verb(sync(local), range(3)) == [5, 6, 7]


def test_the_first_failure_of_coroutines(options: "Options") -> None:
    verb = pmap.using(**options)
    with pytest.raises(LookupError) as caught:
        verb(sync(partial(fail_at, 7)), range(20))
    assert "item 7, " in caught.value.__notes__[0]
    results = verb.collecting(sync(partial(fail_at, 7)), range(20))
    assert [r.index for r in results if isinstance(r, Failure)] == [7]
    assert [r for r in results if not isinstance(r, Failure)] == [x for x in range(20) if x != 7]


def test_the_items_of_a_chunk_run_at_once(tmp_path: Path, process: "Options") -> None:
    verb = pmap.using(**process)
    assert verb(sync(partial(meet, str(tmp_path), 40)), range(40)) == [*range(40)]
    (tmp_path / "marks").unlink()
    assert verb(sync(partial(meet, str(tmp_path), 6)), range(6), chunksize=3) == [*range(6)]


def test_each_coroutine_has_its_own_context(options: "Options") -> None:
    token = variable.set("the caller's")
    try:
        assert pmap.using(**options)(sync(set_variable), range(4)) == ["the caller's"] * 4
    finally:
        variable.reset(token)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_a_coroutine_that_raises_what_ends_loops(
    process: "Options", kind: type[BaseException]
) -> None:
    results = pmap.using(**process).collecting(sync(partial(misbehave, kind)), range(5))
    assert [r for r in results if not isinstance(r, Failure)] == [0, 1, 3, 4]
    (bad,) = [r for r in results if isinstance(r, Failure)]
    assert bad.index == 2
    assert isinstance(bad.error, ControlFlowError)


def test_those_that_run_beside_a_death_are_lost_with_it(tmp_path: Path, process: "Options") -> None:
    verb = pmap.using(**process).using(chunksize=10).collecting
    results = verb(sync(partial(die_at, str(tmp_path), 13)), range(30))
    lost = [r.index for r in results if isinstance(r, Failure)]
    assert 13 in lost
    assert {*lost} <= {*range(10, 20)}
    assert all(isinstance(r.error, WorkerLost) for r in results if isinstance(r, Failure))
    assert Counter(marks(tmp_path)) == Counter(map(str, range(30))), "none begins twice"


def test_an_argument_that_does_not_load_costs_its_own_coroutine(process: "Options") -> None:
    class Bad:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return int, ("no number",)

    async def same(x: object) -> object:
        return x

    results = pmap.using(**process).collecting(sync(same), [1, Bad(), 3])
    assert results[0] == 1
    assert results[2] == 3
    assert isinstance(results[1], Failure)
    assert isinstance(results[1].error, TransportError)


def test_what_is_no_coroutine_function_is_refused() -> None:
    plain: Any = square
    with pytest.raises(TypeError, match="async def"):
        sync(plain)
    coroutine: Callable[[int], Coroutine[Any, Any, int]] = double
    with pytest.raises(TypeError, match=r"pmap\(sync\(double\), xs\)"):
        pmap(coroutine, [1])
    assert repr(sync(double)) == "sync(double)"


@sync
async def decorated(x: int) -> int:
    """Be a plain function by its decorator."""
    await asyncio.sleep(0)
    return x + 1


class Adder:
    """Coroutine functions of every kind."""

    def __init__(self, more: int) -> None:
        self.more = more

    async def method(self, x: int) -> int:
        await asyncio.sleep(0)
        return x + self.more

    @classmethod
    async def of_class(cls, x: int) -> int:
        return x + 2

    @staticmethod
    async def static(x: int) -> int:
        return x + 3

    async def __call__(self, x: int) -> int:
        return x + self.more


async def add(x: int, y: int = 0, *, more: int = 0) -> int:
    """Return the sum."""
    await asyncio.sleep(0)
    return x + y + more


async def count_others(folder: str, x: int) -> tuple[int, int]:
    """Return the most that ran at once in this process, and how many items did."""
    running.append(x)
    most.append(max([*most, len(running)]))
    await asyncio.sleep(0.02)
    running.remove(x)
    mark(folder, x)
    return most[-1], os.getpid()


running: list[int] = []
most: list[int] = [0]


def forget(folder: str, _: int) -> None:
    """Forget in each worker how many there were."""
    all_workers_at_once(folder, 2)
    del most[1:]


async def the_later_fails_first(folder: str, x: int) -> int:
    """Item 2 fails when item 5 has."""
    mark(folder, f"begin{x}")
    if x == 5:
        mark(folder, "failed")
        raise LookupError("the later")
    while x == 2 and "failed" not in marks(folder):  # noqa: ASYNC110 - it is in a file
        await asyncio.sleep(0.001)
    if x == 2:
        raise ValueError("the earlier")
    if x > 5:
        await asyncio.sleep(60)
        mark(folder, f"end{x}")
    return x


async def exit_in_a_task(x: int) -> int:
    """Raise SystemExit in a task of its own, at one item."""

    async def leave() -> None:
        await asyncio.sleep(0.005)
        raise SystemExit(4)

    if x == 2:
        await asyncio.create_task(leave())
    await asyncio.sleep(0.05)
    return x


async def leave_a_task_behind(x: int) -> int:
    """Start a task that nobody awaits, and that raises SystemExit some time."""

    async def leave() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        raise SystemExit(4)

    left_behind.append(asyncio.create_task(leave()))
    return x


left_behind: list[object] = []


async def die_when_all_have_begun(folder: str, chunk: range, x: int) -> int:
    """End the process when all items of its chunk have begun; those of others wait for that."""
    mark(folder, x)
    if x in chunk:
        while not {*map(str, chunk)} <= {*marks(folder)}:  # noqa: ASYNC110 - it is in a file
            await asyncio.sleep(0.001)
        if x == chunk[0]:
            os.kill(os.getpid(), KILL)
        await asyncio.sleep(60)
    return x


async def nothing() -> int:
    """Take no arguments."""
    return 1


def inner(x: int) -> list[int]:
    """Use a coroutine function inside an item."""
    return pmap(sync(double), range(x))


async def inner_at_once(x: int) -> list[int]:
    """Do so where a loop runs."""
    return pmap(sync(double), range(x))


def test_every_kind_of_coroutine_function(options: "Options") -> None:
    verb = pmap.using(**options)
    assert verb(decorated, [1, 2]) == [2, 3]
    assert verb(sync(Adder(5).method), [1, 2]) == [6, 7]
    assert verb(sync(Adder.of_class), [1, 2]) == [3, 4]
    assert verb(sync(Adder.static), [1, 2]) == [4, 5]
    assert verb(sync(Adder(7)), [1, 2]) == [8, 9]
    assert verb(sync(partial(add, 1, more=5)), [1, 2]) == [7, 8]
    assert verb(partial(sync(add), more=5), [1, 2]) == [6, 7]
    assert verb(lambda x: sync(add)(x, 1), [1, 2]) == [2, 3]
    assert verb(sync(add), [1, 2], [10, 20]) == [11, 22]
    assert papply.using(**options)(sync(add), 1, more=2) == 3
    assert pcall.using(**options)(call(sync(add), 1, more=2), sync(nothing)) == (3, 1)
    assert pmap.using(**options)(sync(double), []) == []


def test_in_all_forms(options: "Options") -> None:
    verb = pmap.using(**options)
    assert verb.async_(sync(double), range(5)).get() == [0, 2, 4, 6, 8]
    assert sorted(verb.iter_unordered(sync(double), range(100))) == [2 * x for x in range(100)]
    rows = [(x, 1) for x in range(9)]
    assert list(pstarmap.using(**options).iter(sync(add), rows)) == [x + 1 for x in range(9)]
    assert papply.using(**options).async_(sync(double), 4).get() == 8


@pytest.mark.parametrize("chunksize", [None, 1, 2, 7, 100])
def test_any_chunksize_gives_the_same(process: "Options", chunksize: int | None) -> None:
    verb = pmap.using(**process).using(chunksize=chunksize)
    assert verb(sync(double), range(30)) == [2 * x for x in range(30)]
    with pytest.raises(LookupError) as caught:
        verb(sync(partial(fail_at, 7)), range(30))
    assert caught.value.args == (7,)


def test_how_many_run_at_once(tmp_path: Path, process: "Options") -> None:
    for chunksize, expected in ((None, 64), (5, 5), (1, 1)):
        results = pmap.using(**process)(
            sync(partial(count_others, str(tmp_path))), range(80), chunksize=chunksize
        )
        most_of: dict[int, int] = {}
        for most_there, pid in results:
            most_of[pid] = max(most_there, most_of.get(pid, 0))
        assert max(most_of.values()) == expected
        (tmp_path / str(chunksize)).mkdir()
        pmap.using(**process)(partial(forget, f"{tmp_path}/{chunksize}"), range(2), chunksize=1)
    assert Counter(marks(tmp_path)) == Counter({str(x): 3 for x in range(80)})


def test_the_error_is_that_of_the_lowest_index(tmp_path: Path, process: "Options") -> None:
    with pytest.raises(ValueError, match="the earlier") as caught:
        pmap.using(**process)(
            sync(partial(the_later_fails_first, str(tmp_path))), range(10), chunksize=10
        )
    assert "item 2, " in caught.value.__notes__[0]
    assert not [name for name in marks(tmp_path) if name.startswith("end")], "nothing runs on"
    assert pmap.using(**process)(sync(double), [1]) == [2]


def test_a_task_that_exits_costs_who_awaits_it(process: "Options") -> None:
    results = pmap.using(**process).collecting(sync(exit_in_a_task), range(5), chunksize=5)
    assert [r for r in results if not isinstance(r, Failure)] == [0, 1, 3, 4]
    assert isinstance(results[2], Failure)
    assert isinstance(results[2].error, ControlFlowError)


def test_a_task_that_is_left_behind_costs_nobody(process: "Options") -> None:
    verb = pmap.using(**process).collecting
    assert verb(sync(leave_a_task_behind), range(20), chunksize=2) == [*range(20)]
    assert verb(sync(double), range(20), chunksize=2) == [2 * x for x in range(20)]


def test_a_death_costs_all_that_had_begun_and_nothing_else(
    tmp_path: Path, process: "Options"
) -> None:
    verb = pmap.using(**process).using(chunksize=8).collecting
    act = partial(die_when_all_have_begun, str(tmp_path), range(8, 16))
    results = verb(sync(act), range(60))
    assert [r.index for r in results if isinstance(r, Failure)] == [*range(8, 16)]
    assert [r for r in results if not isinstance(r, Failure)] == [*range(8), *range(16, 60)]
    lost = [r.error for r in results if isinstance(r, Failure)]
    assert all(isinstance(error, WorkerLost) and error.begun for error in lost)
    assert Counter(marks(tmp_path)) == Counter(map(str, range(60))), "each begins once"


def test_a_death_is_raised_at_the_first_of_those_that_had_begun(
    tmp_path: Path, process: "Options"
) -> None:
    act = partial(die_when_all_have_begun, str(tmp_path), range(8))
    with pytest.raises(WorkerLost) as caught:
        pmap.using(**process)(sync(act), range(16), chunksize=8)
    assert caught.value.index == 0
    assert max(Counter(marks(tmp_path)).values()) == 1


def test_context_variables_of_every_item(options: "Options") -> None:
    token = variable.set("the caller's")
    try:
        verb = pmap.using(**options)
        for chunksize in (1, 3):
            results = verb(sync(set_variable), range(6), chunksize=chunksize)
            assert results == ["the caller's"] * 6
        assert list(verb.iter(sync(set_variable), range(6))) == ["the caller's"] * 6
    finally:
        variable.reset(token)
    assert pmap.using(**options)(sync(set_variable), range(3)) == ["unset"] * 3


def test_inside_an_item(options: "Options") -> None:
    verb = pmap.using(**options)
    assert verb(inner, [3, 2]) == [[0, 2, 4], [0, 2]]
    assert verb(sync(inner_at_once), [3, 2]) == [[0, 2, 4], [0, 2]]


def test_plain_verbs_refuse_a_coroutine_function_and_say_what_to_do() -> None:
    coroutine: Any = add
    for function in (coroutine, partial(coroutine, 1), Adder(1).method, Adder(1), Adder.static):
        asked: list[Any] = [pmap, pstarmap, pmap.async_, pmap.iter, pmap.collecting, papply, call]
        for ask in asked:
            with pytest.raises(TypeError, match=r"sync\("):
                ask(function, [1])
    with pytest.raises(TypeError, match=r"sync\(nothing\)"):
        pcall(nothing)


def test_sync_refuses_what_is_none() -> None:
    async def generate(x: int) -> Any:
        yield x

    def only_returns_one(x: int) -> object:
        return add(x)

    wrong: list[Any] = [only_returns_one, generate, square, 5, None, Adder]
    for function in wrong:
        with pytest.raises(TypeError, match="sync takes a coroutine function"):
            sync(function)
    coroutine: Any = add(1)
    with pytest.raises(TypeError, match="sync takes a coroutine function"):
        sync(coroutine)
    coroutine.close()
    assert sync(add).__name__ == "add"
    assert sync(add).__doc__ == "Return the sum."


def test_called_where_it_stands() -> None:
    assert sync(add)(1, 2, more=3) == 6
    with pytest.raises(LookupError):
        sync(fail_at)(1, 1)

    async def within() -> int:
        return sync(add)(1, 2)

    assert asyncio.run(within()) == 3


def test_what_blocks_its_loop_holds_up_no_other_worker(tmp_path: Path, process: "Options") -> None:
    # Chunks of two workers run beside each other: one blocks its loop, and the other goes on.
    verb = pmap.using(**process)
    assert verb(sync(partial(wait_or_touch, str(tmp_path))), range(2), chunksize=1) == [0, 1]


async def wait_or_touch(folder: str, x: int) -> int:
    """Item 0 blocks its loop until item 1 has run."""
    if x == 0:
        wait_for_file(f"{folder}/go")
    else:
        Path(folder, "go").touch()  # noqa: ASYNC240 - as short as can be
    return x


def test_a_coroutine_that_takes_too_long_costs_itself(process: "Options") -> None:
    verb = pmap.using(**process).using(timeout=seconds(1), chunksize=4)
    good, late, *others = verb.collecting(sync(double_or_wait), [1, -1, 2, 3])
    assert [good, *others] == [2, 4, 6]
    assert isinstance(late, Failure)
    assert isinstance(late.error, TaskTimeout)
    assert late.error.limit == seconds(1)
    assert "in double_or_wait" in late.error.stack
    with pytest.raises(TaskTimeout, match=r"item 1, double_or_wait\(-1\)"):
        verb(sync(double_or_wait), [1, -1, 2, 3])
