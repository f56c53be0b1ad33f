"""Several handles together, and different calls together, on every backend."""

import asyncio
import concurrent.futures
import operator
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

import pytest
from tests.backends import BACKENDS, Settings
from tests.files import mark, marks, wait_for_file
from tests.items import square
from tests.limits import TIME_LIMIT, until

from pmap import (
    AsyncResult,
    CancelledError,
    ControlFlowError,
    Failure,
    WorkerLost,
    as_completed,
    call,
    failed,
    gather,
    papply,
    pcall,
    pmap,
    split,
)

if TYPE_CHECKING:
    from pmap import Options

PROCESSES = [b for b in BACKENDS if b.processes]


@pytest.fixture
def options(backend: Settings) -> "Options":
    """The options for a backend with two workers."""
    return {"backend": backend.backend, "start_method": backend.start_method, "processes": 2}


@pytest.fixture(params=PROCESSES, ids=lambda b: b.name)
def process(request: pytest.FixtureRequest) -> "Options":
    """The options for two worker processes."""
    return {"start_method": request.param.start_method, "processes": 2}


def wait_to_go(folder: str, x: int) -> int:
    """Note that an item begins, and wait for a file of its name."""
    mark(folder, x)
    wait_for_file(f"{folder}/{x}")
    return x


def invert(x: int) -> float:
    """Fail at 0."""
    return 1 / x


# --- gather, as_completed, then, future ----------------------------------------------------------


def test_gather(options: "Options") -> None:
    one = papply.using(**options)
    both = gather(one.async_(square, 2), pmap.using(**options).async_(str, [1, 2]))
    assert both.get() == (4, ["1", "2"])
    assert (both.done, both.total) == (3, 3)
    assert both.successful()
    assert gather().get() == ()
    assert "gather" in repr(both)


def test_gather_fails_as_the_first_in_order(tmp_path: Path, process: "Options") -> None:
    one = papply.using(**process)
    waits = one.async_(wait_to_go, str(tmp_path), 1)
    fails = one.async_(invert, 0)
    fails.wait()
    both = gather(waits, fails)
    assert not both.ready(), "the first may still fail, too"
    (tmp_path / "1").touch()
    with pytest.raises(ZeroDivisionError):
        both.get()
    assert waits.get() == 1
    first = gather(fails, one.async_(wait_to_go, str(tmp_path), 2))
    with pytest.raises(ZeroDivisionError):
        first.get()  # at once, though the other one still waits
    (tmp_path / "2").touch()


def test_cancelling_what_was_gathered_cancels_all(tmp_path: Path, process: "Options") -> None:
    one = papply.using(**process)
    parts = [one.async_(wait_to_go, str(tmp_path), x) for x in (1, 2)]
    both = gather(*parts)
    until(lambda: len(marks(tmp_path)) == 2)
    assert both.cancel()
    for part in [*parts, both]:
        with pytest.raises(CancelledError):
            part.get()


def test_gather_refuses_what_is_no_handle() -> None:
    handles: Any = [5]
    with pytest.raises(TypeError, match=r"argument 1 must be an AsyncResult.*papply_async"):
        gather(*handles)


def test_as_completed(tmp_path: Path, process: "Options") -> None:
    one = papply.using(**process)
    slow, quick = one.async_(wait_to_go, str(tmp_path), 7), one.async_(square, 3)
    completed = as_completed([slow, quick])
    assert next(completed) is quick
    (tmp_path / "7").touch()
    assert [later.get() for later in completed] == [7]
    nothing: list[AsyncResult[int]] = []
    assert list(as_completed(nothing)) == []


def test_then(options: "Options") -> None:
    later = pmap.using(**options).async_(square, range(4))
    assert later.then(sum).then(str).get() == "14"
    with pytest.raises(ZeroDivisionError):
        later.then(lambda _: 1 / 0).get()
    bad = papply.using(**options).async_(invert, 0)
    with pytest.raises(ZeroDivisionError):
        bad.then(str).get()


