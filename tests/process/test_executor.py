"""`Executor`: futures with the standard states, over workers that may die."""

import asyncio
import gc
import os
import pickle
import signal
import threading
import warnings
import weakref
from collections.abc import Callable
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.backends import Settings
from tests.files import mark, marks
from tests.limits import TIME_LIMIT, until
from tests.process.executor_items import (
    double,
    each_backend,
    each_method,
    executor_of,
    held,
    reciprocal,
    release,
)
from tests.processes import lives

from pmap import (
    ControlFlowError,
    Executor,
    Pool,
    PoolClosedError,
    ThreadPool,
    TransportError,
    WorkerLost,
    WorkerStartError,
)
from pmap._api import executor as _executor
from pmap._api.shared_pools import make_driver


def exit_at(x: int, bad: int) -> int:
    if x == bad:
        os._exit(3)
    return x


def raise_it(error: BaseException) -> None:
    raise error


# --- as the serial loop --------------------------------------------------------------------------


@each_backend
def test_calls_and_maps_are_those_of_the_serial_loop(settings: Settings) -> None:
    with executor_of(settings) as executor:
        assert executor.submit(int, "ff", base=16).result(TIME_LIMIT) == 255
        later = [executor.submit(double, x) for x in range(20)]
        assert [one.result(TIME_LIMIT) for one in later] == [2 * x for x in range(20)]
        assert list(executor.map(pow, [2, 3, 4], [3, 2])) == [8, 9]
        assert list(executor.map(double, range(10), chunksize=3)) == [2 * x for x in range(10)]
        assert list(executor.map(double, [])) == list(executor.map(double)) == []
        for size in (1, 3):
            results = executor.map(reciprocal, [1, 2, 0, 4], chunksize=size)
            assert [next(results), next(results)] == [1.0, 0.5]
            with pytest.raises(ZeroDivisionError):
                next(results)
            assert list(results) == []


@each_backend
def test_what_a_function_raises_is_what_the_future_has(settings: Settings) -> None:
    with executor_of(settings) as executor:
        for error in (ValueError("bad"), SystemExit(3), GeneratorExit()):
            raised = executor.submit(raise_it, error).exception(TIME_LIMIT)
            assert raised is not None
            assert type(raised) is type(error)
            assert raised.args == error.args
        # Which asyncio takes in no future: who awaited one would wait for ever.
        stopped = executor.submit(raise_it, StopIteration(1)).exception(TIME_LIMIT)
        assert isinstance(stopped, ControlFlowError)


# --- workers that die ----------------------------------------------------------------------------


@each_method
def test_a_lost_worker_costs_one_future(method: Any) -> None:
    with Executor(2, start_method=method) as executor:
        later = [executor.submit(exit_at, x, 5) for x in range(10)]
        error = later[5].exception(TIME_LIMIT)
        assert isinstance(error, WorkerLost)
        assert isinstance(error, BrokenProcessPool)
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert (again.exitcode, str(again)) == (3, str(error))
        assert [one.result(TIME_LIMIT) for one in later if one is not later[5]] == [
            x for x in range(10) if x != 5
        ]
        results = executor.map(exit_at, range(6), [4] * 6, chunksize=3)
        assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(BrokenProcessPool):
            next(results)
        assert executor.submit(double, 4).result(TIME_LIMIT) == 8


def fails(_: object = None) -> None:
    raise OSError("no such disk")


def test_a_failed_initializer_breaks_it() -> None:
    with Executor(2, initializer=fails, initargs=()) as executor:
        first = executor.submit(double, 1).exception(TIME_LIMIT)
        assert isinstance(first, BrokenProcessPool)
        assert isinstance(first, WorkerStartError)
        with pytest.raises(BrokenProcessPool, match="no such disk"):
            executor.submit(double, 1)


class Unloadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return fails, (1,)


def test_what_cannot_be_loaded_costs_one_future() -> None:
    with Executor(1) as executor:
        error = executor.submit(type, Unloadable()).exception(TIME_LIMIT)
        assert isinstance(error, BrokenProcessPool)
        assert isinstance(error, TransportError)
        assert executor.submit(double, 4).result(TIME_LIMIT) == 8


# --- states --------------------------------------------------------------------------------------


@each_backend
def test_what_has_begun_runs_and_what_has_not_is_cancelled(
    settings: Settings, tmp_path: Path
) -> None:
    folder = str(tmp_path)
    with executor_of(settings, 1) as executor:
        first, second, third = (executor.submit(held, folder, name) for name in "abc")
        until(lambda: marks(folder) == ["a"])
        assert first.running()
        assert not first.cancel()
        assert (second.running(), second.done()) == (False, False)
        assert second.cancel()
        assert second.cancel()
        assert second.cancelled()
        with pytest.raises(futures.CancelledError):
            second.result()
        release(tmp_path, *"abc")
        assert first.result(TIME_LIMIT) == "a"
        assert third.result(TIME_LIMIT) == "c"
        assert (first.cancel(), first.running(), first.done()) == (False, False, True)
        with pytest.raises(futures.InvalidStateError):
            first.set_result("")
    assert marks(folder) == ["a", "c"]


