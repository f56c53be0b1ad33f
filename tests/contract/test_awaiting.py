"""What every event loop promises for a handle: nothing blocks the loop; cancelling ends the work.

What only asyncio or only trio has is in tests/process/test_asyncio.py and test_trio.py; streams are
in test_async_streams.py.
"""

import itertools
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.contract.awaited_items import (
    exit_hard,
    invert,
    large,
    see,
    see_later,
    variable,
    wait_to_go,
)
from tests.contract.event_loops import EVENT_LOOPS, EventLoop
from tests.files import marks
from tests.items import square
from tests.limits import TIME_LIMIT, until

from pmap import (
    AsyncResult,
    CancelledError,
    WorkerLost,
    as_completed,
    gather,
    papply,
    pmap,
    pstarmap,
    sync,
)

if TYPE_CHECKING:
    from pmap._types import Backend

two = pmap.using(processes=2, chunksize=1)
one = papply.using(processes=2)
PAIRS: Final = [*itertools.combinations_with_replacement(EVENT_LOOPS, 2)]


def test_await(loop: EventLoop) -> None:
    async def main() -> None:
        assert await pmap.async_(square, range(5)) == [0, 1, 4, 9, 16]
        assert await pstarmap.async_(pow, [(2, 3)]) == [8]
        later = one.async_(square, 3)
        assert await later == 9
        assert await later == 9, "it can be awaited again"
        assert later.get() == 9
        assert await later.then(str) == "9"
        with pytest.raises(ZeroDivisionError) as caught:
            await two.async_(invert, [1, 0])
        assert "item 1, invert(0)" in caught.value.__notes__[0]

    loop.run(main)


def test_a_lost_worker_is_an_error_like_others(loop: EventLoop) -> None:
    async def main() -> None:
        with pytest.raises(WorkerLost):
            await one.async_(exit_hard, 7)
        assert await one.async_(square, 3) == 9

    loop.run(main)


def test_gather(loop: EventLoop) -> None:
    async def main() -> None:
        later = one.async_(square, 3)
        assert await gather(one.async_(square, 2), one.async_(str, 3)) == (4, "3")
        assert await gather(later, one.async_(str, 1)) == (9, "1")
        assert await gather(later, one.async_(square, 2)).then(sum) == 13

    loop.run(main)


