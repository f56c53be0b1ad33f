"""Timeouts and retries: an item that takes too long is ended, whatever it does; nothing else is."""

import itertools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from tests.acts import quietly
from tests.backends import BACKENDS, Settings
from tests.files import mark, marks, wait_for_file
from tests.items import square
from tests.limits import TIME_LIMIT, seconds, until
from tests.signals import KILL

from pmap import (
    Failure,
    Map,
    OptionError,
    Pool,
    TaskTimeout,
    WorkerLost,
    papply,
    pmap,
    pstarmap,
)

if TYPE_CHECKING:
    from pmap import Options
    from pmap._types import StartMethod

PROCESSES = [b for b in BACKENDS if b.processes]
# Seconds that an item may take. Those that are to end in time take a fifth of it at most: the rest
# is for a machine that is busy.
LIMIT = seconds(1)


@pytest.fixture(params=PROCESSES, ids=lambda b: b.name)
def process(request: pytest.FixtureRequest) -> "Options":
    """The options for two worker processes."""
    return {"start_method": request.param.start_method, "processes": 2}


@pytest.fixture(params=[b for b in BACKENDS if b.name != "serial"], ids=lambda b: b.name)
def concurrent(request: pytest.FixtureRequest) -> "Options":
    """The options for two workers that can be left, if not ended."""
    backend: Settings = request.param
    return {"backend": backend.backend, "start_method": backend.start_method, "processes": 2}


# --- what an item may be at when its time is up --------------------------------------------------


def sleep() -> None:
    """Wait for nothing."""
    time.sleep(2 * TIME_LIMIT)


def fail() -> None:
    """Raise."""
    raise LookupError


def hold_the_lock_of_the_interpreter() -> None:
    """Stay in C code, where no signal handler of Python's can run."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def take_no_notice() -> None:
    """Ignore every signal that can be ignored, and swallow every exception."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            time.sleep(TIME_LIMIT)
        except BaseException:
            continue


def deadlock() -> None:
    """Wait for a lock that this very thread holds."""
    lock = threading.Lock()
    with lock:
        lock.acquire()


def meet(folder: str, name: str) -> None:
    """Return when two of these run at once."""
    mark(folder, name)
    until(lambda: len(marks(folder)) >= 2, "the other")


def begin_and_wait(path: str) -> str:
    """Say that it has begun, then wait for a file."""
    Path(path + "-begun").touch()
    wait_for_file(path)
    return path


def wait_for_a_child(folder: str = "") -> None:
    """Wait for a process that waits for a long time."""
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({2 * TIME_LIMIT})"])
    mark(folder, child.pid)
    child.wait()


ACTS: list[Callable[[], object]] = [
    sleep,
    hold_the_lock_of_the_interpreter,
    take_no_notice,
    deadlock,
]


def act_at(bad: int, act: Callable[[], object], x: int) -> int:
    """Do something else at one item."""
    if x == bad:
        act()
    return x


@pytest.mark.parametrize("act", ACTS)
def test_it_is_ended_whatever_it_does(process: "Options", act: Callable[[], object]) -> None:
    verb = pmap.using(**process).using(timeout=LIMIT).collecting
    results = verb(partial(act_at, 3, act), range(12))
    assert [r for r in results if not isinstance(r, Failure)] == [x for x in range(12) if x != 3]
    (failure,) = [r for r in results if isinstance(r, Failure)]
    assert failure.index == 3
    error = failure.error
    assert isinstance(error, TaskTimeout)
    assert isinstance(error, TimeoutError)
    assert error.limit == LIMIT
    said = f"item 3, partial(act_at)(3), ran for longer than its timeout of {LIMIT:g} s"
    assert said in str(error)
    if act is not take_no_notice:
        assert f"in {act.__name__}" in error.stack
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert act.__name__ in names
    assert verb(square, range(4)) == [0, 1, 4, 9], "the pool goes on"


def test_its_children_go_with_it(tmp_path: Path, process: "Options") -> None:
    verb = pmap.using(**process).using(timeout=LIMIT)
    with pytest.raises(TaskTimeout):
        verb(partial(act_at, 1, partial(wait_for_a_child, str(tmp_path))), range(3))
    (pid,) = map(int, marks(tmp_path))
    until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the child")


