"""Handles and streams in asyncio: nothing blocks the event loop, and cancelling ends the work.

Every loop here runs in debug mode, and a callback of it that takes long is a failure.
"""

import asyncio
import contextvars
import gc
import itertools
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
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
    pstarmap,
    sync,
)

T = TypeVar("T")
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
two = pmap.using(processes=2, chunksize=1)
one = papply.using(processes=2)


@pytest.fixture(autouse=True)
def slow(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Warm the pool, for its start takes its time; then fail if a callback does, or one raises."""
    two(square, range(4))
    with caplog.at_level(logging.WARNING):
        yield
    gc.collect()  # what was never retrieved, or destroyed too early, says so now
    assert not [r.getMessage() for r in caplog.records if r.name != "pmap.expected"]


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


def first_goes(folder: str, x: int) -> int:
    """Wait, except for the first item."""
    return wait_to_go(folder, x) if x else 0


def exit_at_2(x: int) -> int:
    """End the process at one item."""
    if x == 2:
        os._exit(3)
    return x


def exit_hard(code: int) -> None:
    """End the process."""
    os._exit(code)


def invert(x: int) -> float:
    """Fail at 0."""
    return 1 / x


def large_gap(seconds: float) -> bool:
    """Return whether a loop that stands still for so long is blocked."""
    return seconds > 0.25


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


async def count_and_tell(closed: list[int]) -> AsyncIterator[int]:
    """Count without end; say when that is closed."""
    try:
        for number in itertools.count():
            yield number
    finally:
        closed.append(1)


async def as_async(stream: AsyncIterator[int]) -> AsyncIterator[int]:
    """Go through a stream by nothing but `async for`."""
    async for y in stream:
        yield y


async def wait_in_thread(event: threading.Event) -> None:
    """Return when `event` is set, without blocking the loop."""
    while not event.is_set():  # noqa: ASYNC110 - another thread sets it
        await asyncio.sleep(0.002)


async def see_later(_: int) -> str:
    """Return what the context variable is."""
    await asyncio.sleep(0)
    return variable.get()


async def begun(folder: Path, *names: str) -> None:
    """Return when items have begun, without blocking the loop; tasks that wait have, too."""
    await asyncio.sleep(0)
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

    run(main)


def test_two_tasks_await_one_handle(tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 7)
        tasks = [asyncio.create_task(later.aget()) for _ in range(3)]
        await begun(tmp_path, "begin7")
        assert not any(task.done() for task in tasks)
        (tmp_path / "go").touch()
        assert [*await asyncio.gather(*tasks)] == [7, 7, 7]

    run(main)
    assert marks(tmp_path) == ["begin7", "end7"]


def test_cancelling_one_of_two_waiting_tasks_ends_the_call_for_both(tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 1)
        first, second = [asyncio.create_task(later.aget()) for _ in range(2)]
        await begun(tmp_path, "begin1")
        first.cancel()
        with pytest.raises(CancelledError):
            await second
        with pytest.raises(asyncio.CancelledError):
            await first

    run(main)


def test_two_loops_await_one_handle(tmp_path: Path) -> None:
    later = one.async_(wait_to_go, str(tmp_path), 7)
    waiting = threading.Barrier(3, timeout=TIME_LIMIT)
    results: list[int] = []

    async def main() -> int:
        task = asyncio.create_task(later.aget())
        await asyncio.sleep(0)
        waiting.wait()
        return await task

    threads = [threading.Thread(target=lambda: results.append(run(main))) for _ in range(2)]
    for thread in threads:
        thread.start()
    waiting.wait()
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join()
    assert results == [7, 7]

    async def again() -> int:
        return await later

    assert run(again) == 7


def test_who_awaits_does_not_wait_for_callbacks(tmp_path: Path) -> None:
    # They run in another thread and may take long: to ask for the result too early would block.
    released = threading.Event()
    in_time: list[bool] = []

    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 7)
        task = asyncio.create_task(later.aget())
        await asyncio.sleep(0)
        called = threading.Event()

        def slow_callback(_: AsyncResult[int]) -> None:
            called.set()
            in_time.append(released.wait(TIME_LIMIT))

        later.add_done_callback(slow_callback)
        (tmp_path / "go").touch()
        await wait_in_thread(called)
        for _ in range(20):
            await asyncio.sleep(0.001)
        released.set()
        assert await task == 7

    run(main)
    assert in_time == [True], "the loop turned while the callback ran"


def test_callbacks_run_in_another_thread_and_can_call_the_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[int] = loop.create_future()

        def tell(later: AsyncResult[int]) -> None:
            loop.call_soon_threadsafe(told.set_result, later.get())

        one.async_(square, 5).add_done_callback(tell)
        assert await told == 25

    run(main)


def test_a_task_group_that_fails_ends_the_others(tmp_path: Path) -> None:
    async def both(*handles: AsyncResult[Any]) -> None:
        async with asyncio.TaskGroup() as group:
            for later in handles:
                group.create_task(later.aget())

    async def main() -> None:
        waits = one.async_(wait_to_go, str(tmp_path), 1)
        await begun(tmp_path, "begin1")
        with pytest.raises(ExceptionGroup) as caught:
            await both(waits, one.async_(invert, 0))
        assert caught.group_contains(ZeroDivisionError)
        with pytest.raises(CancelledError):
            await waits
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    run(main)
    assert marks(tmp_path) == ["begin1"]


def test_waiting_for_handles_as_for_anything_else(tmp_path: Path) -> None:
    async def main() -> None:
        assert await asyncio.wait_for(one.async_(square, 3), 30) == 9
        later = one.async_(wait_to_go, str(tmp_path), 1)
        await begun(tmp_path, "begin1")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(later, 0.05)
        with pytest.raises(CancelledError):
            await later
        (tmp_path / "go").touch()

    run(main)
    assert marks(tmp_path) == ["begin1"]


def test_cancelling_what_was_gathered_ends_all(tmp_path: Path) -> None:
    async def main() -> None:
        parts = [one.async_(wait_to_go, str(tmp_path), x) for x in (1, 2)]
        task = asyncio.create_task(gather(*parts).then(sum).aget())
        await begun(tmp_path, "begin1", "begin2")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for part in parts:
            with pytest.raises(CancelledError):
                await part
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    run(main)
    assert {*marks(tmp_path)} == {"begin1", "begin2"}


@pytest.mark.parametrize("backend", ["threads", "serial"])
def test_awaiting_where_nothing_can_be_killed(backend: Any, tmp_path: Path) -> None:
    verb = papply.using(backend=backend)

    async def main() -> None:
        assert await verb.async_(square, 3) == 9
        later = verb.async_(wait_to_go, str(tmp_path), 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await later
        (tmp_path / "go").touch()
        with pytest.raises(CancelledError):
            await later
        assert await verb.async_(square, 4) == 16

    run(main)


def test_a_lost_worker_is_an_error_like_others() -> None:
    async def main() -> None:
        with pytest.raises(WorkerLost):
            await one.async_(exit_hard, 7)
        assert await one.async_(square, 3) == 9

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
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(later)
        assert not later.ready()
        (tmp_path / "go").touch()
        assert await later == 1

    run(main)
    assert marks(tmp_path) == ["begin1", "end1"]


def test_a_loop_that_is_gone_is_not_missed(tmp_path: Path) -> None:
    async def leave() -> None:
        asyncio.get_running_loop().create_task(later.aget())
        await asyncio.sleep(0)

    later = two.using(kill_on_cancel=False).async_(partial(wait_to_go, str(tmp_path)), [1])
    run(leave)
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

    run(main)
    waiting.close()


def test_callbacks_and_as_completed(tmp_path: Path) -> None:
    async def main() -> None:
        slow_one = one.async_(wait_to_go, str(tmp_path), 1)
        quick = one.async_(square, 3)
        order: list[object] = []
        async for later in as_completed([slow_one, quick]):
            order.append(later.get())
            (tmp_path / "go").touch()
        assert order == [9, 1]
        nothing: list[AsyncResult[int]] = []
        assert [later async for later in as_completed(nothing)] == []

    run(main)


def test_as_completed_can_be_left_and_gone_on_with(tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 1)
        completed = as_completed([later])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(completed)
        assert not later.ready(), "only the waiting was cancelled"
        (tmp_path / "go").touch()
        assert await anext(completed) is later
        assert later.successful()
        with pytest.raises(StopAsyncIteration):
            await anext(completed)

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


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
def test_a_coroutine_function_sees_them_also_within_a_running_loop(backend: Any) -> None:
    verb = pmap.using(backend=backend, processes=2)
    verb(square, [1])

    async def main() -> None:
        variable.set("the task's")
        assert sync(see_later)(1) == "the task's"
        assert verb(sync(see_later), [1, 2]) == ["the task's"] * 2
        assert await verb.async_(sync(see_later), [1, 2]) == ["the task's"] * 2

    run(main)


# --- streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
def test_async_for(backend: Any) -> None:
    verb = pmap.using(backend=backend, processes=2)
    verb(square, range(4))

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


def test_an_asynchronous_input_is_read_as_far_as_it_may(tmp_path: Path) -> None:
    reads = 0

    async def source() -> AsyncIterator[int]:
        nonlocal reads
        for number in itertools.count(1):
            reads += 1
            yield number

    async def main() -> None:
        async with two.iter(partial(wait_to_go, str(tmp_path)), source(), buffersize=5) as stream:
            task = asyncio.create_task(ask(stream))
            await begun(tmp_path, "begin1", "begin2")
            await asyncio.sleep(0.05)  # the others have room, and may not come
            assert (reads, stream.read, stream.taken) == (5, 5, 0)
            (tmp_path / "go").touch()
            assert await task == 1
            assert reads <= 6

    run(main)
    assert reads <= 6


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

    run(main)


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


def test_a_timeout_ends_a_stream(tmp_path: Path) -> None:
    async def main() -> None:
        stream = two.iter_unordered(partial(wait_to_go, str(tmp_path)), count(5))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                assert not [y async for y in stream], "nothing can have come"
        with pytest.raises(CancelledError):
            await anext(stream)
        await stream.aclose()  # until nothing of it runs
        await stream.aclose()
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    run(main)
    assert not [name for name in marks(tmp_path) if name.startswith("end")]


def test_a_stream_that_is_not_to_be_killed_ends_what_has_begun(tmp_path: Path) -> None:
    async def main() -> None:
        spared = two.using(kill_on_cancel=False)
        async with spared.iter(partial(wait_to_go, str(tmp_path)), [1, 2, 3]) as stream:
            task = asyncio.create_task(ask(stream))
            await begun(tmp_path, "begin1", "begin2")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)
    (tmp_path / "go").touch()
    until(lambda: {"end1", "end2"} <= {*marks(tmp_path)})
    assert "begin3" not in marks(tmp_path)


def test_leaving_a_stream_ends_what_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with two.iter(partial(first_goes, str(tmp_path)), itertools.count()) as stream:
            async for y in stream:
                assert y == 0
                await begun(tmp_path, "begin1")
                break
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    run(main)
    assert not [name for name in marks(tmp_path) if name.startswith("end")]


def test_streams_side_by_side_and_in_each_other() -> None:
    async def main() -> None:
        async def total(stop: int) -> int:
            return sum([y async for y in two.iter(square, count(stop))])

        assert [*await asyncio.gather(*map(total, (5, 10, 15)))] == [30, 285, 1015]
        inner = two.iter(square, count(10))
        assert [y async for y in two.iter(square, as_async(inner))] == [x**4 for x in range(10)]

    run(main)


def test_a_lost_worker_costs_a_stream_one_item() -> None:
    async def main() -> None:
        results = [y async for y in two.collecting.iter(exit_at_2, count(6))]
        assert [y for y in results if not isinstance(y, Failure)] == [0, 1, 3, 4, 5]
        assert isinstance(results[2], Failure)
        assert isinstance(results[2].error, WorkerLost)

    run(main)


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
    ahead = 500  # so many results may be there at most
    taken = 0
    gaps: list[int] = []  # how many results were taken between two turns

    async def turn() -> None:
        while True:
            before = taken
            await asyncio.sleep(0)
            gaps.append(taken - before)

    async def main() -> None:
        nonlocal taken
        task = asyncio.create_task(turn())
        async for _ in pmap.iter(square, range(20_000), buffersize=ahead):
            taken += 1
        task.cancel()
        assert taken == 20_000
        assert max(gaps) <= ahead, "all that was there, and then the others"
        assert len(gaps) > 20_000 / ahead

    run(main)


def test_large_results_do_not_block_the_loop() -> None:
    async def tick(gaps: list[float]) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.001)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    async def largest_gap() -> float:
        gaps: list[float] = []
        task = asyncio.create_task(tick(gaps))
        assert len(await one.async_(large, 0)) == 64 << 20
        async for result in two.iter(large, range(2)):
            assert len(result) == 64 << 20
        task.cancel()
        assert len(gaps) > 10, f"the loop went round {len(gaps)} times"
        return max(gaps)

    # A loop that is blocked is so each time. One that had no processor has one some time.
    gap = min(itertools.takewhile(large_gap, (run(largest_gap) for _ in range(20))), default=0.0)
    assert not large_gap(gap), f"the loop stood still for {gap:.3f} s"


def test_a_handle_that_times_out_goes_on() -> None:
    later = one.async_(square, 4)
    try:
        assert later.get(timeout=0) == 16
    except multiprocessing.TimeoutError:
        assert later.get() == 16
