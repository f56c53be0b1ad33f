"""What is done with the handle of a call, on every backend and start method.

Order is made by files that an item waits for, never by time.
"""

import asyncio
import multiprocessing
import pickle
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.backends import Settings
from tests.bad_objects import BadFunction, CannotPickle
from tests.contract.calls import new_pool, started
from tests.contract.functions import (
    answer_when_told,
    control_flow,
    first_fails,
    lock_for,
    power,
    three_then_wait,
    wait_or_end,
)
from tests.files import marks
from tests.items import square
from tests.limits import TIME_LIMIT, until

from pmap import AsyncResult, CancelledError, ControlFlowError, Map, pmap

if TYPE_CHECKING:
    from pmap._types import StartMethod


# --- the handle --------------------------------------------------------------------------------


def test_get_times_out_and_the_work_goes_on(concurrent: Settings, tmp_path: Path) -> None:
    later = started(concurrent, tmp_path)
    with pytest.raises(multiprocessing.TimeoutError):
        later.get(timeout=0.01)
    with pytest.raises(TimeoutError):  # the builtin, as everywhere since Python 3.11
        later.get(timeout=0.01)
    later.wait(0.01)
    assert not later.ready()
    with pytest.raises(ValueError, match="not ready"):
        later.successful()
    (tmp_path / "go").touch()
    later.wait()
    assert later.ready()
    assert later.successful()
    assert later.get() == [0, 1, 4]
    assert later.get() == [0, 1, 4]  # as often as one likes


@pytest.mark.parametrize(
    ("function", "item"),
    [(BadFunction("pickling"), 1), (square, CannotPickle()), (lock_for, 1)],
    ids=["function", "argument", "result"],
)
def test_what_cannot_be_pickled_is_a_pickling_error(
    start_method: "StartMethod", function: Callable[[Any], object], item: object
) -> None:
    verb = pmap.using(processes=1, start_method=start_method)
    with pytest.raises(pickle.PicklingError):
        verb(function, [item])
    assert verb(square, [3]) == [9]


def test_failed_handle(each: Map, tmp_path: Path) -> None:
    later = each.async_(partial(first_fails, str(tmp_path)), range(3))
    later.wait(TIME_LIMIT)
    assert later.ready()
    assert not later.successful()
    for _ in range(2):
        with pytest.raises(LookupError, match="the first"):
            later.get()


def test_progress_and_repr(concurrent: Settings, tmp_path: Path) -> None:
    later = pmap.using(**concurrent.options()).async_(
        partial(three_then_wait, str(tmp_path)), range(10), chunksize=1
    )
    until(lambda: later.done == 3, "three items' end")
    assert (later.done, later.total) == (3, 10)
    assert repr(later) == "<AsyncResult pmap(partial(three_then_wait)) 3/10 done>"
    (tmp_path / "go").touch()
    later.wait(TIME_LIMIT)
    assert (later.done, later.total) == (10, 10)
    assert "10/10 done" in repr(later)


def test_cancel(concurrent: Settings, tmp_path: Path) -> None:
    later = started(concurrent, tmp_path, total=50)
    assert later.cancel()
    if not concurrent.processes:  # a thread and an interpreter end their present item
        (tmp_path / "go").touch()
    with pytest.raises(CancelledError, match="cancelled"):
        later.get(TIME_LIMIT)
    assert later.ready()
    assert not later.successful()
    assert not later.cancel()
    assert pmap.using(**concurrent.options())(square, range(9)) == [x * x for x in range(9)]
    assert len(marks(tmp_path)) == 2  # what had not begun never did


def test_what_was_cancelled_is_ready(start_method: "StartMethod") -> None:
    verb = pmap.using(start_method=start_method, processes=2)
    later = verb.async_(time.sleep, [60.0] * 4)
    assert later.cancel()
    assert later.ready()
    assert not later.successful()
    assert isinstance(later.exception(), CancelledError)
    assert not re.search("[0-9]/[0-9]", repr(later))
    with pytest.raises(CancelledError):
        later.get(TIME_LIMIT)
    assert not later.cancel()
    assert later.ready()


def test_calls_while_the_workers_of_a_cancelled_one_go(concurrent: Settings) -> None:
    # The next call comes at any moment while the pool loses its last worker and tidies up.
    verb = pmap.using(**concurrent.options())
    for attempt in range(150 if concurrent.start_method == "fork" else 20):
        later = verb.async_(wait_or_end, [not concurrent.processes] * 2)
        assert verb(square, []) == []
        later.cancel()
        moment = time.perf_counter() + attempt % 30 * 0.0002
        while time.perf_counter() < moment:
            pass
        assert verb.async_(square, [1, 2]).get(TIME_LIMIT) == [1, 4]


