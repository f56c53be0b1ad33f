"""Handles and streams in asyncio: nothing blocks the event loop, and cancelling ends the work.

Every loop here runs in debug mode, and a callback of it that takes long is a failure.
"""

import asyncio
import contextvars
import itertools
import logging
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.helpers import mark, marks, square, until, wait_for_file

from pmap import CancelledError, Failure, as_completed, gather, papply, pmap, pstarmap

T = TypeVar("T")
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
two = pmap.using(processes=2, chunksize=1)
one = papply.using(processes=2)


@pytest.fixture(autouse=True)
def slow(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Warm the pool, for its start takes its time; then fail if a callback does, or one raises."""
    two(square, range(4))
    with caplog.at_level(logging.WARNING, "asyncio"):
        yield
    assert not [r.getMessage() for r in caplog.records if r.name == "asyncio"]


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` in a loop that watches itself."""
    return asyncio.run(main(), debug=True)


def wait_to_go(folder: str, x: int) -> int:
    """Note that the item begins, wait for a file, note that it ends."""
    mark(folder, f"begin{x}")
    wait_for_file(f"{folder}/go")
    mark(folder, f"end{x}")
    return x


def see(_: int) -> str:
    """Return what the context variable is."""
    return variable.get()


def invert(x: int) -> float:
    """Fail at 0."""
    return 1 / x


def large(_: int) -> bytes:
    """Return 64 MB."""
    return bytes(64 << 20)


async def count(stop: int) -> AsyncIterator[int]:
    """Count, giving way each time."""
    for number in range(stop):
        await asyncio.sleep(0)
        yield number


async def ask(stream: AsyncIterator[int]) -> int:
    """Return the next result."""
    return await anext(stream)


async def begun(folder: Path, *names: str) -> None:
    """Return when items have begun, without blocking the loop."""
    while not {*names} <= {*marks(folder)}:  # noqa: ASYNC110 - another process makes it so
        await asyncio.sleep(0.002)


# --- awaiting ------------------------------------------------------------------------------------


def test_await() -> None:
    async def main() -> None:
        assert await pmap.async_(square, range(5)) == [0, 1, 4, 9, 16]
        assert await pstarmap.async_(pow, [(2, 3)]) == [8]
        later = one.async_(square, 3)
        assert await later == 9
        assert await later == 9, "it can be awaited again"
        assert later.get() == 9
        with pytest.raises(ZeroDivisionError) as caught:
            await two.async_(invert, [1, 0])
        assert "item 1, invert(0)" in caught.value.__notes__[0]

    run(main)


def test_gather_and_task_groups() -> None:
    async def main() -> None:
        assert [*await asyncio.gather(one.async_(square, 2), one.async_(square, 3))] == [4, 9]
        assert await gather(one.async_(square, 2), one.async_(str, 3)) == (4, "3")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.async_(square, x).aget()) for x in range(4)]
        assert [task.result() for task in tasks] == [0, 1, 4, 9]
        later = one.async_(square, 5)
        assert [*await asyncio.gather(later.aget(), later.aget())] == [25, 25]
        assert await later.then(str) == "25"
        assert await asyncio.wrap_future(one.async_(square, 6).future()) == 36

    run(main)


def test_a_timeout_ends_what_runs(tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await later
        with pytest.raises(CancelledError):
            await later  # until nothing of it runs
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    run(main)
    assert "end1" not in marks(tmp_path)


def test_cancelling_the_task_cancels_the_call(tmp_path: Path) -> None:
    async def main() -> None:
        later = two.async_(partial(wait_to_go, str(tmp_path)), [1, 2, 3])
        task = asyncio.create_task(later.aget())
        await begun(tmp_path, "begin1", "begin2")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(CancelledError):
            await later
        (tmp_path / "go").touch()

    run(main)
    assert two(square, range(4)) == [0, 1, 4, 9]
    assert {*marks(tmp_path)} == {"begin1", "begin2"}


def test_a_call_that_is_not_to_be_killed_ends_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        later = two.using(kill_on_cancel=False).async_(partial(wait_to_go, str(tmp_path)), [1])
        task = asyncio.create_task(later.aget())
        await begun(tmp_path, "begin1")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)
    (tmp_path / "go").touch()
    until(lambda: "end1" in marks(tmp_path))


def test_shielded(tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(later.aget()), 0.05)
        (tmp_path / "go").touch()
        assert await later == 1

    run(main)


def test_a_loop_that_is_gone_is_not_missed(tmp_path: Path) -> None:
    async def leave() -> None:
        asyncio.get_running_loop().create_task(later.aget())
        await asyncio.sleep(0)

    later = two.using(kill_on_cancel=False).async_(partial(wait_to_go, str(tmp_path)), [1])
    run(leave)
    (tmp_path / "go").touch()
    later.wait()
    assert later.ready()


def test_callbacks_and_as_completed(tmp_path: Path) -> None:
    async def main() -> None:
        slow_one = one.async_(wait_to_go, str(tmp_path), 1)
        quick = one.async_(square, 3)
        order: list[object] = []
        async for later in as_completed([slow_one, quick]):
            order.append(later.get())
            (tmp_path / "go").touch()
        assert order == [9, 1]

    run(main)


