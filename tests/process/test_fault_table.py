"""What an item does to its process, to the library in it and to the machine, row by row.

Each row is run over every start method, by two workers that all rows share: what one row leaves in
a worker, the next ones meet. An item that does harm loses itself at worst; the others have their
results, and so has the next call. Ways for an item to *end* are in test_crash_table.
"""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest
from tests.backends import START_METHODS, MaybeEncodingError
from tests.files import mark, marks
from tests.items import square, wait_and_square
from tests.limits import TIME_LIMIT, seconds, until
from tests.process.fault_items import SLEEPER, OddText, act_at, interrupt
from tests.processes import lives

from pmap import (
    CancelledError,
    Failure,
    InterruptedPoolError,
    Pool,
    TaskTimeout,
    TransportError,
    WorkerLost,
    pmap,
)

if TYPE_CHECKING:
    from pmap._types import StartMethod

ITEMS: Final = 8
BAD: Final = 2  # with others before it and behind it in its chunk
LIMIT: Final = seconds(1)  # that an item may run which would run for ever


SQUARES: Final = [x * x for x in range(ITEMS)]


@dataclass(frozen=True)
class Row:
    """Something that an item does (see `fault_items.ACTS`), and what must come of it.

    `error` is None if the item has its result all the same; `after` is what became of its worker.
    """

    name: str
    error: type[Exception] | None
    says: str
    after: Literal["stays", "is replaced"]
    timeout: float | None = None
    chunksize: int = 4


def harmless(name: str) -> Row:
    """Return the row of what hurts nobody."""
    return Row(name, None, "", "stays")


def wrote(what: str) -> Row:
    """Return the row of what gets between our messages."""
    # With others in its chunk it could as well be the next one that is lost.
    return Row(f"writes {what} to us", WorkerLost, "its connection", "is replaced", chunksize=1)


ROWS: Final = [
    Row("closes all descriptors", WorkerLost, "", "is replaced", chunksize=1),
    Row("closes our descriptors", WorkerLost, "", "is replaced", chunksize=1),
    harmless("forks and returns twice"),
    harmless("forks and raises there"),
    Row("daemonises itself", WorkerLost, "exited with code 0", "is replaced"),
    harmless("ignores SIGCHLD"),
    harmless("blocks signals"),
    Row("blocks signals and stays", TaskTimeout, f"{LIMIT:g} s", "is replaced", LIMIT),
    Row("stops itself", TaskTimeout, f"{LIMIT:g} s", "is replaced", LIMIT),
    Row("prints without end", TaskTimeout, f"{LIMIT:g} s", "is replaced", LIMIT),
    harmless("reads stdin"),
    Row("lowers the recursion limit", None, "", "stays", chunksize=1),  # a chunk is its own risk
    harmless("leaves threads"),
    harmless("closes stdout"),
    harmless("replaces stdout"),
    harmless("changes pickle"),
    harmless("changes the rest"),
    harmless("deletes the temporary directory"),
    Row("leaves its session", PermissionError, "not permitted", "stays"),
    Row("leaves its group", PermissionError, "not permitted", "stays"),
    Row("sets a timer", WorkerLost, "SIGALRM", "is replaced"),
    Row("result exits when pickled", WorkerLost, "exited with code 8", "is replaced"),
    Row("result leaves when pickled", MaybeEncodingError, "SystemExit", "stays"),
    Row("error without a text", OddText, "", "stays"),
    Row("takes our descriptors", WorkerLost, "its connection", "is replaced", chunksize=1),
    wrote("text"),
    wrote("one byte"),
    wrote("zeros"),
    wrote("a length"),
]


@pytest.fixture(params=START_METHODS, scope="module")
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Two workers, for all rows."""
    with new_pool(request.param) as pool:
        yield pool


def new_pool(method: "StartMethod | None", workers: int = 2) -> Pool:
    """Return a pool of workers."""
    context: Any = get_context(method)
    return Pool(workers, context=context)


def pids_of(pool: Pool) -> set[int]:
    """Return the ids of a pool's workers."""
    backend = vars(pool)["_driver"].backend
    return {pid for pid in backend.workers().values() if pid is not None}