def test_a_thread_is_left_to_itself() -> None:
    go = threading.Event()
    verb = pmap.using(backend="threads", processes=2, timeout=LIMIT).collecting

    def wait() -> None:
        go.wait(TIME_LIMIT)

    try:
        results = verb(partial(act_at, 3, wait), range(12))
    finally:
        go.set()
    assert [r for r in results if not isinstance(r, Failure)] == [x for x in range(12) if x != 3]
    (failure,) = [r for r in results if isinstance(r, Failure)]
    assert isinstance(failure.error, TaskTimeout)
    # Without the GIL nobody reads the frames of a thread that runs.
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    assert ("in wait" in failure.error.stack) == has_gil


def test_only_the_time_that_an_item_runs_counts(process: "Options") -> None:
    """Many items of a chunk, each well within its time, all of them together well beyond it."""
    verb = pmap.using(**process).using(timeout=LIMIT)
    assert verb(time.sleep, [LIMIT / 5] * 12, chunksize=6) == [None] * 12
    one = papply.using(**process).using(timeout=LIMIT)
    waiting = [one.async_(time.sleep, LIMIT / 5) for _ in range(12)]
    assert [later.get() for later in waiting] == [None] * 12


def test_in_every_form(process: "Options") -> None:
    verb = pmap.using(**process).using(timeout=LIMIT)
    with pytest.raises(TaskTimeout):
        verb.async_(partial(act_at, 1, sleep), range(3)).get()
    with verb.iter(partial(act_at, 1, sleep), itertools.count(), chunksize=1) as stream:
        assert next(stream) == 0
        with pytest.raises(TaskTimeout):
            next(stream)
    with pytest.raises(TaskTimeout):
        papply.using(**process).using(timeout=LIMIT)(sleep)
    with pytest.raises(TaskTimeout):
        pstarmap.using(**process).using(timeout=LIMIT)(time.sleep, [(0,), (2 * TIME_LIMIT,)])


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory is shared here anyhow")
def test_a_limit_holds_where_no_memory_is_shared(
    start_method: "StartMethod", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with Pool(1, context=multiprocessing.get_context(start_method)) as pool:
        verb = pmap.using(pool=pool, timeout=LIMIT, chunksize=3).collecting
        # A fork has pytest's own faulthandler, which would write to the terminal.
        first, late, last = verb(partial(act_at, 1, quietly(sleep)), range(3))
        assert (first, last) == (0, 2)
        assert isinstance(late, Failure)
        assert isinstance(late.error, TaskTimeout)
        with pytest.raises(LookupError):
            pmap.using(pool=pool, timeout=LIMIT, chunksize=3)(partial(act_at, 1, fail), range(3))


def test_items_that_are_nearly_too_late_are_never_mixed_up(process: "Options") -> None:
    """Times on both sides of the limit: each item is finished or too late, and none another's."""
    verb = pmap.using(**process).using(timeout=0.02, chunksize=8).collecting
    times = [0.02 + 0.0002 * ((n * 7) % 16 - 8) for n in range(48)]
    for time_, result in zip(times, verb(time.sleep, times), strict=True):
        if isinstance(result, Failure):
            assert isinstance(result.error, TaskTimeout), result
            assert time_ > 0.01
    assert verb(time.sleep, [0.0] * 100, timeout=TIME_LIMIT) == [None] * 100


def test_a_limit_is_seen_while_another_thread_waits_for_long(
    tmp_path: Path, concurrent: "Options"
) -> None:
    """The thread that leads had nothing to look at a clock for when it began to wait."""
    go = tmp_path / "go"
    done: list[object] = []
    # Both workers are there, or it is woken by one that starts.
    pmap.using(**concurrent)(partial(meet, str(tmp_path)), ["a", "b"], chunksize=1)
    other = threading.Thread(
        target=lambda: done.extend(pmap.using(**concurrent)(begin_and_wait, [str(go)]))
    )
    other.start()
    try:
        wait_for_file(tmp_path / "go-begun")
        one = papply.using(**concurrent).using(timeout=LIMIT)  # on the same pool
        with pytest.raises(TaskTimeout):
            one(begin_and_wait, str(tmp_path / "never"))
        assert not done
    finally:
        (tmp_path / "never").touch()  # a thread cannot be ended
        go.touch()
        other.join()
    assert done == [str(go)], "what it waited for has nothing to do with that"


# --- retries -------------------------------------------------------------------------------------


def fail_first(folder: str, times: int, how: Callable[[], object], x: int) -> int:
    """Fail so many times at each item that is divisible by 3, then be well."""
    mark(folder, x)
    if x % 3 == 0 and marks(folder).count(str(x)) <= times:
        how()
    return x


def raise_lookup() -> NoReturn:
    """Raise."""
    raise LookupError("not yet")


def end_me() -> None:
    """End the process that this runs in."""
    os.kill(os.getpid(), KILL)


def test_an_item_is_tried_again(tmp_path: Path, concurrent: "Options") -> None:
    verb = pmap.using(**concurrent).using(retries=2, retry_on=LookupError)
    f = partial(fail_first, str(tmp_path), 2, raise_lookup)
    assert verb(f, range(7)) == [*range(7)]
    tries = Counter(marks(tmp_path))
    assert tries == Counter({str(x): 3 if x % 3 == 0 else 1 for x in range(7)})


def test_in_streams_too(tmp_path: Path, concurrent: "Options") -> None:
    verb = pmap.using(**concurrent).using(retries=1, retry_on=LookupError)
    f = partial(fail_first, str(tmp_path), 1, raise_lookup)
    assert list(verb.iter(f, range(30))) == [*range(30)]
    assert {*Counter(marks(tmp_path)).values()} == {1, 2}


def test_lost_workers_and_late_items_are_tried_again_by_default(
    tmp_path: Path, process: "Options"
) -> None:
    verb = pmap.using(**process).using(retries=1)
    for name, how in (("lost", end_me), ("late", sleep)):
        (tmp_path / name).mkdir()
        f = partial(fail_first, str(tmp_path / name), 1, how)
        assert verb.using(timeout=LIMIT)(f, range(4)) == [*range(4)]
        assert Counter(marks(tmp_path / name)) == {"0": 2, "1": 1, "2": 1, "3": 2}


def test_what_the_function_raises_is_not(tmp_path: Path, concurrent: "Options") -> None:
    verb = pmap.using(**concurrent).using(retries=5)
    with pytest.raises(LookupError):
        verb(partial(fail_first, str(tmp_path), 1, raise_lookup), [3])
    assert marks(tmp_path) == ["3"]


def test_the_last_error_says_how_often(tmp_path: Path, concurrent: "Options") -> None:
    verb = pmap.using(**concurrent).using(retries=2, retry_on=(LookupError, OSError))
    f = partial(fail_first, str(tmp_path), 99, raise_lookup)
    with pytest.raises(LookupError, match="not yet") as caught:
        verb(f, range(3))
    assert "pmap: tried 3 times" in caught.value.__notes__
    (failure,) = [r for r in verb.collecting(f, [1, 3]) if isinstance(r, Failure)]
    assert failure.attempts == 3
    assert failure.index == 1


def test_there_is_a_delay_before_each_try(tmp_path: Path, concurrent: "Options") -> None:
    begin = time.monotonic()
    verb = pmap.using(**concurrent).using(retries=(0.05, 0.1), retry_on=LookupError)
    assert verb(partial(fail_first, str(tmp_path), 2, raise_lookup), [3]) == [3]
    assert time.monotonic() - begin >= 0.15


def test_a_poisonous_item_is_given_up(tmp_path: Path, process: "Options") -> None:
    results = (
        pmap.using(**process)
        .using(retries=2)
        .collecting(partial(fail_first, str(tmp_path), 99, end_me), range(5))
    )
    lost = [r for r in results if isinstance(r, Failure)]
    assert [(r.index, r.attempts) for r in lost] == [(0, 3), (3, 3)]
    assert all(isinstance(r.error, WorkerLost) for r in lost)
    assert Counter(marks(tmp_path)) == {"0": 3, "1": 1, "2": 1, "3": 3, "4": 1}


def test_cancelled_while_it_waits_for_its_next_try(tmp_path: Path, concurrent: "Options") -> None:
    verb = pmap.using(**concurrent).using(retries=(TIME_LIMIT,), retry_on=LookupError)
    later = verb.async_(partial(fail_first, str(tmp_path), 1, raise_lookup), [3])
    until(lambda: marks(tmp_path) == ["3"])
    assert later.cancel()
    later.wait()
    assert later.ready()


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"timeout": "3"},
        {"timeout": True},
        {"retries": -1},
        {"retries": 1.5},
        {"retries": [0.1, -1]},
        {"retries": "12"},
        {"retry_on": "ValueError"},
        {"retry_on": [ValueError()]},
        {"retry_on": KeyboardInterrupt},
    ],
    ids=str,
)
def test_what_is_no_time_and_no_number(wrong: "Options") -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        pmap.using(**wrong)


