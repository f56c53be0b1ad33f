"""What every event loop promises for a stream: ``async for``, its input, and leaving it early.

What only asyncio or only trio has is in tests/process/test_asyncio.py and test_trio.py; handles are
in test_awaiting.py.
"""

import itertools
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.contract.awaited_items import exit_at_2, first_goes, invert, wait_to_go
from tests.contract.event_loops import EventLoop
from tests.files import marks
from tests.items import square
from tests.limits import until

from pmap import CancelledError, Failure, WorkerLost, pmap

if TYPE_CHECKING:
    from pmap._types import Backend

two = pmap.using(processes=2, chunksize=1)


async def count(loop: EventLoop, stop: int | None = None) -> AsyncIterator[int]:
    """Count, giving way each time."""
    for number in itertools.count() if stop is None else range(stop):
        await loop.sleep(0)
        yield number


async def as_async(stream: AsyncIterator[int]) -> AsyncIterator[int]:
    """Go through a stream by nothing but `async for`."""
    async for y in stream:
        yield y


async def ask(stream: AsyncIterator[int]) -> int:
    """Return the next result."""
    return await anext(stream)


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
def test_async_for(loop: EventLoop, backend: "Backend") -> None:
    verb = pmap.using(backend=backend, processes=2)
    verb(square, range(4))

    async def main() -> None:
        assert [y async for y in verb.iter(square, range(50))] == [x * x for x in range(50)]
        assert [y async for y in verb.iter(square, count(loop, 30))] == [x * x for x in range(30)]
        unordered = [y async for y in verb.iter_unordered(square, count(loop, 50))]
        assert sorted(unordered) == [x * x for x in range(50)]
        results = [y async for y in verb.collecting.iter(invert, [1, 0, 2])]
        assert [type(r) for r in results] == [float, Failure, float]
        with pytest.raises(ZeroDivisionError):
            async for _ in verb.iter(invert, count(loop, 3)):
                pass
        async with verb.iter(square, itertools.count()) as stream:
            async for y in stream:
                if y >= 100:
                    break
        with pytest.raises(CancelledError):
            await anext(stream)

    loop.run(main)


# --- the input -----------------------------------------------------------------------------------


def test_an_asynchronous_input_is_read_no_further_than_it_may(loop: EventLoop) -> None:
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
    loop.run(main)


def test_an_asynchronous_input_is_read_as_far_as_it_may(loop: EventLoop, tmp_path: Path) -> None:
    reads = 0

    async def source() -> AsyncIterator[int]:
        nonlocal reads
        for number in itertools.count(1):
            reads += 1
            yield number

    async def main() -> None:
        act = partial(wait_to_go, str(tmp_path))
        async with two.iter(act, source(), buffersize=5) as stream, loop.tasks() as tasks:
            task = tasks.start(partial(ask, stream))
            await loop.begun(tmp_path, "begin1", "begin2")
            await loop.sleep(0.05)  # the others have room, and may not come
            assert (reads, stream.read, stream.taken) == (5, 5, 0)
            (tmp_path / "go").touch()
            assert await task.result() == 1
            assert reads <= 6

    loop.run(main)
    assert reads <= 6


def test_an_asynchronous_generator_is_closed_and_its_error_comes_last(loop: EventLoop) -> None:
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
        assert closed == ["closed"] * 2

    loop.run(main)


# --- leaving early -------------------------------------------------------------------------------


