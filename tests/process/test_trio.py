"""The same handles and streams in trio, which is found at run time."""

import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.files import mark, marks, wait_for_file
from tests.items import square
from tests.limits import TIME_LIMIT, until

from pmap import (
    AsyncResult,
    CancelledError,
    Failure,
    WorkerLost,
    as_completed,
    gather,
    papply,
    pmap,
    sync,
)
from pmap._jobs.event_loops import until as wait_in_loop

variable: ContextVar[str] = ContextVar("variable", default="unset")
two = pmap.using(processes=2, chunksize=1)
one = papply.using(processes=2)


def wait_to_go(folder: str, x: int) -> int:
    """Note that the item begins, wait for a file, note that it ends."""
    mark(folder, f"begin{x}")
    wait_for_file(f"{folder}/go")
    mark(folder, f"end{x}")
    return x


def invert(x: int) -> float:
    """Fail at 0."""
    return 1 / x


def exit_hard(code: int) -> None:
    """End the process."""
    os._exit(code)


def see(_: int) -> str:
    """Return what the context variable is."""
    return variable.get()


async def see_later(_: int) -> str:
    """Return what the context variable is."""
    return variable.get()


def large(_: int) -> bytes:
    """Return 64 MB."""
    return bytes(64 << 20)


async def count(stop: int | None = None) -> AsyncIterator[int]:
    """Count, giving way each time."""
    for number in itertools.count() if stop is None else range(stop):
        await trio.lowlevel.checkpoint()
        yield number


async def begun(folder: Path, *names: str) -> None:
    """Return when items have begun, without blocking the loop."""
    while not {*names} <= {*marks(folder)}:  # noqa: ASYNC110 - another process makes it so
        await trio.sleep(0.002)


def test_await() -> None:
    async def main() -> None:
        assert await two.async_(square, range(5)) == [0, 1, 4, 9, 16]
        later = one.async_(square, 3)
        assert await later == await later == 9
        assert await gather(later, one.async_(str, 1)) == (9, "1")
        assert await later.then(str) == "9"
        assert sorted([r.get() async for r in as_completed([later, one.async_(abs, -1)])]) == [1, 9]
        with pytest.raises(ZeroDivisionError) as caught:
            await two.async_(invert, [1, 0])
        assert "item 1, invert(0)" in caught.value.__notes__[0]
        with pytest.raises(WorkerLost):
            await one.async_(exit_hard, 3)

    trio.run(main)


def test_tasks_of_a_nursery() -> None:
    results: list[int] = []

    async def keep(later: AsyncResult[int]) -> None:
        results.append(await later)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for x in range(4):
                nursery.start_soon(keep, one.async_(square, x))
            shared = one.async_(square, 5)
            nursery.start_soon(keep, shared)
            nursery.start_soon(shared.aget)
        assert sorted(results) == [0, 1, 4, 9, 25]

    trio.run(main)


def test_a_failing_nursery_ends_the_others(tmp_path: Path) -> None:
    async def both(*handles: AsyncResult[Any]) -> None:
        async with trio.open_nursery() as nursery:
            for later in handles:
                nursery.start_soon(later.aget)

    async def main() -> None:
        waits = one.async_(wait_to_go, str(tmp_path), 1)
        await begun(tmp_path, "begin1")
        with pytest.raises(ExceptionGroup) as caught:
            await both(waits, one.async_(invert, 0))
        assert caught.group_contains(ZeroDivisionError)
        with pytest.raises(CancelledError):
            await waits
        (tmp_path / "go").touch()

    trio.run(main)
    assert two(square, range(4)) == [0, 1, 4, 9]
    assert marks(tmp_path) == ["begin1"]


@pytest.mark.parametrize("how", ["move on", "fail", "cancel"])
def test_a_cancel_scope_ends_what_runs(how: str, tmp_path: Path) -> None:
    async def main() -> None:
        later = two.async_(partial(wait_to_go, str(tmp_path)), [1, 2, 3])
        await begun(tmp_path, "begin1", "begin2")
        if how == "fail":
            with pytest.raises(trio.TooSlowError), trio.fail_after(0.05):
                await later
        else:
            with trio.move_on_after(0.05 if how == "move on" else 60) as scope:
                if how == "cancel":
                    scope.cancel()
                await later
            assert scope.cancelled_caught
        with pytest.raises(CancelledError):
            await later  # until nothing of it runs
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    trio.run(main)
    assert {*marks(tmp_path)} == {"begin1", "begin2"}


def test_what_is_not_to_be_killed_ends_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        later = one.using(kill_on_cancel=False).async_(wait_to_go, str(tmp_path), 1)
        await begun(tmp_path, "begin1")
        with trio.move_on_after(0.05) as scope:
            await later
        assert scope.cancelled_caught

    trio.run(main)
    (tmp_path / "go").touch()
    until(lambda: "end1" in marks(tmp_path))


def test_shielded(tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 1)
        with trio.CancelScope() as outer:
            outer.cancel()
            with trio.CancelScope(shield=True):
                await begun(tmp_path, "begin1")
                (tmp_path / "go").touch()
                assert await later == 1

    trio.run(main)
    assert marks(tmp_path) == ["begin1", "end1"]


