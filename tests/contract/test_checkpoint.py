"""Checkpoints: each finished item is kept, and a later call goes on from there."""

import itertools
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backends import BACKENDS, Settings
from tests.contract.checkpoint_items import fail_at_three, large, noted
from tests.contract.event_loops import EventLoop
from tests.files import marks, wait_for_file
from tests.items import square
from tests.limits import TIME_LIMIT, until

from pmap import (
    Checkpoint,
    CheckpointError,
    Failure,
    Progress,
    TaskTimeout,
    WorkerLost,
    call,
    failed,
    papply,
    pcall,
    pmap,
    pstarmap,
)
from pmap._checkpoint import session as _session
from pmap._checkpoint import store as _store

BACKEND = pytest.mark.parametrize("on", BACKENDS, ids=lambda on: on.name)
two = pmap.using(processes=2)
THREADS: Any = {"backend": "threads", "processes": 4}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run.sqlite")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A folder for the marks of items."""
    made = tmp_path / "marks"
    made.mkdir()
    return str(made)


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """Fail if a session goes on when its calls are over."""
    yield
    until(lambda: not _session._sessions)
    until(lambda: all(t.name != "pmap-checkpoint" for t in threading.enumerate()))


# -- each form ---------------------------------------------------------------------------------

FORMS: dict[str, Callable[[Any, Any, str], list[object]]] = {
    "pmap": lambda v, f, p: v(f, range(7), checkpoint=p),
    "two iterables": lambda v, f, p: v(f, range(7), "abcdefghi", checkpoint=p),
    "async_": lambda v, f, p: v.async_(f, range(7), checkpoint=p).get(),
    "iter": lambda v, f, p: [*v.iter(f, iter(range(7)), checkpoint=p, buffersize=3)],
    "iter_unordered": lambda v, f, p: sorted(v.iter_unordered(f, range(7), checkpoint=p)),
    "collecting": lambda v, f, p: v.collecting(f, range(7), checkpoint=p),
    "pstarmap": lambda v, f, p: pstarmap.using(**_options(v))(
        f, [(x,) for x in range(7)], checkpoint=p
    ),
    "papply": lambda v, f, p: [papply.using(**_options(v), checkpoint=p)(f, x=x) for x in range(7)],
    "pcall": lambda v, f, p: [
        *pcall.using(**_options(v), checkpoint=p)(*[call(f, x) for x in range(7)])
    ],
}


def _options(verb: Any) -> Any:
    return {name: getattr(verb._settings.worker, name) for name in ("processes", "backend")}


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_goes_on_from_there(form: str, backend: Any, path: str, folder: str) -> None:
    verb = pmap.using(processes=2, backend=backend)

    def f(x: int, _: object = None) -> int:
        return noted(folder, x)

    for _ in range(2):
        assert FORMS[form](verb, f, path) == [x * x for x in range(7)]
        assert Counter(marks(folder)) == Counter(map(str, range(7)))
    assert Checkpoint(path).done == 7


@BACKEND
def test_only_the_rest_runs(on: Settings, path: str, folder: str) -> None:
    each = pmap.using(**on.options())
    item = partial(noted, folder)
    each(item, range(3, 6), checkpoint=path)
    assert each(item, range(10), checkpoint=path) == [x * x for x in range(10)]
    assert Counter(marks(folder)) == Counter(map(str, range(10)))
    mixed = [9, 20, 0, 21, 5]
    assert [*each.iter(item, mixed, checkpoint=path)] == [x * x for x in mixed]
    assert Counter(marks(folder)) == Counter(map(str, [*range(10), 20, 21]))


def test_a_run_goes_on_with_another_backend(path: str, folder: str) -> None:
    item = partial(noted, folder)
    for backend in ("serial", "threads", "processes"):
        options: Any = {"backend": backend}
        assert pmap(item, range(5), checkpoint=path, **options) == [x * x for x in range(5)]
    assert len(marks(folder)) == 5


