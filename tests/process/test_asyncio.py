"""What only asyncio has: its own functions that wait, its loops, one handle for an async input.

What it promises as every event loop does is in tests/contract, in test_awaiting.py and
test_async_streams.py. Every loop here runs in debug mode, and a callback of it that takes long is a
failure.
"""

import asyncio
import itertools
import multiprocessing
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.contract.awaited_items import invert, wait_to_go
from tests.contract.event_loops import Asyncio, nothing_logged
from tests.files import marks
from tests.items import square
from tests.limits import TIME_LIMIT

from pmap import AsyncResult, CancelledError, gather, papply, pmap

loop_of_asyncio = Asyncio()
two = pmap.using(processes=2, chunksize=1)
one = papply.using(processes=2)


@pytest.fixture(autouse=True)
def slow(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Warm the pool, for its start takes its time; then fail if a callback does, or one raises."""
    two(square, range(4))
    with nothing_logged(caplog):
        yield


async def count(stop: int) -> AsyncIterator[int]:
    """Count, giving way each time."""
    for number in range(stop):
        await asyncio.sleep(0)
        yield number


async def count_and_tell(closed: list[int]) -> AsyncIterator[int]:
    """Count without end; say when that is closed."""
    try:
        for number in itertools.count():
            yield number
    finally:
        closed.append(1)


# --- awaiting ------------------------------------------------------------------------------------


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

    loop_of_asyncio.run(main)


def test_a_handle_that_is_over_is_awaited_at_once() -> None:
    async def main() -> None:
        later, bad = one.async_(square, 3), one.async_(invert, 0)
        while not (later.ready() and bad.ready()):  # noqa: ASYNC110 - a thread makes it so
            await asyncio.sleep(0.002)
        turns = asyncio.create_task(asyncio.sleep(0))
        assert await later == 9
        assert not turns.done(), "nothing had to be waited for"
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await bad
        await turns

    loop_of_asyncio.run(main)


def test_callbacks_run_in_another_thread_and_can_call_the_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[int] = loop.create_future()

        def tell(later: AsyncResult[int]) -> None:
            loop.call_soon_threadsafe(told.set_result, later.get())

        one.async_(square, 5).add_done_callback(tell)
        assert await told == 25

    loop_of_asyncio.run(main)


def test_waiting_for_handles_as_for_anything_else(tmp_path: Path) -> None:
    async def main() -> None:
        assert await asyncio.wait_for(one.async_(square, 3), 30) == 9
        later = one.async_(wait_to_go, str(tmp_path), 1)
        await loop_of_asyncio.begun(tmp_path, "begin1")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(later, 0.05)
        with pytest.raises(CancelledError):
            await later
        (tmp_path / "go").touch()

    loop_of_asyncio.run(main)
    assert marks(tmp_path) == ["begin1"]


def test_shielded(tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(later.aget()), 0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(later)
        assert not later.ready()
        (tmp_path / "go").touch()
        assert await later == 1

    loop_of_asyncio.run(main)
    assert marks(tmp_path) == ["begin1", "end1"]


def test_a_loop_that_is_gone_is_not_missed(tmp_path: Path) -> None:
    async def leave() -> None:
        asyncio.get_running_loop().create_task(later.aget())
        await asyncio.sleep(0)

    later = two.using(kill_on_cancel=False).async_(partial(wait_to_go, str(tmp_path)), [1])
    loop_of_asyncio.run(leave)
    (tmp_path / "go").touch()
    later.wait()
    assert later.ready()


def test_a_loop_that_is_closed_is_not_called(tmp_path: Path) -> None:
    later = one.async_(wait_to_go, str(tmp_path), 1)
    waiting = later.aget()
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        waiting.send(None)  # as a task would, but no task is left behind

    loop.run_until_complete(begin())
    loop.close()

    async def main() -> None:
        task = asyncio.create_task(later.aget())
        await asyncio.sleep(0)
        (tmp_path / "go").touch()
        assert await task == 1  # told after the one whose loop is closed

    loop_of_asyncio.run(main)
    waiting.close()


# --- asynchronous input --------------------------------------------------------------------------


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

    loop_of_asyncio.run(main)
    with pytest.raises(RuntimeError, match="event loop"):
        two.async_(square, count(3))
    with pytest.raises(TypeError, match="async for"):
        next(two.iter(square, count(3)))


def test_an_input_that_is_not_wanted_any_more_is_closed() -> None:
    async def main() -> None:
        arrivals: asyncio.Queue[int] = asyncio.Queue()
        closed: list[int] = []

        asked = asyncio.Event()

        async def source() -> AsyncIterator[int]:
            try:
                while True:
                    asked.set()
                    yield await arrivals.get()
            finally:
                closed.append(1)

        later = two.async_(square, source())
        await asked.wait()
        assert later.cancel()
        with pytest.raises(CancelledError):
            await later
        async with asyncio.timeout(TIME_LIMIT):
            while not closed:  # noqa: ASYNC110 - the collecting task makes it so
                await asyncio.sleep(0.002)
        arrivals.put_nowait(1)
        await asyncio.sleep(0.01)
        assert arrivals.qsize() == 1, "what arrives later is not taken away"
        failing = two.async_(invert, count_and_tell(closed))
        with pytest.raises(ZeroDivisionError):
            await failing
        assert closed == [1, 1], "though the handle is still there"

    loop_of_asyncio.run(main)


def test_a_handle_that_times_out_goes_on() -> None:
    later = one.async_(square, 4)
    try:
        assert later.get(timeout=0) == 16
    except multiprocessing.TimeoutError:
        assert later.get() == 16
