"""The deadline of a whole call: what is done stays done, and nothing of the call goes on."""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.backends import BACKENDS, Settings
from tests.contract.event_loops import EventLoop
from tests.files import mark, marks, wait_for_file
from tests.items import square
from tests.limits import TIME_LIMIT, seconds, until

from pmap import (
    CancelledError,
    Failure,
    Progress,
    ResultTimeoutError,
    TaskTimeout,
    call,
    failed,
    papply,
    pcall,
    pmap,
    pstarmap,
)

if TYPE_CHECKING:
    from pmap import Options

# Seconds in which the quick items of a test end, also on a busy machine.
ENOUGH = seconds(3)
# Seconds for a call in which no item has to end.
SHORT = 0.05
# The time of this file changes when a test ends. Then the items that wait in threads and
# interpreters of this process end.
GO = Path(tempfile.gettempdir(), f"pmap-go-{os.getpid()}")
BACKEND = pytest.mark.parametrize("on", BACKENDS, ids=lambda on: on.name)


@pytest.fixture(autouse=True)
def end_of_waiting() -> Iterator[None]:
    """Let no thread wait after the test."""
    yield
    GO.touch()
    now = time.monotonic_ns()
    os.utime(GO, ns=(now, now))


@pytest.fixture(autouse=True, scope="module")
def no_file_is_left() -> Iterator[None]:
    """Remove the file when all tests are over."""
    yield
    GO.unlink(missing_ok=True)


def last_end() -> int:
    """Return the time at which a test ended last, in ns; 0 if none has, or all have."""
    try:
        return GO.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def wait(x: object = None) -> object:
    """Do not end in time."""
    until_there = time.monotonic() + TIME_LIMIT
    begun = last_end()
    while last_end() == begun and time.monotonic() < until_there:
        time.sleep(0.01)
    return x


def wait_at_one(x: int) -> int:
    """Return `x`, but for 1, which is not done in time."""
    if x == 1:
        wait()
    return x


def too_long(x: float) -> float:
    """Take longer than `SHORT`."""
    time.sleep(2 * SHORT)
    return x


def mark_and_wait(folder: str, x: int) -> None:
    mark(folder, x)
    wait()


def fail(_x: object) -> None:
    raise LookupError


def options_of(on: Settings) -> "Options":
    return {**on.options(chunksize=1), "processes": 2}


@BACKEND
def test_what_is_not_done_is_a_failure(on: Settings) -> None:
    each = pmap.collecting.using(**options_of(on))
    each(square, range(4))  # the start of the workers takes its time
    each(wait_at_one, [0, 2, 3, 4])  # and so does the import of this module
    if on.backend == "serial":
        found = each(too_long, range(3), deadline=SHORT)
        done = {0}
    else:
        found = each(wait_at_one, range(5), deadline=ENOUGH / 3)
        # On a busy machine perhaps not all others end in time.
        done = {index for index, result in enumerate(found) if not failed(result)}
        assert done
        assert 1 not in done
    for index, result in enumerate(found):
        assert failed(result) == (index not in done)
        if failed(result):
            assert isinstance(result.error, ResultTimeoutError)
            assert result.index == index
            assert f"{len(done)} of {len(found)} items are done" in str(result.error)
        else:
            assert result == index
    assert each(square, [3]) == [9]


FORMS: "dict[str, Callable[[Options], object]]" = {
    "pmap": lambda o: pmap(wait, [1, 2, 3], **o),
    "pstarmap": lambda o: pstarmap(wait, [(1,), (2,), (3,)], **o),
    "papply": lambda o: papply.using(**o)(wait, 1),
    "pcall": lambda o: pcall.using(**o)(call(wait, 1), wait),
    "async_": lambda o: pmap.async_(wait, [1, 2, 3], **o).get(),
    "papply.async_": lambda o: papply.using(**o).async_(wait, 1).get(),
    "iter": lambda o: [*pmap.iter(wait, [1, 2, 3], **o)],
    "iter_unordered": lambda o: [*pstarmap.iter_unordered(wait, [(1,), (2,)], **o)],
    "endless": lambda o: [*pmap.iter(wait, itertools.count(), **o)],
}