def check_works(pool: Pool) -> None:
    """Check that a pool gives right results."""
    assert pool.map(square, range(40), chunksize=1) == [x * x for x in range(40)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_costs_itself_at_most(pool: Pool, row: Row) -> None:
    check_works(pool)
    before = pids_of(pool)
    answers = pmap.using(pool=pool).collecting(
        partial(act_at, row.name, BAD),
        range(ITEMS),
        chunksize=row.chunksize,
        timeout=row.timeout,
    )
    assert len(answers) == ITEMS
    answer = answers.pop(BAD)
    assert answers == [x * x for x in range(ITEMS) if x != BAD]
    if row.error is None:
        assert answer == BAD * BAD
    else:
        assert isinstance(answer, Failure)
        assert isinstance(answer.error, row.error)
        text = "".join(format_exception(answer.error))
        assert row.says in text
        assert f"item {BAD}" in text
    check_works(pool)
    assert ("stays" if before <= pids_of(pool) else "is replaced") == row.after


def recursion_limit(_: int) -> int:
    """Return how deep an item may recurse."""
    return sys.getrecursionlimit()


@pytest.mark.parametrize("method", START_METHODS)
def test_no_descriptors_left_to_open(method: "StartMethod") -> None:
    # Not for all rows: the ones behind it open descriptors.
    with new_pool(method) as pool:
        assert pool.map(partial(act_at, "leaves no descriptors", BAD), range(ITEMS)) == SQUARES
        check_works(pool)


def test_the_recursion_limit_is_put_back() -> None:
    with new_pool(None, workers=1) as pool:
        before = pool.map(recursion_limit, range(2))
        assert pool.map(partial(act_at, "lowers the recursion limit", 0), range(1)) == [0]
        assert pool.map(recursion_limit, range(2)) == before


@pytest.mark.parametrize("name", ["replaces stdout", "takes os._exit away"])
def test_a_worker_ends_whatever_it_has_for_streams(start_method: "StartMethod", name: str) -> None:
    with new_pool(start_method) as pool:
        assert pool.map(partial(act_at, name, BAD), range(ITEMS)) == SQUARES
        pids = pids_of(pool)
        pool.close()
        pool.join()
        assert not any(map(lives, pids))


def test_a_worker_whose_stream_never_takes_its_last_words_holds_nobody_up() -> None:
    verb = pmap.using(processes=1, max_tasks_per_child=1)
    assert verb(partial(act_at, "blocks stdout", 1), range(3), chunksize=1) == [0, 1, 4]


def test_a_worker_that_cannot_print_its_last_words_can_be_terminated() -> None:
    with new_pool(None) as pool:
        assert pool.map(partial(act_at, "blocks stdout", BAD), range(ITEMS)) == SQUARES
        pids = pids_of(pool)
        pool.close()
        pool.terminate()
        pool.join()
        assert not any(map(lives, pids))


def leave_a_child_and_die(folder: str, x: int) -> int:
    """Square, but at one item leave a process behind and die."""
    if x == BAD:
        mark(folder, subprocess.Popen(SLEEPER).pid)
        os._exit(9)
    return x * x


def test_what_an_item_started_goes_with_its_worker(pool: Pool, tmp_path: Path) -> None:
    answers = pmap.using(pool=pool).collecting(
        partial(leave_a_child_and_die, str(tmp_path)), range(ITEMS)
    )
    assert isinstance(answers.pop(BAD), Failure)
    assert answers == [x * x for x in range(ITEMS) if x != BAD]
    (pid,) = map(int, marks(tmp_path))
    until(lambda: not lives(pid), "the end of the child")


def leave_a_child(folder: str, x: int) -> int:
    """Leave a process behind."""
    mark(folder, subprocess.Popen(SLEEPER).pid)
    return x


@pytest.mark.parametrize("end", [Pool.close, Pool.terminate], ids=["close", "terminate"])
def test_what_items_started_goes_with_the_pool(
    start_method: "StartMethod", end: Callable[[Pool], None], tmp_path: Path
) -> None:
    with new_pool(start_method) as pool:
        assert pool.map(partial(leave_a_child, str(tmp_path)), range(2)) == [0, 1]
        end(pool)
        pool.join()
    children = [int(pid) for pid in marks(tmp_path)]
    assert len(children) == 2
    until(lambda: not any(map(lives, children)), "the end of the children")


def surroundings(folder: str, x: int) -> tuple[str, str | None, bool]:
    """Return what there is of the current directory, the environment and sys.path; change them."""
    found = os.getcwd(), os.environ.get("PMAP_TEST"), folder in sys.path
    os.chdir(folder)
    os.environ["PMAP_TEST"] = str(x)
    sys.path.append(folder)
    return found


def test_the_next_item_has_its_own_surroundings(pool: Pool, tmp_path: Path) -> None:
    found = pool.map(partial(surroundings, str(tmp_path)), range(ITEMS), chunksize=4)
    assert found == [(os.getcwd(), None, False)] * ITEMS


def test_a_false_ctrl_c_where_a_result_is_loaded(pool: Pool) -> None:
    # In the background thread it is known to be none.
    later = pmap.using(pool=pool).collecting.async_(
        partial(act_at, "result interrupts when loaded", BAD), range(ITEMS), chunksize=4
    )
    answers = later.get(TIME_LIMIT)
    failure = answers.pop(BAD)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, TransportError)
    assert "not a real one" in str(failure.error)
    assert answers == [x * x for x in range(ITEMS) if x != BAD]
    check_works(pool)


