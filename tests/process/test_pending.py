"""Single calls that wait by the thousand: what they cost, and that none pays for another."""

import contextvars
import gc
import multiprocessing
import os
import threading
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.backends import START_METHODS
from tests.files import changed_directory, mark, marks, wait_for_file
from tests.limits import TIME_LIMIT, until

from pmap import AsyncResult, CancelledError, Pool, WorkerLost, papply, pmap
from pmap._scheduling.prefetch import MOST_HELD

if TYPE_CHECKING:
    from pmap._types import StartMethod

MANY: Final = 40  # calls after which it is known what one costs

numbers: contextvars.ContextVar[list[int]] = contextvars.ContextVar("numbers")
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="not set")


def marked(folder: str, name: str, go: str = "") -> str:
    """Note that the call has begun, and wait for the file `go` if there is to be one."""
    mark(folder, name)
    if go:
        wait_for_file(go)
    return name


def met(folder: str, name: str, others: int) -> str:
    """Note that the call has begun, and wait for the others, if there are to be any."""
    if others:
        mark(folder, name)
        until(lambda: len(marks(folder)) >= others, "all of them beginning")
    return name


def value_of_variable() -> str:
    """Return what a context variable says."""
    return variable.get()


def appended() -> list[int]:
    """Append to the list in a context variable, and return it."""
    numbers.get().append(1)
    return numbers.get()


def add(x: int, y: int) -> int:
    """Return the sum."""
    return x + y


def leave(_: int) -> None:
    """End the worker."""
    os._exit(3)


@pytest.fixture(params=START_METHODS, name="method")
def _method(request: pytest.FixtureRequest) -> BaseContext:
    method: StartMethod = request.param
    return multiprocessing.get_context(method)


def specs(pool: Pool) -> list[set[int]]:
    """Return the numbers of the call specs that each worker knows."""
    told: list[set[int]] = [{*link.definitions.told} for link in _links(pool)]
    return told


def held(pool: Pool) -> list[int]:
    """Return how many chunks each worker holds."""
    return [len(link.held.chunks) for link in _links(pool)]


def _links(pool: Pool) -> list[Any]:
    return list(vars(pool)["_driver"].backend._connections.values())


def test_the_memory_of_a_call_that_waits() -> None:
    with Pool(1) as pool:
        pool.apply(abs, (-1,))
        block = pool.apply_async(time.sleep, (2 * TIME_LIMIT,))
        waiting = [pool.apply_async(abs, (-1,)) for _ in range(100)]
        gc.collect()
        tracemalloc.start()
        count = 2000
        waiting += [pool.apply_async(abs, (-1,)) for _ in range(count)]
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size / count < 800
        assert not block.ready()


def test_a_function_known_by_its_name_is_told_each_worker_once() -> None:
    with Pool(2) as pool:
        later = [pool.apply_async(abs, (-x,)) for x in range(200)]
        assert [one.get(TIME_LIMIT) for one in later] == list(range(200))
        assert all(len(told) <= 1 for told in specs(pool))
        (first,) = set[int]().union(*specs(pool))
        assert pool.apply(abs, (-7,)) == 7
        assert set().union(*specs(pool)) == {first}
        # Only the last one is kept.
        assert pool.map(len, ["a", "bb"]) == [1, 2]
        until(lambda: first not in set().union(*specs(pool)))
        assert all(len(told) <= 1 for told in specs(pool))


def test_what_has_no_name_is_forgotten_after_its_call() -> None:
    with Pool(1) as pool:
        call = papply.using(pool=pool)
        for number in range(5):
            added = partial(add, number)
            assert call(added, 1) == 1 + number
        assert specs(pool) == [set()]


def test_what_surrounds_a_call_is_seen_though_the_function_is_known(tmp_path: Path) -> None:
    with Pool(1) as pool:
        here = os.getcwd()
        assert pool.apply(os.getcwd) == here
        with changed_directory(tmp_path):
            assert pool.apply(os.getcwd) == str(tmp_path)
        assert pool.apply(os.getcwd) == here
        call = papply.using(pool=pool)
        assert call(value_of_variable) == "not set"
        token = variable.set("set")
        assert call(value_of_variable) == "set"
        variable.reset(token)
        assert call(value_of_variable) == "not set"


def test_what_a_call_leaves_in_a_variable_no_other_one_sees() -> None:
    token = numbers.set([])
    with Pool(1) as pool:
        for _ in range(3):
            assert pool.apply(appended) == [1]
        later = [pool.apply_async(appended) for _ in range(20)]
        assert [one.get(TIME_LIMIT) for one in later] == [[1]] * 20
    numbers.reset(token)