def test_cancelling_what_comes_then(tmp_path: Path, process: "Options") -> None:
    later = papply.using(**process).async_(wait_to_go, str(tmp_path), 1)
    behind = later.then(str)
    until(lambda: marks(tmp_path) == ["1"])
    assert behind.cancel()
    with pytest.raises(CancelledError):
        behind.get()
    with pytest.raises(CancelledError):
        later.get()


def test_futures(tmp_path: Path, process: "Options") -> None:
    one = papply.using(**process)
    futures = [one.async_(square, x).future() for x in range(4)]
    assert {f.result() for f in concurrent.futures.as_completed(futures)} == {0, 1, 4, 9}
    bad = one.async_(invert, 0).future()
    assert isinstance(bad.exception(), ZeroDivisionError)
    later = one.async_(wait_to_go, str(tmp_path), 1)
    future = later.future()
    until(lambda: marks(tmp_path) == ["1"])
    assert future.cancel()
    assert concurrent.futures.wait([future], timeout=0).done == {future}
    with pytest.raises(CancelledError):
        later.get()
    with pytest.raises(concurrent.futures.CancelledError):
        later.future().result()


def test_callbacks(options: "Options") -> None:
    seen: list[object] = []
    later = papply.using(**options).async_(square, 3)
    later.add_done_callback(lambda over: seen.append(over.get()))
    later.wait()
    later.add_done_callback(lambda over: seen.append(over is later))
    assert seen == [9, True]


def test_good_and_bad(options: "Options") -> None:
    results = pmap.using(**options).collecting(invert, [1, 0, 2])
    good, bad = split(results)
    assert good == [1.0, 0.5]
    assert [f.index for f in bad] == [1]
    assert [failed(r) for r in results] == [False, True, False]


# --- different calls -----------------------------------------------------------------------------


def test_different_calls(options: "Options") -> None:
    run = pcall.using(**options)
    assert run() == ()
    assert run(call(square, 3), call(int, "ff", base=16), lambda: [1]) == (9, 255, [1])
    later = run.async_(call(square, 3), call(str, 1))
    assert later.get() == (9, "1")
    assert later.total == 2


def test_they_run_beside_each_other(tmp_path: Path, process: "Options") -> None:
    def meet(own: str, other: str) -> str:
        (tmp_path / own).touch()
        wait_for_file(tmp_path / other)
        return own

    assert pcall.using(**process)(call(meet, "a", "b"), call(meet, "b", "a")) == ("a", "b")


def test_a_failing_call_is_named(options: "Options") -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        pcall.using(**options)(call(square, 1), call(int, "x", base=16))
    assert "item 1, call(int('x', base=16))" in "\n".join(caught.value.__notes__)
    both = pcall.using(**options).collecting(call(invert, 0), call(square, 2))
    assert isinstance(both[0], Failure)
    assert both[1] == 4


def test_calls_that_were_made_already_are_refused() -> None:
    wrong: Any = [square(3)]
    with pytest.raises(TypeError, match=r"argument 1 must be a call.*not pcall\(f\(x\)"):
        pcall(*wrong)
    with pytest.raises(TypeError, match="must be a function"):
        call(wrong)
    assert repr(call(int, "ff", base=16)) == "int('ff', base=16)"


# --- what ends in several threads at once, or badly ----------------------------------------------


def fail_with(kind: type[BaseException]) -> Callable[[object], Never]:
    """Return a function of one argument that raises."""

    def act(_: object) -> Never:
        raise kind("now")

    return act


def test_gathered_handles_that_end_at_the_same_moment(tmp_path: Path, process: "Options") -> None:
    # Each is told while the callbacks of the other still run, by another pool.
    path = str(tmp_path)
    parts = [papply.using(**process).using(processes=n).async_(wait_to_go, path, 1) for n in (1, 2)]
    both = gather(*parts)
    meeting = threading.Barrier(2, timeout=TIME_LIMIT)
    for part in parts:
        part.add_done_callback(lambda _: meeting.wait())
    (tmp_path / "1").touch()
    assert both.get(TIME_LIMIT) == (1, 1)


