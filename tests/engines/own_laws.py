"""Laws that are tried on engines by tests of their own. `laws.LAWS` names them."""

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from tests.engines.places import OnEngine
from tests.files import mark, marks
from tests.items import square
from tests.limits import seconds, until

from pmap import (
    CancelledError,
    Checkpoint,
    Failure,
    ResultTimeoutError,
    TaskTimeout,
    WorkerLost,
    pmap,
)
from pmap._backends.engine import marks as marks_of_chunks


def die_at(folder: str, where: int, x: int) -> int:
    """Note that the item begins; end the process at one item."""
    mark(folder, str(x))
    if x == where:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def sleep_at(where: int, x: int) -> int:
    """Take far too long at one item."""
    time.sleep(seconds(600) if x == where else 0)
    return x


def fail_once(folder: str, x: int) -> int:
    """Raise at the first try of each third item."""
    mark(folder, str(x))
    if x % 3 == 0 and marks(folder).count(str(x)) == 1:
        raise LookupError(x)
    return x


def die_once(folder: str, x: int) -> int:
    """End the process at the first try of one item."""
    mark(folder, str(x))
    if x == 2 and marks(folder).count(str(x)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def touch(folder: str, _: int) -> None:
    """Run for a minute, and write to a file each 0.1 s."""
    for _ in range(600):
        mark(folder, str(os.getpid()))
        time.sleep(0.1)


def answer_when_told(folder: str, _: int) -> None:
    """Wait until a file is there; leave another one."""
    mark(folder, "begun")
    until((Path(folder) / "go").exists, "the word")
    (Path(folder) / "done").touch()


def fail_at(folder: str, where: int, x: int) -> int:
    """Note that the item begins; raise at one item."""
    mark(folder, str(x))
    if x == where:
        raise LookupError(x)
    return x


def wait_at(folder: str, where: int, x: int) -> int:
    """Wait for a file at one item."""
    if x == where:
        until((Path(folder) / "go").exists, "the word")
    return x


def abort(_: int) -> None:
    """End this process, which writes its stack."""
    os.abort()


def pid(_: int) -> int:
    """Return the process that this item runs in."""
    return os.getpid()


class SlowToLoad:
    """A function that takes long to be loaded, as one whose module imports much."""

    def __init__(self, pause: float) -> None:
        self.pause = pause

    def __reduce__(self) -> tuple[object, ...]:
        return loaded_slowly, (self.pause,)

    def __call__(self, x: int) -> int:
        return x


def loaded_slowly(pause: float) -> SlowToLoad:
    """Return a function after a pause."""
    time.sleep(pause)
    return SlowToLoad(pause)


def roll(_: int) -> float:
    """Return a random number."""
    return random.random()


def test_a_large_function_goes_everywhere(backend: OnEngine) -> None:
    table = [*range(50_000)]
    verb = pmap.using(**backend.options(chunksize=1))
    for _ in range(2):
        assert verb(table.index, range(0, 200, 20)) == [*range(0, 200, 20)]


def test_a_chunk_ends_with_its_first_failure(backend: OnEngine, tmp_path: Path) -> None:
    verb = pmap.using(**backend.options(processes=1, chunksize=6))
    with pytest.raises(LookupError):
        verb(partial(fail_at, str(tmp_path), 2), range(6))
    assert marks(tmp_path) == ["0", "1", "2"]


@pytest.mark.parametrize("size", [1, 4])
def test_a_death_costs_one_item(backend: OnEngine, size: int, tmp_path: Path) -> None:
    verb = pmap.using(**backend.options(chunksize=size))
    results = verb.collecting(partial(die_at, str(tmp_path), 2), range(8))
    assert [r for r in results if not isinstance(r, Failure)] == [0, 1, 3, 4, 5, 6, 7]
    (failure,) = [r for r in results if isinstance(r, Failure)]
    assert isinstance(failure.error, WorkerLost)
    assert failure.index == 2
    assert "SIGKILL" in str(failure.error)
    assert failure.error.host
    assert verb(square, range(5)) == [0, 1, 4, 9, 16]


def test_the_stack_of_a_lost_item_arrives(backend: OnEngine) -> None:
    (failure,) = pmap.using(**backend.options()).collecting(abort, [1])
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, WorkerLost)
    assert "in abort" in failure.traceback


def test_an_item_that_kills_its_process_begins_once(backend: OnEngine, tmp_path: Path) -> None:
    verb = pmap.using(**backend.options(chunksize=2))
    with pytest.raises(WorkerLost):
        verb(partial(die_at, str(tmp_path), 2), range(8))
    assert marks(tmp_path).count("2") == 1
    assert len(set(marks(tmp_path))) == len(marks(tmp_path))


def test_an_item_that_takes_too_long_is_ended(backend: OnEngine) -> None:
    verb = pmap.using(**backend.options()).using(timeout=seconds(1)).collecting
    results = verb(partial(sleep_at, 3), range(8))
    assert [r for r in results if not isinstance(r, Failure)] == [0, 1, 2, 4, 5, 6, 7]
    (failure,) = [r for r in results if isinstance(r, Failure)]
    assert isinstance(failure.error, TaskTimeout)
    assert failure.error.limit == seconds(1)
    assert "sleep_at" in failure.error.stack