def test_cancelling_what_was_gathered_ends_all(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        parts = [one.async_(wait_to_go, str(tmp_path), x) for x in (1, 2)]
        async with loop.tasks() as tasks:
            task = tasks.start(gather(*parts).then(sum).aget)
            await loop.begun(tmp_path, "begin1", "begin2")
            task.cancel()
            await task.wait()
            assert task.cancelled
        for part in parts:
            with pytest.raises(CancelledError):
                await part
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    loop.run(main)
    assert {*marks(tmp_path)} == {"begin1", "begin2"}


# --- tasks ---------------------------------------------------------------------------------------


def test_tasks_of_a_group(loop: EventLoop) -> None:
    async def main() -> None:
        async with loop.tasks() as tasks:
            each = [tasks.start(one.async_(square, x).aget) for x in range(4)]
            shared = one.async_(square, 5)
            each += [tasks.start(shared.aget), tasks.start(shared.aget)]
        assert [await task.result() for task in each] == [0, 1, 4, 9, 25, 25]

    loop.run(main)


def test_a_task_group_that_fails_ends_the_others(loop: EventLoop, tmp_path: Path) -> None:
    async def both(*handles: AsyncResult[Any]) -> None:
        async with loop.tasks() as tasks:
            for later in handles:
                tasks.start_soon(later.aget)

    async def main() -> None:
        waits = one.async_(wait_to_go, str(tmp_path), 1)
        await loop.begun(tmp_path, "begin1")
        with pytest.raises(ExceptionGroup) as caught:
            await both(waits, one.async_(invert, 0))
        assert caught.group_contains(ZeroDivisionError)
        with pytest.raises(CancelledError):
            await waits
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    loop.run(main)
    assert marks(tmp_path) == ["begin1"]


def test_two_tasks_await_one_handle(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 7)
        async with loop.tasks() as tasks:
            waiting = [tasks.start(later.aget) for _ in range(3)]
            await loop.begun(tmp_path, "begin7")
            assert not any(task.done for task in waiting)
            (tmp_path / "go").touch()
        assert [await task.result() for task in waiting] == [7, 7, 7]

    loop.run(main)
    assert marks(tmp_path) == ["begin7", "end7"]


def test_cancelling_one_of_two_waiting_tasks_ends_the_call_for_both(
    loop: EventLoop, tmp_path: Path
) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 1)
        async with loop.tasks() as tasks:
            first, second = [tasks.start(later.aget) for _ in range(2)]
            await loop.begun(tmp_path, "begin1")
            first.cancel()
            with pytest.raises(CancelledError):
                await second.result()
            await first.wait()
            assert first.cancelled

    loop.run(main)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_two_loops_await_one_handle(pair: tuple[EventLoop, EventLoop], tmp_path: Path) -> None:
    later = one.async_(wait_to_go, str(tmp_path), 7)
    waiting = threading.Barrier(3, timeout=TIME_LIMIT)
    results: list[int] = []

    def await_in(loop: EventLoop) -> None:
        async def main() -> None:
            async with loop.tasks() as tasks:
                task = tasks.start(later.aget)
                await loop.sleep(0)
                waiting.wait()
            results.append(await task.result())

        loop.run(main)

    threads = [threading.Thread(target=await_in, args=(loop,)) for loop in pair]
    for thread in threads:
        thread.start()
    waiting.wait()
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join()
    assert results == [7, 7]
    for loop in pair:
        assert loop.run(later.aget) == 7


def test_context_variables_of_the_task_are_seen(loop: EventLoop) -> None:
    async def ask(value: str) -> list[str]:
        variable.set(value)
        return [
            *await two.async_(see, [1]),
            *await two.async_(sync(see_later), [1]),
            *[text async for text in two.iter(see, [1])],
        ]

    async def main() -> None:
        async with loop.tasks() as tasks:
            first, second = [tasks.start(partial(ask, value)) for value in "ab"]
        assert [await first.result(), await second.result()] == [["a"] * 3, ["b"] * 3]

    loop.run(main)


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
def test_a_coroutine_function_sees_them_also_within_a_running_loop(
    loop: EventLoop, backend: "Backend"
) -> None:
    verb = pmap.using(backend=backend, processes=2)
    verb(square, [1])

    async def main() -> None:
        variable.set("the task's")
        assert sync(see_later)(1) == "the task's"
        assert verb(sync(see_later), [1, 2]) == ["the task's"] * 2
        assert await verb.async_(sync(see_later), [1, 2]) == ["the task's"] * 2

    loop.run(main)


# --- cancelling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_who_stops_waiting_ends_what_runs(loop: EventLoop, how: str, tmp_path: Path) -> None:
    async def main() -> None:
        later = two.async_(partial(wait_to_go, str(tmp_path)), [1, 2, 3])
        async with loop.tasks() as tasks:
            if how == "timeout":
                await loop.begun(tmp_path, "begin1", "begin2")
                async with loop.move_on_after(0.05) as scope:
                    await later
                assert scope.expired
            else:
                task = tasks.start(later.aget)
                await loop.begun(tmp_path, "begin1", "begin2")
                task.cancel()
                await task.wait()
                assert task.cancelled
        with pytest.raises(CancelledError):
            await later  # until nothing of it runs
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    loop.run(main)
    assert {*marks(tmp_path)} == {"begin1", "begin2"}