def test_a_file_is_waited_for_as_long_as_it_takes(tmp_path: Path) -> None:
    """An endless timeout is none."""
    verb: Map = pmap.using(timeout=float("inf"), processes=1)
    later = verb.async_(wait_for_file, [tmp_path / "go"])
    (tmp_path / "go").touch()
    assert later.get() == [None]


# --- memory --------------------------------------------------------------------------------------

LARGE = 300 << 20  # bytes


def grow_at(bad: int, folder: str, x: int) -> int:
    """Take more and more memory at one item."""
    mark(folder, x)
    taken: list[bytes] = []
    while x == bad and len(taken) < 4000:
        taken.append(b"x" * (1 << 20))
    return x


def grow_some(x: int) -> int:
    """Take some memory, for longer than the worker's thread looks away."""
    taken = b"x" * (1 << 20)
    time.sleep(0.1)
    return x + 0 * len(taken)


def pid_at(x: int) -> int:
    """Return the process that runs the item."""
    return os.getpid() + 0 * x


def keep_much(x: int) -> int:
    """Leave much memory behind; return the process that does."""
    globals()["kept"] = b"x" * LARGE
    return os.getpid() + 0 * x


def test_what_the_caller_has_does_not_count(tmp_path: Path, process: "Options") -> None:
    held = b"x" * (LARGE + (50 << 20))  # a fork of this process has all of it
    once = pmap.using(**process).using(max_memory_per_child=LARGE, kill_over_memory=True)
    assert once(grow_some, range(4)) == [*range(4)]
    # Nor is a worker replaced for it.
    verb = pmap.using(**process).using(max_memory_per_child=LARGE, processes=1)
    assert len({*verb(pid_at, range(4), chunksize=1)}) == 1
    assert len(held) > LARGE