def test_only_the_time_that_an_item_runs_counts(backend: OnEngine) -> None:
    verb = pmap.using(**backend.options(chunksize=6)).using(timeout=seconds(1))
    assert verb(time.sleep, [seconds(0.2)] * 12) == [None] * 12


def test_what_the_function_takes_to_load_does_not_count(backend: OnEngine) -> None:
    verb = pmap.using(**backend.options(processes=1)).using(timeout=seconds(1))
    assert verb(SlowToLoad(seconds(1.2)), [3]) == [3]


def test_an_item_is_tried_again(backend: OnEngine, tmp_path: Path) -> None:
    verb = pmap.using(**backend.options()).using(retries=1, retry_on=LookupError)
    assert verb(partial(fail_once, str(tmp_path)), range(7)) == [*range(7)]
    assert [marks(tmp_path).count(str(x)) for x in range(7)] == [2, 1, 1, 2, 1, 1, 2]


def test_lost_items_are_tried_again(backend: OnEngine, tmp_path: Path) -> None:
    verb = pmap.using(**backend.options(chunksize=2)).using(retries=1)
    assert verb(partial(die_once, str(tmp_path)), range(6)) == [*range(6)]
    assert sorted(marks(tmp_path)) == ["0", "1", "2", "2", "3", "4", "5"]


def test_each_item_has_a_process_of_its_own(backend: OnEngine) -> None:
    pids = pmap.using(**backend.options()).using(isolate=True)(pid, range(4))
    assert len({*pids}) == 4
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "their end")


def test_random_numbers_are_those_of_the_seed(backend: OnEngine) -> None:
    wanted = pmap(roll, range(10), seed=5, backend="serial")
    verb = pmap.using(**backend.options())
    assert verb(roll, range(10), seed=5) == wanted
    assert verb(roll, range(10), seed=5, chunksize=3) == wanted
    assert not {*verb(roll, range(10))} & {*wanted}


def test_a_run_goes_on_from_a_checkpoint(backend: OnEngine, tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    (tmp_path / "items").mkdir()
    verb = pmap.using(**backend.options()).using(checkpoint=path)
    item = partial(fail_at, str(tmp_path / "items"), 7)
    assert verb(item, range(4)) == [0, 1, 2, 3]
    assert [*verb.iter(item, range(7))] == [*range(7)]
    for _ in range(2):
        with pytest.raises(LookupError):
            verb(item, range(5, 8))
    assert sorted(marks(tmp_path / "items")) == [*map(str, range(8))]
    kept = Checkpoint(path)
    assert (kept.done, kept.failed) == (7, 1)


def test_what_a_deadline_leaves_is_a_failure(backend: OnEngine, tmp_path: Path) -> None:
    verb = pmap.using(**backend.options(chunksize=1))
    verb(square, range(4))  # the start takes its time
    item = partial(wait_at, str(tmp_path), 1)
    with pytest.raises(ResultTimeoutError, match="of 3 items are done"):
        verb(item, range(3), deadline=seconds(1.5))
    results = verb.collecting(item, range(3), deadline=seconds(1.5))
    (tmp_path / "go").touch()
    late = results[1]
    assert isinstance(late, Failure)
    assert isinstance(late.error, ResultTimeoutError)
    assert results[0] == 0
    assert verb(square, range(4)) == [0, 1, 4, 9]


def test_a_cancelled_call_ends_what_runs(backend: OnEngine, tmp_path: Path) -> None:
    later = pmap.using(**backend.options()).async_(partial(touch, str(tmp_path)), range(1))
    until(lambda: marks(tmp_path), "the beginning")
    touched = len(marks(tmp_path))
    later.cancel()
    with pytest.raises(CancelledError):
        later.get(seconds(30))
    pid = marks(tmp_path)[0]
    until(lambda: not Path("/proc", pid).exists(), "the end of the inner worker")
    # There is one touch each 0.1 s: it ran for no more than two seconds.
    assert len(marks(tmp_path)) - touched <= 20
    assert pmap.using(**backend.options())(square, range(5)) == [0, 1, 4, 9, 16]


def test_a_cancelled_call_ends_what_runs_without_marks(
    backend: OnEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a node that does not see the temporary folder of the caller."""
    monkeypatch.setattr(marks_of_chunks, "folder", lambda: "/nowhere")
    test_a_cancelled_call_ends_what_runs(backend, tmp_path)


def test_what_is_not_to_be_killed_goes_on(backend: OnEngine, tmp_path: Path) -> None:
    verb = pmap.using(**backend.options()).using(kill_on_cancel=False)
    later = verb.async_(partial(answer_when_told, str(tmp_path)), range(1))
    until(lambda: marks(tmp_path), "the beginning")
    later.cancel()
    with pytest.raises(CancelledError):
        later.get(seconds(30))
    assert verb(square, range(5), processes=3) == [0, 1, 4, 9, 16]
    time.sleep(0.3)  # the node looks each 0.1 s whether the chunk is wanted
    (tmp_path / "go").touch()
    until(lambda: (tmp_path / "done").exists(), "the end of the item")