def test_tasks(loop: EventLoop, path: str, folder: str) -> None:
    item = partial(noted, folder)

    async def numbers() -> AsyncIterator[int]:
        for x in range(9):
            yield x

    async def main() -> None:
        assert await two.async_(item, range(5), checkpoint=path) == [0, 1, 4, 9, 16]
        stream = two.iter(item, numbers(), checkpoint=path)
        assert [x async for x in stream] == [x * x for x in range(9)]

    loop.run(main)
    assert Counter(marks(folder)) == Counter(map(str, range(9)))


@BACKEND
def test_what_a_closed_stream_gave_is_in_the_file(on: Settings, path: str, folder: str) -> None:
    item = partial(noted, folder)
    for count in range(1, 6):
        with pmap.using(**on.options(chunksize=1)).iter(item, range(20), checkpoint=path) as stream:
            assert len([*itertools.islice(stream, count)]) == count
        # Nothing is on its way to the file any more, and no claim is left for another call.
        assert Checkpoint(path).done >= count
        assert not _session._sessions


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    items=st.lists(st.integers(-3, 3), max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    data=st.data(),
)
def test_split_into_runs_it_is_as_one_serial_run(
    items: list[int], cuts: list[int], data: st.DataObject, tmp_path: Path
) -> None:
    """However runs are cut short, each item runs once, and the last run returns what map does."""
    path = str(tmp_path / f"{time.monotonic_ns()}.sqlite")
    ran: Counter[int] = Counter()

    def item(x: int) -> int:
        ran[x] += 1
        return 2 * x

    item_key = item  # the counter is no part of the key: it changes
    for cut in cuts:
        with pmap.iter(_keyed(item_key), items, backend="serial", checkpoint=path) as stream:
            assert [*itertools.islice(stream, cut)] == [2 * x for x in items[:cut]]
    form: Any = data.draw(st.sampled_from([pmap, pmap.iter, pmap.collecting, pmap.iter_unordered]))
    found = [*form(_keyed(item_key), items, backend="serial", checkpoint=path)]
    if form == pmap.iter_unordered:
        assert sorted(found) == sorted(2 * x for x in items)
    else:
        assert found == [2 * x for x in items]
    assert ran == Counter(items)


class _keyed:  # noqa: N801
    """A function whose key does not depend on what it counts."""

    def __init__(self, f: Callable[[int], int]) -> None:
        self.f = f

    def __call__(self, x: int) -> int:
        return self.f(x)

    def __reduce__(self) -> tuple[object, ...]:
        return _keyed, ()


def test_equal_inputs_are_items_of_their_own(path: str, folder: str) -> None:
    item = partial(noted, folder)
    assert pmap(item, [1, 1, 1], checkpoint=path, backend="threads") == [1, 1, 1]
    assert pmap(item, [1, 1, 1, 1], checkpoint=path, backend="threads") == [1, 1, 1, 1]
    assert marks(folder) == ["1"] * 4


def test_a_seed_gives_the_same_numbers_as_without_a_checkpoint(path: str) -> None:
    def draw(_: object) -> float:
        import random

        return random.random()

    expected = pmap(draw, [0] * 4, seed=7, backend="serial")
    assert pmap(draw, [0] * 2, seed=7, backend="serial", checkpoint=path) == expected[:2]
    assert two(draw, [0] * 4, seed=7, checkpoint=path) == expected


# -- a change of the function ------------------------------------------------------------------


def test_a_changed_function_is_computed_anew(path: str) -> None:
    def multiply(by: int) -> Callable[[int], int]:
        return lambda x: by * x

    for by in (2, 3, 2):
        assert pmap(multiply(by), [1, 2], checkpoint=path, backend="serial") == [by, 2 * by]
    assert Checkpoint(path).done == 4

    def plus(x: int, y: int = 1) -> int:
        return x + y

    assert pmap(plus, [1], checkpoint=path, backend="serial") == [2]
    plus.__defaults__ = (2,)
    assert pmap(plus, [1], checkpoint=path, backend="serial") == [3]
    assert Checkpoint(path).done == 6


# -- failures ----------------------------------------------------------------------------------