def test_a_run_that_is_over_is_not_called() -> None:
    wakers: list[Callable[[], None]] = []

    async def main() -> None:
        with trio.move_on_after(0):
            await wait_in_loop(wakers.append)

    trio.run(main)
    (wake,) = wakers
    wake()  # as a result does that comes too late


def test_context_variables_are_seen() -> None:
    async def main() -> None:
        variable.set("the task's")
        assert await two.async_(see, [1]) == ["the task's"]
        assert await two.async_(sync(see_later), [1]) == ["the task's"]
        assert [text async for text in two.iter(see, [1])] == ["the task's"]

    trio.run(main)


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
def test_async_for(backend: Any) -> None:
    verb = pmap.using(backend=backend, processes=2)

    async def main() -> None:
        assert [y async for y in verb.iter(square, range(30))] == [x * x for x in range(30)]
        assert [y async for y in verb.iter(square, count(30))] == [x * x for x in range(30)]
        unordered = [y async for y in verb.iter_unordered(square, count(30))]
        assert sorted(unordered) == [x * x for x in range(30)]
        results = [y async for y in verb.collecting.iter(invert, [1, 0, 2])]
        assert [type(y) for y in results] == [float, Failure, float]
        async with verb.iter(square, itertools.count()) as stream:
            async for y in stream:
                if y > 50:
                    break
        with pytest.raises(CancelledError):
            await anext(stream)

    trio.run(main)


@pytest.mark.parametrize("form", ["iter", "iter_unordered"])
def test_a_cancel_scope_ends_a_stream(form: str, tmp_path: Path) -> None:
    async def main() -> None:
        act = partial(wait_to_go, str(tmp_path))
        verb = two.iter if form == "iter" else two.iter_unordered
        async with verb(act, count(), buffersize=2) as stream:
            with trio.move_on_after(0.3) as scope:
                await anext(stream)
            assert scope.cancelled_caught
            with pytest.raises(CancelledError):
                await anext(stream)
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    trio.run(main)
    assert not [name for name in marks(tmp_path) if name.startswith("end")]


def test_an_asynchronous_generator_is_read_and_closed() -> None:
    closed: list[str] = []
    reads = 0

    async def source() -> AsyncIterator[int]:
        nonlocal reads
        try:
            for number in range(10):
                reads += 1
                assert reads <= len(taken) + 3
                yield number
            raise LookupError("the wire")
        finally:
            closed.append("closed")

    async def main() -> None:
        nonlocal reads
        async with two.iter(square, source(), buffersize=3) as stream:
            assert await anext(stream) == 0
        assert closed == ["closed"]
        reads = 0
        stream = two.iter(square, source(), buffersize=3)
        for number in range(10):
            assert await anext(stream) == number**2
            taken.append(number)
        with pytest.raises(LookupError, match="the wire"):
            await anext(stream)
        assert closed == ["closed"] * 2

    taken: list[int] = []
    trio.run(main)


def test_two_tasks_cannot_ask_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        stream = two.iter(partial(wait_to_go, str(tmp_path)), [1])
        results: list[int] = []

        async def keep() -> None:
            results.append(await anext(stream))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep)
            await begun(tmp_path, "begin1")
            with pytest.raises(RuntimeError, match="two tasks"):
                await anext(stream)
            (tmp_path / "go").touch()
        assert results == [1]
        await stream.aclose()

    trio.run(main)


def test_one_handle_for_an_asynchronous_input_needs_asyncio() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="async for"):
            two.async_(square, count(3))

    trio.run(main)


def test_a_large_result_does_not_block_the_loop() -> None:
    async def main() -> float:
        gaps: list[float] = []

        async def tick() -> None:
            last = time.monotonic()
            while True:
                await trio.sleep(0.001)
                now = time.monotonic()
                gaps.append(now - last)
                last = now

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            assert len(await one.async_(large, 0)) == 64 << 20
            nursery.cancel_scope.cancel()
        return max(gaps)

    one(square, 1)
    # A loop that is blocked is so each time. One that had no processor has one some time.
    gap = min(itertools.takewhile(is_long, (trio.run(main) for _ in range(20))), default=0.0)
    assert not is_long(gap), f"the loop stood still for {gap:.3f} s"


def is_long(seconds: float) -> bool:
    """Return whether a loop that stands still for so long is blocked."""
    return seconds > 0.25


def test_asyncio_and_trio_in_two_threads(tmp_path: Path) -> None:
    import asyncio

    later = one.async_(wait_to_go, str(tmp_path), 7)
    waiting = threading.Barrier(3, timeout=TIME_LIMIT)
    results: list[int] = []

    async def in_trio() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep)
            await trio.lowlevel.checkpoint()
            waiting.wait()

    async def in_asyncio() -> None:
        task = asyncio.create_task(keep())
        await asyncio.sleep(0)
        waiting.wait()
        await task

    async def keep() -> None:
        results.append(await later)

    threads = [
        threading.Thread(target=trio.run, args=(in_trio,)),
        threading.Thread(target=lambda: asyncio.run(in_asyncio())),
    ]
    for thread in threads:
        thread.start()
    waiting.wait()
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join()
    assert results == [7, 7]