def test_cancel_costs_nobody_else(concurrent: Settings, tmp_path: Path) -> None:
    kept, dropped = tmp_path / "kept", tmp_path / "dropped"
    kept.mkdir()
    dropped.mkdir()
    verb = pmap.using(**concurrent.options())
    first = verb.async_(partial(answer_when_told, str(kept)), range(1), chunksize=1)
    until(lambda: len(marks(kept)) == 1, "the first's beginning")
    second = verb.async_(partial(answer_when_told, str(dropped)), range(5), chunksize=1)
    until(lambda: len(marks(dropped)) == 1, "the second's beginning")
    second.cancel()
    (dropped / "go").touch()
    with pytest.raises(CancelledError):
        second.get(TIME_LIMIT)
    (kept / "go").touch()
    assert first.get(TIME_LIMIT) == [0]
    assert marks(kept) == ["0"]


def test_cancel_when_over(each: Map) -> None:
    later = each.async_(square, [3])
    assert later.get(TIME_LIMIT) == [9]
    assert not later.cancel()
    assert later.get() == [9]


def test_callbacks(backend: Settings, tmp_path: Path) -> None:
    results: list[object] = []
    errors: list[BaseException] = []
    good, bad = results.append, errors.append
    with new_pool(backend) as pool:
        pool.map_async(square, range(3), None, good, bad).wait(TIME_LIMIT)
        pool.starmap_async(power, [(2, 3)], None, good, bad).wait(TIME_LIMIT)
        pool.apply_async(square, (5,), callback=good, error_callback=bad).wait(TIME_LIMIT)
        assert (results, errors) == ([[0, 1, 4], [8], 25], [])
        function = partial(first_fails, str(tmp_path))
        pool.map_async(function, range(3), None, good, bad).wait(TIME_LIMIT)
        pool.apply_async(control_flow, ("exit",), {}, good, bad).wait(TIME_LIMIT)
        assert len(results) == 3
        assert [type(error) for error in errors] == [LookupError, ControlFlowError]
        # One that raises harms nobody; the pool can be used from one.
        inner: list[object] = []
        pool.apply_async(square, (2,), callback=lambda _: inner.append(pool.map(square, [4]))).wait(
            TIME_LIMIT
        )
        assert inner == [[16]]


def test_a_callback_that_closes_its_pool(backend: Settings, tmp_path: Path) -> None:
    called: list[object] = []
    with new_pool(backend) as pool:
        main = threading.get_ident()

        def close(_: object) -> None:
            pool.close()
            called.append((threading.get_ident(), pool._driver._state.leader.get(0)))
            (tmp_path / "go").touch()

        def beside() -> None:
            # Only once the main thread leads: then the callback is called by it, while it does.
            until(lambda: marks(tmp_path) and pool._driver._state.leader.get(0) == main)
            pool.map_async(square, [2], callback=close)

        thread = threading.Thread(target=beside)
        thread.start()
        assert pool.map(partial(answer_when_told, str(tmp_path)), [3]) == [9]
        thread.join(TIME_LIMIT)
        pool.join()
    assert called == [(main, main)]  # it still leads: else two threads would


# --- await -------------------------------------------------------------------------------------


def test_await(concurrent: Settings, tmp_path: Path) -> None:
    async def main() -> list[int]:
        later = started(concurrent, tmp_path)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while ticks < 100:
                ticks += 1
                await asyncio.sleep(0)
            (tmp_path / "go").touch()  # only a loop that is not blocked gets here

        ticking = asyncio.create_task(tick())
        result = await later
        await ticking
        return result

    assert asyncio.run(asyncio.wait_for(main(), TIME_LIMIT)) == [0, 1, 4]


def test_await_many(each: Map) -> None:
    async def main() -> list[list[int]]:
        return await asyncio.gather(*(wait_for(each.async_(square, range(n))) for n in range(20)))

    async def wait_for(later: AsyncResult[list[int]]) -> list[int]:
        return await later

    assert asyncio.run(main()) == [[x * x for x in range(n)] for n in range(20)]


def test_await_an_error(each: Map, tmp_path: Path) -> None:
    async def main() -> list[int]:
        return await each.async_(partial(first_fails, str(tmp_path)), range(3))

    with pytest.raises(LookupError, match="the first"):
        asyncio.run(main())


def test_await_twice_and_when_over(each: Map) -> None:
    async def main() -> None:
        later = each.async_(square, range(3))
        assert await later == [0, 1, 4]
        assert await later == [0, 1, 4]

    asyncio.run(main())


def test_cancelling_the_task_cancels_the_call(concurrent: Settings, tmp_path: Path) -> None:
    async def main() -> AsyncResult[list[int]]:
        later = started(concurrent, tmp_path, total=20)

        async def wait_for() -> list[int]:
            return await later

        task = asyncio.create_task(wait_for())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return later

    later = asyncio.run(main())
    (tmp_path / "go").touch()
    with pytest.raises(CancelledError):
        later.get(TIME_LIMIT)
    assert len(marks(tmp_path)) == 2
    assert pmap.using(**concurrent.options())(square, range(9)) == [x * x for x in range(9)]


def test_wait_for_with_a_timeout(concurrent: Settings, tmp_path: Path) -> None:
    async def main() -> None:
        later = started(concurrent, tmp_path)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(await_it(later), 0.05)
        (tmp_path / "go").touch()
        with pytest.raises(CancelledError):
            later.get(TIME_LIMIT)

    async def await_it(later: AsyncResult[list[int]]) -> list[int]:
        return await later

    asyncio.run(main())