@BACKEND
def test_a_failure_is_kept_as_one(on: Settings, path: str, folder: str) -> None:
    each = pmap.using(**on.options(chunksize=1))
    item = partial(fail_at_three, folder)
    for _ in range(2):
        with pytest.raises(LookupError, match="three") as caught:
            each(item, range(5), checkpoint=path)
        assert "item 3" in caught.value.__notes__[0]
        assert marks(folder).count("3") == 1
    assert [f.index for f in each.collecting(item, range(5), checkpoint=path) if failed(f)] == [3]
    assert [*each.collecting.iter(item, range(3), checkpoint=path)] == [0, 1, 2]
    with each.iter(item, range(5), checkpoint=path) as stream:
        assert [*itertools.islice(stream, 3)] == [0, 1, 2]
        with pytest.raises(LookupError):
            next(stream)
    # The item behind the failed one may have run, too, and its result was not wanted.
    assert Counter(marks(folder)) - Counter("4444") == Counter("0123")
    again = Checkpoint(path, retry_failures=True)
    with pytest.raises(LookupError):
        each(item, range(5), checkpoint=again)
    assert Counter(marks(folder)) - Counter("4444") == Counter("01233")
    # The traceback is kept, too, for whoever reads the file.
    assert "in fail_at_three" in Checkpoint(path).failures()[3].traceback


def test_the_first_failure_in_the_order_of_the_input_is_raised(path: str) -> None:
    def item(x: int) -> int:
        if x % 2:
            raise LookupError(x)
        return x

    with pytest.raises(LookupError, match="5"):
        pmap(item, [5], checkpoint=path, backend="serial")
    with pytest.raises(LookupError, match="3"):
        pmap(item, [0, 2, 3, 4, 5], checkpoint=path, backend="serial")


def die(x: int) -> int:
    if x == 1:
        os._exit(3)
    if x == 2:
        time.sleep(2 * TIME_LIMIT)
    return x


def test_a_lost_worker_and_a_late_item_are_kept_as_failures(path: str) -> None:
    options: Any = {"timeout": 0.3, "chunksize": 1, "checkpoint": path}
    first = two.collecting(die, range(4), **options)
    second = two.collecting(die, range(4), **options)
    for found in (first, second):
        one, other = found[1], found[2]
        assert isinstance(one, Failure)
        assert isinstance(other, Failure)
        assert isinstance(one.error, WorkerLost)
        assert isinstance(other.error, TaskTimeout)
        assert (found[0], found[3]) == (0, 3)
    kept = Checkpoint(path)
    assert (kept.done, kept.failed) == (2, 2)
    assert kept.results() == {0: 0, 3: 3}
    assert {at: type(f.error) for at, f in kept.failures().items()} == {
        1: WorkerLost,
        2: TaskTimeout,
    }


def test_a_kept_failure_has_its_traceback_and_its_tries(path: str, folder: str) -> None:
    for _ in range(2):
        found = two.collecting(
            partial(fail_at_three, folder), [3], checkpoint=path, retries=2, retry_on=LookupError
        )
        (one,) = found
        assert isinstance(one, Failure)
        assert one.attempts == 3
        assert "fail_at_three" in one.traceback
        assert 'raise LookupError("three")' in one.traceback
    assert len(marks(folder)) == 3


@pytest.mark.parametrize("retries", [0, 1])
def test_a_kept_failure_names_its_item_once(retries: int, path: str) -> None:
    def item(x: int) -> int:
        raise LookupError(x)

    each = pmap.using(backend="serial", checkpoint=path, retries=retries, retry_on=LookupError)
    tries = ["pmap: tried 2 times"] * retries
    each.collecting(item, [7])
    for items, index in (([7], 0), ([6, 7], 1)):
        found = each.collecting(item, items)[index]
        assert isinstance(found, Failure)
        named = [f"pmap: item {index}, item(7)"]
        assert sorted(found.error.__notes__) == named + tries
    kept = Checkpoint(path).failures()[1]
    # As the item was called when it failed: the text of its input is in this note only.
    assert kept.error.__notes__ == ["pmap: item 0, item(7)", *tries]
    assert kept.traceback.count("pmap: item") == 1


def test_what_a_deadline_ends_is_not_kept(path: str) -> None:
    found = pmap.collecting(time.sleep, [0, 5], checkpoint=path, deadline=1, processes=2)
    assert failed(found[1])
    kept = Checkpoint(path)
    assert (kept.done, kept.failed) == (1, 0)


# -- several at once ---------------------------------------------------------------------------


