"""Several handles together, different calls together, and coroutine functions, on every backend."""

import concurrent.futures
import contextvars
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import BACKENDS, Settings, mark, marks, square, until, wait_for_file

from pmap import (
    AsyncResult,
    CancelledError,
    Failure,
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
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


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