def test_quick_calls_are_sent_ahead(tmp_path: Path) -> None:
    with Pool(1) as pool:
        for number in range(MANY):
            pool.apply(marked, (str(tmp_path), f"warm{number}"))
        go = tmp_path / "go"
        first = pool.apply_async(marked, (str(tmp_path), "first", str(go)))
        rest = [pool.apply_async(marked, (str(tmp_path), f"{n}")) for n in range(MOST_HELD)]
        # It has not been found to be slow yet, or those behind it were held back.
        assert max(held(pool)) <= MOST_HELD
        go.touch()
        assert first.get(TIME_LIMIT) == "first"
        assert [one.get(TIME_LIMIT) for one in rest] == [f"{n}" for n in range(MOST_HELD)]


def test_a_cancelled_call_takes_none_with_it(method: BaseContext, tmp_path: Path) -> None:
    folder = str(tmp_path)
    with Pool(1, context=method) as pool:
        for number in range(MANY):
            pool.apply(marked, (folder, f"warm{number}"))
        for turn in range(6):
            # The calls behind are asked for at once, while nobody knows yet that it is slow.
            slow = pool.apply_async(marked, (folder, f"slow{turn}", str(tmp_path / "never")))
            rest = [pool.apply_async(marked, (folder, f"{turn}-{n}")) for n in range(6)]
            if turn % 2:
                until(lambda: f"slow{turn}" in marks(folder))  # noqa: B023 - it is called here
            assert slow.cancel()
            with pytest.raises(CancelledError):
                slow.get(TIME_LIMIT)
            assert [one.get(TIME_LIMIT) for one in rest] == [f"{turn}-{n}" for n in range(6)]
    begun = marks(folder)
    assert len(begun) == len(set(begun)), "a call began twice"