def test_what_is_completed_is_ready(tmp_path: Path, process: "Options") -> None:
    good = papply.using(**process).async_(wait_to_go, str(tmp_path), 1)
    bad = papply.using(**process).async_(invert, 0)
    taken: list[bool] = []
    other = threading.Thread(target=lambda: taken.append(next(completed).ready()))

    def slow_callback(_: object) -> None:
        other.start()
        other.join(0.2)  # it gets the handle when the callbacks are done, and not before

    completed = as_completed([good, bad])
    good.add_done_callback(slow_callback)
    assert next(completed) is bad
    assert isinstance(bad.exception(), ZeroDivisionError)
    (tmp_path / "1").touch()
    assert good.get() == 1
    other.join()
    assert taken == [True]
    assert list(completed) == []


def test_callbacks_that_raise(options: "Options", caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    later = papply.using(**options).async_(square, 3)
    later.wait()
    for kind in (ValueError, SystemExit, asyncio.CancelledError):
        later.add_done_callback(fail_with(kind))
    later.add_done_callback(lambda over: seen.append(over.get()))
    assert seen == [9]
    assert len(caplog.records) == 3
    assert papply.using(**options).async_(square, 4).get() == 16


def test_one_bad_callback_keeps_no_other_from_being_called(
    tmp_path: Path, process: "Options", caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    later = papply.using(**process).async_(wait_to_go, str(tmp_path), 3)
    for kind in (ValueError, SystemExit):
        later.add_done_callback(fail_with(kind))
    later.add_done_callback(lambda over: seen.append(over.get()))
    behind = later.then(str)
    both = gather(later, later)
    (tmp_path / "3").touch()
    assert behind.get(TIME_LIMIT) == "3"
    assert both.get(TIME_LIMIT) == (3, 3)
    assert seen == [3]
    assert [r.levelname for r in caplog.records] == ["ERROR"] * 2
    assert "a callback of papply(wait_to_go) raised" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_comes_then_raises_what_would_end_the_thread(
    options: "Options", kind: type[BaseException]
) -> None:
    later = papply.using(**options).async_(square, 3)
    behind = later.then(fail_with(kind))
    with pytest.raises(ControlFlowError) as caught:
        behind.get(TIME_LIMIT)
    assert isinstance(caught.value.__cause__, kind)
    assert later.get() == 9


def test_then_runs_once_and_in_this_process(options: "Options") -> None:
    calls: list[int] = []

    def note(x: float) -> int:
        calls.append(round(x))
        return os.getpid()

    later = papply.using(**options).async_(square, 3)
    behind = later.then(note)
    assert [behind.get(), behind.get()] == [os.getpid()] * 2
    assert calls == [9]
    bad = papply.using(**options).async_(invert, 0).then(note)
    bad.wait()
    assert isinstance(bad.exception(), ZeroDivisionError)
    assert calls == [9], "it does not run behind a failure"
    assert "then" in repr(behind)
    assert (behind.done, behind.total) == (1, 1)


def test_a_future_that_is_cancelled_while_the_result_comes(
    tmp_path: Path, process: "Options", caplog: pytest.LogCaptureFixture
) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(x: int) -> int:
        begun.set()
        assert release.wait(TIME_LIMIT)
        return x

    behind = papply.using(**process).async_(wait_to_go, str(tmp_path), 1).then(slow)
    future = behind.future()
    (tmp_path / "1").touch()
    assert begun.wait(TIME_LIMIT)
    assert future.cancel()
    release.set()
    assert behind.get() == 1, "it could not be stopped any more"
    assert future.cancelled()
    assert not caplog.records


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_future_tells_its_callbacks_once(
    cancelled: bool, tmp_path: Path, process: "Options"
) -> None:
    seen: list[bool] = []
    later = papply.using(**process).async_(wait_to_go, str(tmp_path), 1)
    future = later.future()
    future.add_done_callback(lambda over: seen.append(over.cancelled()))
    until(lambda: marks(tmp_path) == ["1"])
    assert not future.running()
    if cancelled:
        assert future.cancel()
        assert future.cancel(), "it can be cancelled again"
    else:
        (tmp_path / "1").touch()
        assert future.result(TIME_LIMIT) == 1
        assert not future.cancel(), "it is too late for that"
    later.wait()
    until(lambda: seen)
    assert seen == [cancelled]
    assert later.future().done()


def test_a_cancelled_handle_cancels_its_future(tmp_path: Path, process: "Options") -> None:
    later = papply.using(**process).async_(wait_to_go, str(tmp_path), 1)
    future = later.future()
    until(lambda: marks(tmp_path) == ["1"])
    later.cancel()
    assert concurrent.futures.wait([future], timeout=TIME_LIMIT).done == {future}
    assert future.cancelled()


def test_gathered_and_then_and_so_on(options: "Options") -> None:
    one = papply.using(**options)
    inner = gather(one.async_(square, 1), one.async_(square, 2)).then(sum)
    outer = gather(inner, one.async_(str, 3), gather())
    assert outer.get() == (5, "3", ())
    later = one.async_(square, 3)
    assert gather(later, later).get() == (9, 9)
    assert outer.future().result() == (5, "3", ())
    assert not outer.cancel()
    assert len(list(as_completed([later, later]))) == 2


def test_as_completed_reads_any_iterable_and_keeps_failures(options: "Options") -> None:
    one = papply.using(**options)
    completed = as_completed(one.async_(invert, x) for x in (1, 0, 2))
    ended = [(later.exception(), later) for later in completed]
    assert sorted(type(error).__name__ for error, _ in ended) == [
        "NoneType",
        "NoneType",
        "ZeroDivisionError",
    ]
    with pytest.raises(StopIteration):
        next(completed)


def test_good_and_bad_of_a_stream(options: "Options") -> None:
    good, bad = split(pmap.using(**options).collecting.iter(invert, [0, 1, 0, 2]))
    assert good == [1.0, 0.5]
    assert [f.index for f in bad] == [0, 2]
    nothing: list[int | Failure] = []
    assert split(nothing) == ([], [])


# --- different calls, again ----------------------------------------------------------------------


def test_each_call_is_its_own_item(tmp_path: Path, process: "Options") -> None:
    run = pcall.using(**process)
    with pytest.raises(ZeroDivisionError) as caught:
        run(call(square, 1), call(invert, 0), call(wait_to_go, str(tmp_path), 5))
    assert "item 1, call(invert(0))" in caught.value.__notes__[0]
    results = run.collecting(call(os._exit, 3), call(square, 2), lambda: 1 / 0)
    assert isinstance(results[0], Failure)
    assert isinstance(results[0].error, WorkerLost)
    assert results[1] == 4
    assert failed(results[2])
    later = run.collecting.async_(call(os._exit, 3), call(square, 2))
    assert [failed(result) for result in later.get()] == [True, False]


def test_calls_can_be_cancelled(tmp_path: Path, process: "Options") -> None:
    later = pcall.using(**process).async_(
        call(wait_to_go, str(tmp_path), 1), call(wait_to_go, str(tmp_path), 2)
    )
    until(lambda: sorted(marks(tmp_path)) == ["1", "2"])
    assert later.cancel()
    with pytest.raises(CancelledError):
        later.get()
    assert pcall.using(**process)(call(square, 3)) == (9,)


def test_a_deferred_call_is_a_function_like_any_other(options: "Options") -> None:
    deferred = call(int, "ff", base=16)
    assert deferred() == 255
    assert papply.using(**options)(deferred) == 255
    assert pmap.using(**options)(operator.call, [deferred, call(str, 1)]) == [255, "1"]
    with pytest.raises(TypeError, match="coroutine function"):
        call(asyncio.sleep, 1)