def test_a_cancelled_consumer_ends_its_stream(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        stream = two.iter(partial(wait_to_go, str(tmp_path)), [1, 2])
        async with loop.tasks() as tasks:
            task = tasks.start(partial(ask, stream))
            await loop.begun(tmp_path, "begin1", "begin2")
            task.cancel()
            await task.wait()
            assert task.cancelled
        with pytest.raises(CancelledError):
            await anext(stream)
        await stream.aclose()
        (tmp_path / "go").touch()

    loop.run(main)
    assert two(square, range(4)) == [0, 1, 4, 9]
    assert {*marks(tmp_path)} == {"begin1", "begin2"}


@pytest.mark.parametrize("form", ["iter", "iter_unordered"])
def test_a_timeout_ends_a_stream(loop: EventLoop, form: str, tmp_path: Path) -> None:
    async def main() -> None:
        verb = two.iter if form == "iter" else two.iter_unordered
        stream = verb(partial(wait_to_go, str(tmp_path)), count(loop), buffersize=2)
        async with loop.move_on_after(0.2) as scope:
            assert not [y async for y in stream], "nothing can have come"
        assert scope.expired
        with pytest.raises(CancelledError):
            await anext(stream)
        await stream.aclose()  # until nothing of it runs
        await stream.aclose()
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    loop.run(main)
    assert not [name for name in marks(tmp_path) if name.startswith("end")]


def test_a_stream_that_is_not_to_be_killed_ends_what_has_begun(
    loop: EventLoop, tmp_path: Path
) -> None:
    async def main() -> None:
        spared = two.using(kill_on_cancel=False)
        act = partial(wait_to_go, str(tmp_path))
        async with spared.iter(act, [1, 2, 3]) as stream, loop.tasks() as tasks:
            task = tasks.start(partial(ask, stream))
            await loop.begun(tmp_path, "begin1", "begin2")
            task.cancel()
            await task.wait()
            assert task.cancelled

    loop.run(main)
    (tmp_path / "go").touch()
    until(lambda: {"end1", "end2"} <= {*marks(tmp_path)})
    assert "begin3" not in marks(tmp_path)


def test_leaving_a_stream_ends_what_runs(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with two.iter(partial(first_goes, str(tmp_path)), itertools.count()) as stream:
            async for y in stream:
                assert y == 0
                await loop.begun(tmp_path, "begin1")
                break
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    loop.run(main)
    assert not [name for name in marks(tmp_path) if name.startswith("end")]


def test_a_lost_worker_costs_a_stream_one_item(loop: EventLoop) -> None:
    async def main() -> None:
        results = [y async for y in two.collecting.iter(exit_at_2, count(loop, 6))]
        assert [y for y in results if not isinstance(y, Failure)] == [0, 1, 3, 4, 5]
        assert isinstance(results[2], Failure)
        assert isinstance(results[2].error, WorkerLost)

    loop.run(main)


# --- several at a time ---------------------------------------------------------------------------


def test_streams_side_by_side_and_in_each_other(loop: EventLoop) -> None:
    async def total(stop: int) -> int:
        return sum([y async for y in two.iter(square, count(loop, stop))])

    async def main() -> None:
        async with loop.tasks() as tasks:
            totals = [tasks.start(partial(total, stop)) for stop in (5, 10, 15)]
        assert [await task.result() for task in totals] == [30, 285, 1015]
        inner = two.iter(square, count(loop, 10))
        assert [y async for y in two.iter(square, as_async(inner))] == [x**4 for x in range(10)]

    loop.run(main)


def test_two_tasks_cannot_ask_at_once(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        stream = two.iter(partial(wait_to_go, str(tmp_path)), [1, 2])
        async with loop.tasks() as tasks:
            first = tasks.start(partial(ask, stream))
            await loop.begun(tmp_path, "begin1")
            with pytest.raises(RuntimeError, match="two tasks"):
                await anext(stream)
            (tmp_path / "go").touch()
            assert await first.result() == 1
        await stream.aclose()

    loop.run(main)


def test_others_have_their_turn_while_results_are_always_there(loop: EventLoop) -> None:
    ahead = 500  # so many results may be there at most
    taken = 0
    gaps: list[int] = []  # how many results were taken between two turns

    async def turn() -> None:
        while True:
            before = taken
            await loop.sleep(0)
            gaps.append(taken - before)

    async def main() -> None:
        nonlocal taken
        async with loop.tasks() as tasks:
            task = tasks.start(turn)
            async for _ in pmap.iter(square, range(20_000), buffersize=ahead):
                taken += 1
            task.cancel()
        assert taken == 20_000
        assert max(gaps) <= ahead, "all that was there, and then the others"
        assert len(gaps) > 20_000 / ahead

    loop.run(main)