@pytest.mark.parametrize("backend", ["processes", "threads"])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_raises(form: str, backend: str) -> None:
    options: Any = {"backend": backend, "processes": 2, "deadline": SHORT}
    with pytest.raises(ResultTimeoutError, match=r"deadline of 0\.05 s: 0 (of|items)") as caught:
        FORMS[form](options)
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("collect", [False, True])
def test_what_runs_is_ended(collect: bool, tmp_path: Path) -> None:
    verb: Any = pmap.collecting if collect else pmap
    folder = str(tmp_path)

    def item(_x: int) -> None:
        mark(folder, os.getpid())
        wait()

    def is_there(pid: int) -> bool:
        return Path(f"/proc/{pid}").exists()

    pmap(square, range(4), processes=2, chunksize=1)
    later = verb.async_(item, range(2), processes=2, chunksize=1, deadline=ENOUGH)
    until(later.ready)
    pids = [int(name) for name in marks(tmp_path)]
    assert pids
    until(lambda: not any(map(is_there, pids)))
    assert (later.exception() is None) == collect


def test_what_runs_goes_on_if_cancelling_does_not_kill(tmp_path: Path) -> None:
    folder, go = str(tmp_path), str(tmp_path / "go")

    def item(x: int) -> None:
        mark(folder, f"begun-{x}")
        wait_for_file(go)
        mark(folder, f"ended-{x}")

    left = pmap.using(kill_on_cancel=False, processes=2, chunksize=1)
    left(square, range(2))
    later = left.async_(item, range(4), deadline=ENOUGH)
    until(lambda: len(marks(tmp_path)) == 2)
    with pytest.raises(ResultTimeoutError):
        later.get()
    Path(go).touch()
    until(lambda: len(marks(tmp_path)) == 4)
    assert left(square, [3]) == [9]
    assert {*marks(tmp_path)} == {"begun-0", "begun-1", "ended-0", "ended-1"}


@BACKEND
def test_the_clock_runs_while_the_input_is_read(on: Settings, tmp_path: Path) -> None:
    def slow() -> Iterator[int]:
        time.sleep(2 * SHORT)
        yield from range(3)

    each = pmap.using(**options_of(on)).using(deadline=SHORT)
    with pytest.raises(ResultTimeoutError, match="0 of 3 items are done"):
        each(partial(mark, str(tmp_path)), slow())
    assert not marks(tmp_path), "no item has begun"
    late = each.collecting(square, slow())
    assert [type(result) for result in late] == [Failure] * 3
    assert each(square, []) == []


@BACKEND
def test_a_stream_has_a_result_for_each_item_of_a_list(on: Settings) -> None:
    each = pmap.collecting.using(**options_of(on))
    items = [*range(50)]
    for ordered in (True, False):
        stream = each.iter if ordered else each.iter_unordered
        found = [*stream(too_long, items, deadline=4 * SHORT, buffersize=5)]
        assert len(found) == 50
        late = [result for result in found if failed(result)]
        assert late
        assert {type(failure.error) for failure in late} == {ResultTimeoutError}
        assert {f.index for f in late} == set(items) - {x for x in found if not failed(x)}
        if ordered:
            assert [x.index if failed(x) else x for x in found] == items


@BACKEND
def test_a_stream_of_unknown_length_raises_and_reads_no_more(on: Settings) -> None:
    read: list[int] = []

    def endless() -> Iterator[int]:
        for x in itertools.count():
            read.append(x)
            yield x

    each = pmap.collecting.using(**options_of(on))
    found: list[float | Failure] = []
    results = each.iter(too_long, endless(), deadline=SHORT, buffersize=4)
    with pytest.raises(ResultTimeoutError, match="items are done, of"):
        found.extend(results)
    assert len(found) == len(read)
    assert failed(found[-1])
    assert len(read) < 20