def test_two_calls_at_once_compute_nothing_twice(path: str, folder: str) -> None:
    def item(x: int) -> int:
        time.sleep(0.01)
        return noted(folder, x)

    calls = [two.async_(item, range(start, start + 30), checkpoint=path) for start in (0, 15)]
    streams = [two.iter(item, range(40), checkpoint=path)]
    assert [*streams[0]] == [x * x for x in range(40)]
    for start, handle in zip((0, 15), calls, strict=True):
        assert handle.get() == [x * x for x in range(start, start + 30)]
    assert Counter(marks(folder)) == Counter(map(str, range(45)))


def test_a_call_takes_over_what_a_cancelled_one_had_claimed(path: str, folder: str) -> None:
    go = str(Path(folder, "go"))

    def item(x: int) -> int:
        if not Path(go).exists():
            wait_for_file(go)
        return noted(folder, x)

    first = two.async_(item, range(4), checkpoint=path)
    second = two.async_(item, range(4), checkpoint=path)
    assert not second.ready()
    first.cancel()
    Path(go).touch()
    assert second.get() == [0, 1, 4, 9]


@pytest.mark.parametrize("inner", ["serial", "threads", "processes"])
@BACKEND
def test_a_recursive_function_finds_its_results(on: Settings, inner: Any, path: str) -> None:
    """Its inner calls want items that the outer call has claimed, and whose turn has not come."""
    below: Any = {"backend": inner, "processes": 1, "checkpoint": path}

    def fibonacci(n: int) -> int:
        return n if n < 2 else sum(pmap(fibonacci, [n - 1, n - 2], **below))

    each = pmap.using(**on.options(processes=1, chunksize=5))
    assert each(fibonacci, range(5), checkpoint=path) == [0, 1, 1, 2, 3]
    assert Checkpoint(path).done == 5


def test_serial_streams_of_one_thread_do_not_wait_for_each_other(path: str) -> None:
    streams = [pmap.iter(square, range(5), checkpoint=path, backend="serial") for _ in range(2)]
    assert [*zip(*streams, strict=True)] == [(x * x, x * x) for x in range(5)]


# -- the file ----------------------------------------------------------------------------------


def test_a_result_is_kept_before_it_is_taken(path: str) -> None:
    """Not only when the stream goes on, or ends."""
    with two.iter(square, itertools.count(), checkpoint=path, buffersize=8) as stream:
        assert next(stream) == 0
        until(lambda: Checkpoint(path).done >= 8)


def test_a_mutable_result_is_kept_as_it_was(path: str) -> None:
    def listed(x: int) -> list[object]:
        return [x]

    stream = pmap.iter(listed, [1, 2], checkpoint=path, backend="threads")
    for result in stream:
        result.append("changed")
    assert Checkpoint(path).results() == {0: [1], 1: [2]}