def test_what_was_sent_ahead_is_cancelled_too(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with Executor(1) as executor:
        for _ in executor.map(mark, [folder] * 100, ["quick"] * 100):
            pass  # so that calls of it are sent ahead of need
        call = partial(held_if_named, folder)
        futures.wait([executor.submit(call, "") for _ in range(100)])
        first = executor.submit(call, "a")
        later = [executor.submit(call, f"later{n}") for n in range(60)]
        until(lambda: marks(folder)[-1] == "a")
        release(tmp_path, *[f"later{n}" for n in range(60)])
        gone = later[10:40]
        assert all(one.cancel() for one in gone)
        release(tmp_path, "a")
        assert first.result(TIME_LIMIT) == "a"
        kept = [one.result(TIME_LIMIT) for one in later if one not in gone]
    assert marks(folder)[101:] == kept


def held_if_named(folder: str, name: str) -> str:
    return held(folder, name) if name else name


def test_waiting_of_the_standard_library(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with Executor(2) as executor:
        later = [executor.submit(held, folder, name) for name in "abc"]
        until(lambda: len(marks(folder)) == 2)
        assert later[2].cancel()
        done, pending = futures.wait(later, return_when=futures.FIRST_COMPLETED)
        assert (done, pending) == ({later[2]}, {*later[:2]})
        release(tmp_path, *"ab")
        assert {*futures.as_completed(later, TIME_LIMIT)} == {*later}


@each_backend
def test_asyncio(settings: Settings) -> None:
    async def main(executor: Executor) -> None:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, double, x) for x in range(5)]
        assert await asyncio.gather(*calls) == [0, 2, 4, 6, 8]
        with pytest.raises(ZeroDivisionError):
            await asyncio.wrap_future(executor.submit(reciprocal, 0))

    with executor_of(settings) as executor:
        asyncio.run(main(executor))


# --- where it is used from -----------------------------------------------------------------------


def test_a_callback_may_submit_and_wait() -> None:
    with Executor(1) as executor:
        heard = futures.Future[int]()

        def go_on(one: "futures.Future[int]") -> None:
            heard.set_result(executor.submit(double, one.result()).result())

        executor.submit(double, 3).add_done_callback(go_on)
        assert heard.result(TIME_LIMIT) == 12


def test_many_threads_submit_at_once() -> None:
    with Executor(2) as executor, futures.ThreadPoolExecutor(8) as threads:

        def some(n: int) -> list[int]:
            return [executor.submit(double, 10 * n + x).result(TIME_LIMIT) for x in range(10)]

        assert sum(threads.map(some, range(20)), list[int]()) == [2 * x for x in range(200)]