def test_what_is_not_to_be_killed_ends_by_itself(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        later = two.using(kill_on_cancel=False).async_(partial(wait_to_go, str(tmp_path)), [1])
        async with loop.tasks() as tasks:
            task = tasks.start(later.aget)
            await loop.begun(tmp_path, "begin1")
            task.cancel()
            await task.wait()
            assert task.cancelled

    loop.run(main)
    (tmp_path / "go").touch()
    until(lambda: "end1" in marks(tmp_path))


@pytest.mark.parametrize("backend", ["threads", "serial"])
def test_awaiting_where_nothing_can_be_killed(
    loop: EventLoop, backend: "Backend", tmp_path: Path
) -> None:
    verb = papply.using(backend=backend)

    async def main() -> None:
        assert await verb.async_(square, 3) == 9
        later = verb.async_(wait_to_go, str(tmp_path), 1)
        async with loop.move_on_after(0.05) as scope:
            await later
        assert scope.expired
        (tmp_path / "go").touch()
        with pytest.raises(CancelledError):
            await later
        assert await verb.async_(square, 4) == 16

    loop.run(main)


# --- several handles, and callbacks --------------------------------------------------------------


def test_as_completed(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        slow = one.async_(wait_to_go, str(tmp_path), 1)
        quick = one.async_(square, 3)
        order: list[object] = []
        async for later in as_completed([slow, quick]):
            order.append(later.get())
            (tmp_path / "go").touch()
        assert order == [9, 1]
        nothing: list[AsyncResult[int]] = []
        assert [later async for later in as_completed(nothing)] == []

    loop.run(main)


def test_as_completed_can_be_left_and_gone_on_with(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 1)
        completed = as_completed([later])
        async with loop.move_on_after(0.05) as scope:
            await anext(completed)
        assert scope.expired
        assert not later.ready(), "only the waiting was cancelled"
        (tmp_path / "go").touch()
        assert await anext(completed) is later
        assert later.successful()
        with pytest.raises(StopAsyncIteration):
            await anext(completed)

    loop.run(main)


def test_who_awaits_does_not_wait_for_callbacks(loop: EventLoop, tmp_path: Path) -> None:
    # They run in another thread and may take long: to ask for the result too early would block.
    released = threading.Event()
    in_time: list[bool] = []

    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 7)
        async with loop.tasks() as tasks:
            task = tasks.start(later.aget)
            await loop.sleep(0)
            called = threading.Event()

            def slow_callback(_: AsyncResult[int]) -> None:
                called.set()
                in_time.append(released.wait(TIME_LIMIT))

            later.add_done_callback(slow_callback)
            (tmp_path / "go").touch()
            await loop.until(called)
            for _ in range(20):
                await loop.sleep(0.001)
            released.set()
            assert await task.result() == 7

    loop.run(main)
    assert in_time == [True], "the loop turned while the callback ran"


# --- the loop goes on ----------------------------------------------------------------------------


def large_gap(seconds: float) -> bool:
    """Return whether a loop that stands still for so long is blocked."""
    return seconds > 0.25


def test_large_results_do_not_block_the_loop(loop: EventLoop) -> None:
    async def largest_gap() -> float:
        gaps: list[float] = []

        async def tick() -> None:
            last = time.monotonic()
            while True:
                await loop.sleep(0.001)
                now = time.monotonic()
                gaps.append(now - last)
                last = now

        async with loop.tasks() as tasks:
            task = tasks.start(tick)
            assert len(await one.async_(large, 0)) == 64 << 20
            async for result in two.iter(large, range(2)):
                assert len(result) == 64 << 20
            task.cancel()
        assert len(gaps) > 10, f"the loop went round {len(gaps)} times"
        return max(gaps)

    # A loop that is blocked is so each time. One that had no processor has one some time.
    runs = (loop.run(largest_gap) for _ in range(20))
    gap = min(itertools.takewhile(large_gap, runs), default=0.0)
    assert not large_gap(gap), f"the loop stood still for {gap:.3f} s"