def test_files_that_are_none(path: str, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = other.read_bytes()
    text = tmp_path / "text.txt"
    text.write_text("not a database\n" * 100)
    short = tmp_path / "short.txt"
    short.write_text("short")
    newer = tmp_path / "newer.sqlite"
    pmap(square, [1], backend="serial", checkpoint=newer)
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    damaged = tmp_path / "damaged.sqlite"
    pmap(square, range(2000), backend="serial", checkpoint=damaged)
    # The thread of the checkpoint closes the file after the call. Before that, all pages but the
    # first may be in the log beside it, and SQLite would read them there.
    until(lambda: not Path(f"{damaged}-wal").exists(), "the end of the log")
    data = bytearray(damaged.read_bytes())
    assert len(data) > 4096
    data[4096:] = b"\xff" * (len(data) - 4096)
    damaged.write_bytes(data)
    for given_path, why in [
        (other, "is a database of another program"),
        (text, "file is not a database"),
        (short, "file is not a database"),
        (newer, "was made by another version of pmap"),
        (damaged, "malformed"),
        (tmp_path, "unable to open"),
        (tmp_path / "none" / "run.sqlite", "unable to open"),
    ]:
        makes: list[Callable[[Any], object]] = [
            lambda p: pmap(square, [1], backend="serial", checkpoint=p),
            lambda p: pmap.async_(square, [1], backend="threads", checkpoint=p),
            lambda p: next(pmap.iter(square, [1], backend="serial", checkpoint=p)),
        ]
        for make in makes:
            with pytest.raises(CheckpointError, match=why) as caught:
                make(given_path)
            assert str(given_path) in str(caught.value)
            assert caught.value.results is None
    assert other.read_bytes() == before
    with pytest.raises(CheckpointError, match="does not exist"):
        Checkpoint(path).results()
    assert Checkpoint(path).done == 0
    assert not Path(path).exists()


@BACKEND
def test_a_full_disk_loses_no_result(
    on: Settings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = pmap.using(**on.options(chunksize=1))
    pmap(large, [0], backend="serial", checkpoint=path)
    monkeypatch.setattr(_store, "SETTINGS", ("PRAGMA max_page_count=60",))
    expected = [large(x) for x in range(12)]
    with (
        pytest.warns(RuntimeWarning, match="disk is full"),
        pytest.raises(CheckpointError, match="disk is full") as caught,
    ):
        each(large, range(12), checkpoint=path)
    assert caught.value.results == expected
    stream = each.iter(large, range(12), checkpoint=path)
    taken: list[bytes] = []
    with pytest.warns(RuntimeWarning, match="full"), pytest.raises(CheckpointError, match="full"):
        taken.extend(stream)
    assert taken == expected
    monkeypatch.setattr(_store, "SETTINGS", ())
    assert each(large, range(12), checkpoint=path) == expected
    assert Checkpoint(path).done == 12


@BACKEND
@pytest.mark.parametrize("ordered", [False, True])
def test_a_stream_goes_on_when_the_file_cannot_be_written_any_more(
    on: Settings, ordered: bool, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only with the items that it has claimed by then."""
    # There is room for the tables, and for the claims of some items.
    monkeypatch.setattr(_store, "SETTINGS", ("PRAGMA max_page_count=10",))
    each = pmap.using(**on.options()).using(buffersize=20)
    items = [*range(800)]
    taken: list[int] = []
    full = "disk is full"
    results = (each.iter if ordered else each.iter_unordered)(square, items, checkpoint=path)
    with pytest.warns(RuntimeWarning, match=full), pytest.raises(CheckpointError, match=full):
        taken.extend(results)
    assert (taken if ordered else sorted(taken)) == [x * x for x in items]
    # Perhaps it is none: the claims of a process that was quick leave no room for a result.
    assert Checkpoint(path).done < 400


def test_a_stream_does_not_wait_for_a_lock_at_each_item(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store, "BUSY", 0.05)
    claims: list[int] = []
    claim = _store.Store.claim

    def counted(self: Any, places: Any, *given: Any, **options: Any) -> Any:
        claims.append(len(places))
        return claim(self, places, *given, **options)

    monkeypatch.setattr(_store.Store, "claim", counted)

    def numbers() -> Iterator[int]:
        yield from range(20)
        claims.clear()
        other.execute("BEGIN IMMEDIATE")
        yield from range(20, 40)
        assert len(claims) == 1
        other.execute("ROLLBACK")

    pmap(square, [0], checkpoint=path, backend="serial")
    other = sqlite3.connect(path, isolation_level=None)
    with pytest.warns(RuntimeWarning, match="has locked it"):
        results = [*pmap.iter(square, numbers(), checkpoint=path, buffersize=4, **THREADS)]
    other.close()
    assert results == [x * x for x in range(40)]
    assert Checkpoint(path).done == 40, "all was written when the lock was gone"


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no file that is open")
@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_removed_meanwhile_loses_no_result(
    replaced: bool, path: str, tmp_path: Path
) -> None:
    go = threading.Event()
    later = pmap.async_(lambda x: go.wait(TIME_LIMIT) and x, [3, 4], checkpoint=path, **THREADS)
    if replaced:
        pmap(square, [5], backend="serial", checkpoint=tmp_path / "other.sqlite")
        os.replace(tmp_path / "other.sqlite", path)
    else:
        os.unlink(path)
    go.set()
    with (
        pytest.warns(RuntimeWarning, match="was removed or replaced"),
        pytest.raises(CheckpointError, match="was removed or replaced") as caught,
    ):
        later.get()
    assert caught.value.results == [3, 4]
    assert os.path.exists(path) == replaced


@pytest.mark.skipif(os.name == "nt", reason="not every user of Windows may make symbolic links")
def test_a_link_is_no_other_file(path: str, folder: str, tmp_path: Path) -> None:
    link = tmp_path / "link.sqlite"
    link.symlink_to(path)

    def item(x: int) -> int:
        time.sleep(0.01)
        return noted(folder, x)

    calls = [two.async_(item, range(20), checkpoint=given) for given in (path, link)]
    for handle in calls:
        assert handle.get() == [x * x for x in range(20)]
    assert Counter(marks(folder)) == Counter(map(str, range(20)))


def test_a_locked_file_is_waited_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def item(x: int) -> int:
        go.wait(TIME_LIMIT)
        return x

    monkeypatch.setattr(_store, "BUSY", 0.05)
    later = pmap.async_(item, [1, 2], backend="threads", checkpoint=path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    go.set()
    with pytest.raises(CheckpointError, match="another process has locked it") as caught:
        later.get()
    assert caught.value.results == [1, 2]
    with pytest.raises(CheckpointError, match="another process has locked it"):
        pmap(square, [1], backend="serial", checkpoint=path)
    other.execute("ROLLBACK")
    other.close()
    assert pmap(square, [1], backend="serial", checkpoint=path) == [1]


def test_what_cannot_be_kept_still_is_a_result(path: str) -> None:
    lock = threading.Lock()
    with pytest.warns(RuntimeWarning, match="result of item 0 cannot be pickled"):
        assert pmap(lambda _: lock, [1], checkpoint=path, backend="threads") == [lock]
    assert pmap(lambda x: x is lock, [lock], checkpoint=path, backend="threads") == [True]

    def maker(x: int) -> Callable[[], int]:
        return lambda: x

    for _ in range(2):
        (made,) = pmap(maker, [1], checkpoint=path, backend="threads")
        assert made() == 1
    assert Checkpoint(path).done == 1  # what `maker` returned; the lock as an input has no key
    with pytest.raises(CheckpointError, match="cannot be told from others"):
        pmap(lock.acquire, [False], checkpoint=path, backend="threads")


def test_a_result_that_cannot_be_loaded_is_computed_again(path: str) -> None:
    pmap(square, [3], backend="serial", checkpoint=path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE items SET value=?", (b"cnowhere\nthing\n.",))
    connection.close()
    with pytest.warns(RuntimeWarning, match="cannot be loaded"):
        assert pmap(square, [3], backend="serial", checkpoint=path) == [9]
    assert pmap(square, [3], backend="serial", checkpoint=path) == [9]


def test_what_is_found_counts_as_done(path: str) -> None:
    pmap(square, range(6), backend="serial", checkpoint=path)
    told: list[Progress] = []
    pmap(square, range(8), backend="serial", checkpoint=path, progress=told.append)
    assert (told[-1].done, told[-1].total) == (8, 8)
    stream = pmap.iter(square, range(8), backend="serial", checkpoint=path)
    assert stream.__length_hint__() == 8
    next(stream)
    assert stream.__length_hint__() == 7
    stream.close()


def test_a_stream_reads_no_further_than_without(path: str) -> None:
    pmap(square, range(50), backend="serial", checkpoint=path)
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for x in itertools.count():
            read.append(x)
            yield x

    with two.iter(square, numbers(), checkpoint=path, buffersize=5) as stream:
        for x in range(60):
            assert next(stream) == x * x
            assert len(read) <= x + 1 + 5


def test_the_object(path: str) -> None:
    kept = Checkpoint(path, retry_failures=True)
    assert (kept, os.fspath(kept)) == (Checkpoint(Path(path), retry_failures=True), path)
    assert kept != Checkpoint(path)
    assert repr(kept) == f"Checkpoint({path!r}, retry_failures=True)"
    assert pmap(square, [2], checkpoint=Checkpoint(path), backend="serial") == [4]
    wrong: Any = Checkpoint
    for value in (3, None, b"x", Path):
        with pytest.raises(TypeError, match="path is the path of a file"):
            wrong(value)
    with pytest.raises(TypeError, match="retry_failures is True or False"):
        wrong(path, retry_failures=1)