def test_both_sides_of_a_fork_use_it() -> None:
    with Executor(1) as executor:
        theirs = executor.submit(double, 1)
        assert theirs.result(TIME_LIMIT) == 2
        open_ = executor.submit(signal.pause)
        until(open_.running)
        pid = os.fork()
        if pid == 0:
            try:
                right = executor.submit(double, 2).result(TIME_LIMIT) == 4
                lost = isinstance(open_.exception(TIME_LIMIT), PoolClosedError)
                executor.shutdown()
                os._exit(0 if right and lost else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert open_.running()
        executor.kill_workers()


inherited: Executor | None = None


def submit_again(depth: int) -> list[int]:
    assert inherited is not None
    below = inherited.submit(submit_again, depth - 1).result() if depth else []
    return [*below, os.getpid()]


@pytest.mark.parametrize("backend", ["threads", "serial"])
def test_an_item_may_wait_for_what_it_submits(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Executor(1, backend=backend) as executor:
        monkeypatch.setitem(globals(), "inherited", executor)
        assert executor.submit(submit_again, 3).result(TIME_LIMIT) == [os.getpid()] * 4


def test_an_item_that_inherited_it_starts_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    with Executor(1, start_method="fork") as executor:
        monkeypatch.setitem(globals(), "inherited", executor)
        pids = executor.submit(submit_again, 3).result(TIME_LIMIT)
    assert len(pids) == 4
    assert len({*pids}) == 1


# --- the end -------------------------------------------------------------------------------------


@each_backend
def test_after_its_end_it_takes_nothing(settings: Settings) -> None:
    executor = executor_of(settings)
    later = executor.submit(double, 1)
    executor.shutdown(wait=False)
    assert later.result(TIME_LIMIT) == 2
    executor.shutdown()
    words = "cannot schedule new futures after shutdown"
    with pytest.raises(RuntimeError, match=words):
        executor.submit(double, 1)
    with pytest.raises(RuntimeError, match=words):
        executor.map(double, [1])


@pytest.mark.parametrize("how", ["shutdown", "kill_workers", "terminate_workers"])
def test_one_that_was_never_used_takes_nothing_after_its_end(how: str) -> None:
    executor = Executor(1)
    end: Callable[[], None] = getattr(executor, how)
    end()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(double, 1)
    assert not executor._drivers


@each_method
def test_its_workers_are_gone_when_its_end_was_waited_for(method: Any) -> None:
    with Executor(2, start_method=method) as executor:
        pids = {executor.submit(os.getpid).result(TIME_LIMIT) for _ in range(4)}
    assert not any(map(lives, pids))


def test_a_shutdown_by_another_thread_in_the_midst_of_a_submit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = "cannot schedule new futures after shutdown"
    made: list[Any] = []

    def make_and_shut_down(options: Any) -> Any:
        made.append(make_driver(options))
        early.shutdown()  # which does not know of it yet
        return made[0]

    with monkeypatch.context() as patch, Executor(1) as early:
        patch.setattr(_executor, "make_driver", make_and_shut_down)
        with pytest.raises(RuntimeError, match=words):
            early.submit(double, 1)
        assert made[0].closed
    with Executor(1) as late:
        driver = late._driver()
        monkeypatch.setattr(late, "_driver", lambda: driver)
        late.shutdown()
        with pytest.raises(RuntimeError, match=words):
            late.submit(double, 1)


def test_cancel_futures(tmp_path: Path) -> None:
    folder = str(tmp_path)
    executor = Executor(1)
    first = executor.submit(held, folder, "a")
    until(first.running)
    later = [executor.submit(held, folder, f"later{n}") for n in range(20)]
    results = executor.map(double, range(10))
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(one.cancelled() for one in later)
    with pytest.raises(futures.CancelledError):
        next(results)
    release(tmp_path, "a")
    executor.shutdown()
    assert first.result() == "a"
    assert marks(folder) == ["a"]


def test_one_that_is_dropped_finishes_and_goes() -> None:
    executor = Executor(1)
    later = executor.submit(os.getpid)
    results = executor.map(double, range(5))
    gone = weakref.ref(executor)
    del executor
    assert gone() is None
    pid = later.result(TIME_LIMIT)
    assert list(results) == [0, 2, 4, 6, 8]
    until(lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.parametrize("how", ["kill_workers", "terminate_workers"])
def test_a_call_of_a_thread_that_was_told_to_end_runs_on(how: str, tmp_path: Path) -> None:
    executor = Executor(1, backend="threads")
    first = executor.submit(held, str(tmp_path), "a")
    until(lambda: marks(tmp_path))
    later = executor.submit(double, 1)
    end: Callable[[], None] = getattr(executor, how)
    end()
    said = first.running(), first.cancel(), later.cancelled()
    release(tmp_path, "a")
    executor.shutdown()
    assert said == (True, False, True)
    assert first.result() == "a"


@each_method
@pytest.mark.parametrize("how", ["kill_workers", "terminate_workers"])
def test_workers_are_ended(method: Any, how: str, tmp_path: Path) -> None:
    executor = Executor(1, start_method=method)
    first = executor.submit(held, str(tmp_path), "a")
    until(lambda: marks(tmp_path))
    later = [executor.submit(double, n) for n in range(5)]
    end: Callable[[], None] = getattr(executor, how)
    end()
    error = first.exception(TIME_LIMIT)
    assert isinstance(error, WorkerLost)
    assert error.exitcode == -(signal.SIGKILL if how == "kill_workers" else signal.SIGTERM)
    executor.shutdown()
    assert all(one.cancelled() for one in later)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(double, 1)


def heed(folder: str) -> str:
    got = threading.Event()

    def note(_number: int, _frame: object) -> None:
        got.set()

    signal.signal(signal.SIGTERM, note)
    mark(folder, "begun")
    until(got.is_set)
    return "in order"


def test_a_worker_may_end_in_order(tmp_path: Path) -> None:
    executor = Executor(1)
    later = executor.submit(heed, str(tmp_path))
    until(lambda: marks(tmp_path))
    executor.terminate_workers()
    assert later.result(TIME_LIMIT) == "in order"
    executor.shutdown()


class Given:
    """What an initializer is given."""


def look_at(given: Given) -> None:
    assert isinstance(given, Given)


@pytest.mark.parametrize("use", ["dropped", "used and dropped", "shut down"])
@pytest.mark.parametrize("kind", [Executor, Pool, ThreadPool])
def test_what_an_initializer_was_given_goes_without_the_collector(kind: Any, use: str) -> None:
    given = Given()
    gone = weakref.ref(given)
    gc.disable()
    try:
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            one = kind(1, initializer=look_at, initargs=(given,))
            if use != "dropped":
                one.submit(abs, -1).result() if kind is Executor else one.apply(abs, (-1,))
            if use == "shut down":
                one.shutdown() if kind is Executor else one.terminate()
            del one, given
        until(lambda: gone() is None)
    finally:
        gc.enable()