def test_one_that_waits_behind_another_is_cancelled_without_it(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with Pool(1) as pool:
        for number in range(MANY):
            pool.apply(marked, (folder, f"warm{number}"))
        go = tmp_path / "go"
        slow = pool.apply_async(marked, (folder, "slow", str(go)))
        rest = [pool.apply_async(marked, (folder, f"{n}")) for n in range(6)]
        assert rest[2].cancel()
        with pytest.raises(CancelledError):
            rest[2].get(TIME_LIMIT)
        go.touch()
        assert slow.get(TIME_LIMIT) == "slow"
        assert [one.get(TIME_LIMIT) for one in rest if one is not rest[2]] == list("01345")
    assert "2" not in marks(folder)


def test_a_worker_that_dies_takes_only_the_call_that_it_ran(method: BaseContext) -> None:
    with Pool(1, context=method) as pool:
        for _ in range(MANY):
            pool.apply(abs, (-1,))
        rest = [pool.apply_async(abs, (-n,)) for n in range(3)]
        lost = pool.apply_async(leave, (0,))
        rest += [pool.apply_async(abs, (-n,)) for n in range(3, 9)]
        with pytest.raises(WorkerLost):
            lost.get(TIME_LIMIT)
        assert [one.get(TIME_LIMIT) for one in rest] == list(range(9))


def test_what_waits_behind_a_slow_call_goes_to_others(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with Pool(2) as pool:
        for number in range(MANY):
            pool.apply(marked, (folder, f"warm{number}"))
        go = tmp_path / "go"
        slow = [pool.apply_async(marked, (folder, "slow", str(go)))]
        rest = [pool.apply_async(marked, (folder, f"{n}")) for n in range(12)]
        assert [one.get(TIME_LIMIT) for one in rest] == [f"{n}" for n in range(12)]
        assert not slow[0].ready()
        go.touch()
        assert slow[0].get(TIME_LIMIT) == "slow"


def test_small_calls_that_turn_out_to_wait_for_each_other_meet(
    method: BaseContext, tmp_path: Path
) -> None:
    # Those before are so quick that several are sent to one worker, and these behind them.
    with Pool(4, context=method) as pool:
        for turn in range(5):
            folder = tmp_path / f"{turn}"
            folder.mkdir()
            quick = [pool.apply_async(met, (str(folder), f"{n}", 0)) for n in range(10 * MANY)]
            calls = [pool.apply_async(met, (str(folder), f"{n}", 4)) for n in range(4)]
            assert [one.get(TIME_LIMIT) for one in calls] == [f"{n}" for n in range(4)]
            assert [one.get(TIME_LIMIT) for one in quick] == [f"{n}" for n in range(10 * MANY)]


def left(pool: Any) -> int:
    """Return how many calls wait for the engine's loop: the thread that asked went on at once."""
    return len(pool._driver._state.singles.asked)


def asked_for(pool: Any, numbers: range) -> list[Any]:
    """Ask for calls, some of which wait for the engine's loop; it may take them at any time."""
    later: list[Any] = []
    most = 0
    for number in numbers:
        later.append(pool.apply_async(abs, (-number,)))
        most = max(most, left(pool))
    assert most
    return later


def test_calls_that_are_asked_for_while_workers_are_busy_wait_for_the_loop(tmp_path: Path) -> None:
    go = str(tmp_path / "go")
    with Pool(1) as pool:
        busy = pool.apply_async(marked, (str(tmp_path), "busy", go))
        until(lambda: marks(tmp_path) == ["busy"])
        later = asked_for(pool, range(MANY))
        # They count as calls in progress, and one that is cancelled ends at once.
        assert len(pool._driver.calls()) == MANY + 1
        assert later[-1].cancel()
        with pytest.raises(CancelledError):
            later.pop().get(TIME_LIMIT)
        later += asked_for(pool, range(MANY - 1, 2 * MANY))
        pool.close()  # those that were asked for before are run
        Path(go).touch()
        assert busy.get(TIME_LIMIT) == "busy"
        assert [one.get(TIME_LIMIT) for one in later] == [*range(2 * MANY)]
        pool.join()


def test_what_is_asked_for_just_before_the_pool_is_closed_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, later = str(tmp_path / "go"), list[AsyncResult[int]]()
    with Pool(1) as pool:
        busy = pool.apply_async(marked, (str(tmp_path), "busy", go))
        until(lambda: marks(tmp_path) == ["busy"])
        later += asked_for(pool, range(MANY))
        backend = pool._driver.backend
        collect = backend.collect

        def ask_and_close() -> None:
            later.extend(asked_for(pool, range(MANY, MANY + 2)))
            pool.close()

        closer = threading.Thread(target=ask_and_close)

        def collect_late(polled: Any) -> Iterator[Any]:
            # The loop has taken the calls that wait, and carries out requests only after this.
            if closer.ident is None:
                closer.start()
                until(lambda: pool._driver._state.inbox)
            yield from collect(polled)

        monkeypatch.setattr(backend, "collect", collect_late)
        Path(go).touch()
        assert busy.get(TIME_LIMIT) == "busy"
        closer.join()
        pool.join()
        assert [one.get(TIME_LIMIT) for one in later] == [*range(MANY + 2)]


def test_a_call_is_run_while_the_items_of_a_serial_stream_wait() -> None:
    verb = pmap.using(backend="serial")
    stream = verb.iter(abs, range(20), buffersize=8)
    assert next(stream) == 0  # and more items wait until the next one is asked for
    for x in range(3):
        assert verb.async_(abs, [-x]).get(TIME_LIMIT) == [x]
    assert [*stream] == [*range(1, 20)]


def test_calls_that_wait_for_the_loop_end_with_the_pool(tmp_path: Path) -> None:
    with Pool(1) as pool:
        pool.apply_async(marked, (str(tmp_path), "busy", str(tmp_path / "never")))
        until(lambda: marks(tmp_path) == ["busy"])
        later = asked_for(pool, range(MANY))
        pool.terminate()
        for one in later:
            with pytest.raises(CancelledError):
                one.get(TIME_LIMIT)


def test_the_failure_of_one_of_many_calls_is_its_own() -> None:
    with Pool(1) as pool:
        assert pool.apply(divmod, (7, 2)) == (3, 1)
        later = [pool.apply_async(divmod, (7, x % 5)) for x in range(10 * MANY)]
        for x, one in enumerate(later):
            if x % 5:
                assert one.get(TIME_LIMIT) == divmod(7, x % 5)
            else:
                with pytest.raises(ZeroDivisionError):
                    one.get(TIME_LIMIT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_calls_that_wait_for_the_loop_have_no_result_in_a_fork(tmp_path: Path) -> None:
    with Pool(1) as pool:
        busy = pool.apply_async(marked, (str(tmp_path), "busy", str(tmp_path / "go")))
        until(lambda: marks(tmp_path) == ["busy"])
        later = asked_for(pool, range(MANY))
        pid = os.fork()
        if pid == 0:
            ended = [one.ready() and not one.successful() for one in later]
            os._exit(0 if all(ended) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        (tmp_path / "go").touch()
        assert busy.get(TIME_LIMIT) == "busy"
        assert [one.get(TIME_LIMIT) for one in later] == [*range(MANY)]