def test_context_variables_of_the_task_are_seen() -> None:
    async def ask(value: str) -> list[str]:
        variable.set(value)
        return [
            *await two.async_(see, [1]),
            *[text async for text in two.iter(see, [1])],
        ]

    async def main() -> None:
        assert [*await asyncio.gather(ask("a"), ask("b"))] == [["a", "a"], ["b", "b"]]

    run(main)


# --- streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
def test_async_for(backend: Any) -> None:
    verb = pmap.using(backend=backend)

    async def main() -> None:
        assert [y async for y in verb.iter(square, range(50))] == [x * x for x in range(50)]
        unordered = [y async for y in verb.iter_unordered(square, count(50))]
        assert sorted(unordered) == [x * x for x in range(50)]
        results = [y async for y in verb.collecting.iter(invert, [1, 0, 2])]
        assert [type(r) for r in results] == [float, Failure, float]
        with pytest.raises(ZeroDivisionError):
            async for _ in verb.iter(invert, count(3)):
                pass
        async with verb.iter(square, itertools.count()) as stream:
            async for y in stream:
                if y >= 100:
                    break
        with pytest.raises(CancelledError):
            await anext(stream)

    run(main)


def test_an_asynchronous_input_is_read_no_further_than_it_may() -> None:
    reads = 0

    async def source() -> AsyncIterator[int]:
        nonlocal reads
        for number in itertools.count():
            reads += 1
            assert reads <= len(taken) - 1 + 3
            yield number

    async def main() -> None:
        async with two.iter(square, source(), buffersize=3) as stream:
            for number in range(20):
                taken.append(number)
                assert await anext(stream) == number**2

    taken: list[int] = []
    run(main)


def test_an_asynchronous_generator_is_closed_and_its_error_comes_last() -> None:
    closed: list[str] = []

    async def source(fail: bool) -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield number
            if fail:
                raise LookupError("the wire")
        finally:
            closed.append("closed")

    async def main() -> None:
        async with two.iter(square, source(fail=False)) as stream:
            assert await anext(stream) == 0
        assert closed == ["closed"]
        stream = two.iter(square, source(fail=True))
        assert [await anext(stream) for _ in range(3)] == [0, 1, 4]
        with pytest.raises(LookupError, match="the wire"):
            await anext(stream)

    run(main)


def test_an_asynchronous_input_for_one_handle() -> None:
    async def main() -> None:
        later = two.async_(square, count(5))
        assert await later == [0, 1, 4, 9, 16]
        assert await two.async_(square, count(3)).then(sum) == 5
        assert await gather(two.async_(square, count(2)), one.async_(str, 1)) == ([0, 1], "1")
        waiting = two.async_(square, count(3))
        with pytest.raises(RuntimeError, match="await"):
            waiting.get()
        assert await waiting == [0, 1, 4]
        with pytest.raises(ZeroDivisionError):
            await two.async_(invert, count(3))

    run(main)
    with pytest.raises(RuntimeError, match="event loop"):
        two.async_(square, count(3))
    with pytest.raises(TypeError, match="async for"):
        next(two.iter(square, count(3)))


def test_a_cancelled_consumer_ends_its_stream(tmp_path: Path) -> None:
    async def main() -> None:
        stream = two.iter(partial(wait_to_go, str(tmp_path)), [1, 2])
        task = asyncio.create_task(ask(stream))
        await begun(tmp_path, "begin1", "begin2")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(CancelledError):
            await anext(stream)
        await stream.aclose()
        (tmp_path / "go").touch()

    run(main)
    assert two(square, range(4)) == [0, 1, 4, 9]
    assert {*marks(tmp_path)} == {"begin1", "begin2"}


def test_two_tasks_cannot_ask_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        stream = two.iter(partial(wait_to_go, str(tmp_path)), [1, 2])
        first = asyncio.create_task(ask(stream))
        await begun(tmp_path, "begin1")
        with pytest.raises(RuntimeError, match="two tasks"):
            await anext(stream)
        (tmp_path / "go").touch()
        assert await first == 1
        await stream.aclose()

    run(main)


def test_others_have_their_turn_while_results_are_always_there() -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(turn())
        taken = 0
        async for _ in pmap.iter(square, range(20_000)):
            taken += 1
        task.cancel()
        assert taken == 20_000
        assert turns > 10

    run(main)


def test_large_results_do_not_block_the_loop() -> None:
    gaps: list[float] = []

    async def tick() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.001)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    async def main() -> None:
        task = asyncio.create_task(tick())
        async for result in two.iter(large, range(3)):
            assert len(result) == 64 << 20
        task.cancel()

    run(main)
    # Far more than it takes, for the machine may be busy; a loop that waits for a result is worse.
    assert len(gaps) > 10, f"the loop went round {len(gaps)} times, at most {max(gaps):.3f} s apart"


def test_a_handle_that_times_out_goes_on() -> None:
    later = one.async_(square, 4)
    try:
        assert later.get(timeout=0) == 16
    except multiprocessing.TimeoutError:
        assert later.get() == 16