def test_an_item_that_waits_for_its_next_try_is_not_done() -> None:
    patient = pmap.using(backend="threads", retries=(TIME_LIMIT,), retry_on=LookupError)
    with pytest.raises(ResultTimeoutError, match="0 of 1 items"):
        patient(fail, [0], deadline=SHORT)
    (late,) = patient.collecting(fail, [0], deadline=SHORT)
    assert isinstance(late, Failure)
    assert isinstance(late.error, ResultTimeoutError)


def test_the_timeout_of_an_item_and_the_deadline_hold_side_by_side() -> None:
    each = pmap.using(processes=2, chunksize=1)
    with pytest.raises(TaskTimeout):
        each(wait, [0], timeout=SHORT, deadline=TIME_LIMIT)
    with pytest.raises(ResultTimeoutError):
        each(wait, [0], timeout=TIME_LIMIT, deadline=SHORT)


def test_a_failure_that_comes_before_is_raised() -> None:
    with pytest.raises(LookupError):
        pmap(fail, range(3), backend="threads", deadline=TIME_LIMIT)


def inner(x: int) -> list[int | Failure]:
    pmap(square, [1])  # the first call imports modules
    return [*map(late_or_not, pmap.collecting(later, [x, x + 1, x + 2], deadline=ENOUGH / 3))]


def later(x: int) -> int:
    time.sleep(ENOUGH / 2)
    return x


def late_or_not(result: Any) -> Any:
    return "late" if failed(result) else result


def test_a_call_inside_an_item_has_its_own() -> None:
    assert pmap(inner, [0, 10], processes=2) == [[0, "late", "late"], [10, "late", "late"]]


def test_the_deadline_of_the_outer_call_ends_inner_calls(tmp_path: Path) -> None:
    folder = str(tmp_path)

    def outer(_x: int) -> None:
        pmap(lambda y: mark_and_wait(folder, y), range(3))

    with pytest.raises(ResultTimeoutError):
        pmap(outer, [0], processes=2, deadline=SHORT)
    assert len(marks(tmp_path)) <= 1


def test_a_call_that_was_cancelled_is_cancelled() -> None:
    later = pmap.async_(wait, [1], backend="threads", deadline=seconds(0.5))
    later.cancel()
    with pytest.raises(CancelledError):
        later.get()


def test_many_calls_with_deadlines_do_not_meet() -> None:
    """The calls that are done in time are forgotten, whatever the deadlines of the others."""
    one = papply.using(backend="threads", processes=4)
    late = [one.using(deadline=SHORT).async_(wait, x) for x in range(2)]
    good = [one.using(deadline=TIME_LIMIT + x % 3).async_(square, x) for x in range(300)]
    assert [handle.get() for handle in good] == [x * x for x in range(300)]
    for handle in late:
        with pytest.raises(ResultTimeoutError):
            handle.get()


def test_the_progress_ends_with_all_items() -> None:
    told: list[Progress] = []
    pmap.collecting(wait, range(3), backend="threads", deadline=SHORT, progress=told.append)
    last = told[-1]
    assert (last.done, last.failed, last.total, last.finished) == (3, 3, 3, True)


def test_a_task_gets_it(loop: EventLoop) -> None:
    async def main() -> None:
        with pytest.raises(ResultTimeoutError):
            await pmap.async_(wait, [1, 2], processes=2, chunksize=1, deadline=SHORT)
        with pytest.raises(ResultTimeoutError):
            async for _ in pmap.iter(wait, itertools.count(), processes=2, deadline=SHORT):
                pass
        late = pmap.collecting.iter(wait, range(6), processes=2, deadline=SHORT, buffersize=2)
        assert [failed(result) async for result in late] == [True] * 6

    loop.run(main)