def test_an_item_that_grows_too_large_is_ended(tmp_path: Path, process: "Options") -> None:
    verb = pmap.using(**process).using(max_memory_per_child=LARGE, kill_over_memory=True)
    results = verb.collecting(partial(grow_at, 3, str(tmp_path)), range(8))
    assert [r for r in results if not isinstance(r, Failure)] == [x for x in range(8) if x != 3]
    (failure,) = [r for r in results if isinstance(r, Failure)]
    assert isinstance(failure.error, WorkerLost)
    assert f"it took more than {LARGE} bytes of memory" in str(failure.error)
    assert "in grow_at" in failure.traceback
    assert Counter(marks(tmp_path)) == Counter(map(str, range(8))), "each began once"


@pytest.mark.parametrize("chunksize", [1, 4])
def test_a_worker_that_has_grown_too_large_is_replaced(process: "Options", chunksize: int) -> None:
    verb = pmap.using(**process).using(max_memory_per_child=LARGE // 2, chunksize=chunksize)
    assert len({*verb(keep_much, range(6))}) == 6


def test_each_item_has_a_process_of_its_own(process: "Options") -> None:
    verb = pmap.using(**process).using(isolate=True)
    pids = verb(keep_much, range(6))
    assert len({*pids}) == 6
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "their end")


def nested_with_a_limit(x: int) -> list[int]:
    return pmap(abs, [x], timeout=5)


@pytest.mark.parametrize("on", BACKENDS, ids=lambda on: on.name)
def test_inside_of_an_item_it_is_refused(on: Settings) -> None:
    with pytest.raises(OptionError, match="give the outer call a timeout"):
        pmap(nested_with_a_limit, [1], backend=on.backend, start_method=on.start_method)