def test_a_false_ctrl_c_in_the_main_thread(start_method: "StartMethod") -> None:
    with new_pool(start_method) as pool:
        with pytest.raises((KeyboardInterrupt, InterruptedPoolError)):
            pool.map(partial(act_at, "result interrupts when loaded", BAD), range(ITEMS))
        check_works(pool)


def interrupt_back(_: list[object]) -> None:
    """Raise a KeyboardInterrupt where results are told of."""
    interrupt()


def test_a_false_ctrl_c_in_a_callback(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    later = pool.map_async(square, range(ITEMS), callback=interrupt_back)
    assert later.get(TIME_LIMIT) == SQUARES
    check_works(pool)
    assert "not a real one" in caplog.text


def megabytes(folder: str, x: int) -> bytes:
    """Return much, over and over."""
    mark(folder, x)
    return bytes(8_000_000)


def test_terminated_while_much_is_under_way(start_method: "StartMethod", tmp_path: Path) -> None:
    with new_pool(start_method) as pool:
        later = pool.map_async(partial(megabytes, str(tmp_path)), range(40), chunksize=1)
        until(lambda: len(marks(tmp_path)) > 2, "a result")
        pids = pids_of(pool)
        pool.terminate()
        pool.terminate()
        with pytest.raises(CancelledError):
            later.get(TIME_LIMIT)
        assert not any(map(lives, pids))


def wait_for_ever(folder: str, x: int) -> int:
    """Begin, and do not end."""
    mark(folder, x)
    time.sleep(4 * TIME_LIMIT)
    return x


def test_left_by_an_error_while_items_run(start_method: "StartMethod", tmp_path: Path) -> None:
    pids: set[int] = set()

    def leave() -> None:
        with new_pool(start_method) as pool:
            pool.map_async(partial(wait_for_ever, str(tmp_path)), range(4), chunksize=1)
            until(lambda: len(marks(tmp_path)) == 2, "two items' beginning")
            pids.update(pids_of(pool))
            raise LookupError("the caller's own")

    with pytest.raises(LookupError, match="the caller's own"):
        leave()
    assert len(pids) == 2
    assert not any(map(lives, pids))


def test_terminated_from_many_threads(start_method: "StartMethod", tmp_path: Path) -> None:
    pool = new_pool(start_method)
    later = pool.map_async(partial(wait_for_ever, str(tmp_path)), range(4), chunksize=1)
    until(lambda: len(marks(tmp_path)) == 2, "two items' beginning")
    pids = pids_of(pool)
    threads = [threading.Thread(target=end) for end in [pool.close, pool.terminate] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIME_LIMIT)
    assert not any(thread.is_alive() for thread in threads)
    pool.join()
    with pytest.raises(CancelledError):
        later.get(TIME_LIMIT)
    assert not any(map(lives, pids))


def test_the_thread_that_others_wait_for_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with Pool(1) as pool:
        driver = pool._driver
        seen: list[object] = []

        class Thread(threading.Thread):
            def start(self) -> None:
                seen.append(driver._leadership.thread)  # what another thread would find, and join
                super().start()

        monkeypatch.setattr(threading, "Thread", Thread)
        assert pool.apply_async(square, (3,)).get(TIME_LIMIT) == 9
    assert seen[:1] == [None]


def drop(pools: list[Pool]) -> None:
    """Forget the last reference to a pool."""
    pools.clear()
    gc.collect()


def test_a_pool_that_is_dropped(start_method: "StartMethod") -> None:
    pools = [new_pool(start_method)]
    check_works(pools[0])
    pids = pids_of(pools[0])
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        drop(pools)
    until(lambda: not any(map(lives, pids)), "the end of its workers")


def test_a_pool_that_is_dropped_at_work_ends_it_first(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    pools = [new_pool(start_method)]
    go = tmp_path / "go"
    later = pools[0].map_async(
        partial(wait_and_square, str(tmp_path), str(go)), range(4), chunksize=1
    )
    until(lambda: len(marks(tmp_path)) == 2, "two items' beginning")
    pids = pids_of(pools[0])
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        drop(pools)
    go.touch()
    assert later.get(TIME_LIMIT) == [x * x for x in range(4)]
    until(lambda: not any(map(lives, pids)), "the end of its workers")


def test_the_template_is_killed_by_an_item() -> None:
    with new_pool("forkserver") as pool:
        check_works(pool)
        answers = pmap.using(pool=pool).collecting(
            partial(act_at, "kills its parent", BAD), range(ITEMS), chunksize=1
        )
        others = [answer for index, answer in enumerate(answers) if index != BAD]
        assert others == [x * x for x in range(ITEMS) if x != BAD]
        check_works(pool)
