"""What may be given as an engine, which options it refuses, and what is sent to it."""

import gc
import os
import pickle
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.engines import table
from tests.engines.laws import COLUMNS
from tests.engines.own_laws import fail_at
from tests.engines.places import ALL
from tests.files import marks
from tests.items import square

from pmap import Engine, Failure, OptionError, Pool, WorkerLost, WorkerStartError, defaults, pmap
from pmap._api.node import run
from pmap._backends.engine import wire
from pmap._calls.engine_options import kills, runs_live, slots_of
from pmap._transport.settings import take_settings

if TYPE_CHECKING:
    from pmap import Options

TOP = 50_000


def getpid_of(_: int) -> int:
    """Return the process that the item runs in."""
    return os.getpid()


class Noting:
    """An engine that runs each task at once, and notes what it is given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def slots(self) -> int:
        """Return how many tasks it runs at the same time."""
        return 1

    def submit(self, f: Callable[[bytes], bytes], data: bytes, /) -> "Future[bytes]":
        """Run a task here."""
        self.given.append(data)
        future: Future[bytes] = Future()
        future.set_result(f(data))
        return future


class Refusing:
    """An engine that is shut down."""

    def submit(self, f: Callable[[bytes], bytes], data: bytes, /) -> "Future[bytes]":
        """Refuse a task."""
        raise RuntimeError("it is shut down")


class Losing:
    """An engine that loses the first of its tasks."""

    def __init__(self, tasks: int) -> None:
        self.left = tasks

    def submit(self, f: Callable[[bytes], bytes], data: bytes, /) -> "Future[bytes]":
        """Run a task, or lose it."""
        future: Future[bytes] = Future()
        self.left -= 1
        if self.left < 0:
            future.set_result(f(data))
        else:
            future.set_exception(OSError("the node is gone"))
        return future


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (3, "one of"),
        (None, "one of"),
        (object(), "submit"),
        (ThreadPoolExecutor, "this is the class"),
    ],
)
def test_what_is_no_engine(wrong: Any, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        pmap.using(backend=wrong)


def test_a_pool_of_pmap_is_given_as_the_pool() -> None:
    with Pool(1) as pool, pytest.raises(OptionError, match="pool="):
        pmap.using(backend=pool)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 1},
        {"isolate": True},
        {"max_memory_per_child": 1 << 30},
        {"max_tasks_per_child": 1},
        {"start_method": "spawn"},
        {"threads_per_worker": 1},
        {"initializer": print},
    ],
    ids=lambda options: next(iter(options)),
)
def test_without_inner_workers_some_options_are_refused(options: "Options") -> None:
    (name,) = options
    here: list[tuple[Engine, bool | None]]
    with ThreadPoolExecutor(1) as executor:
        here = [(executor, None), (executor, False), (Noting(), False)]
        for engine, inner in here:
            verb = pmap.using(backend=engine, inner_worker=inner)
            with pytest.raises(OptionError, match=f"{name}=.*{type(engine).__name__}.*inner_wor"):
                verb(square, [1], **options)
            with defaults(backend=engine, inner_worker=inner), pytest.raises(OptionError):
                pmap(square, [1], **options)


def test_what_no_engine_keeps_is_refused() -> None:
    with pytest.raises(OptionError, match="main="):
        pmap.using(backend=Noting(), main="import")
    with pytest.raises(OptionError, match=r"kill_on_cancel=.*Noting.*kill\(future\)"):
        pmap.using(backend=Noting(), kill_on_cancel=True)
    with pytest.raises(OptionError, match="inner_worker=True"):
        pmap(square, [1], inner_worker=True)


def test_only_the_exact_class_of_threads_runs_items_here() -> None:
    class Interpreters(ThreadPoolExecutor):
        """Like InterpreterPoolExecutor, which is a subclass and runs its tasks elsewhere."""

    with ThreadPoolExecutor(1) as threads, Interpreters(1) as elsewhere:
        assert runs_live(threads, None)
        assert not runs_live(elsewhere, None)
        assert kills(elsewhere, None)
        (here,) = pmap(getpid_of, [1], backend=threads)
        (there,) = pmap(getpid_of, [1], backend=elsewhere)
    assert here == os.getpid() != there


def test_explain_measures_no_engine() -> None:
    with pytest.raises(OptionError, match=r"backend=.*this machine"):
        pmap.explain(square, [1], backend=Noting())


@pytest.mark.parametrize("name", ["_max_workers", "max_workers", "_processes"])
def test_an_attribute_says_the_number_of_workers(name: str) -> None:
    engine = Refusing()
    setattr(engine, name, 4)
    assert slots_of(engine, None, live=False) == 6


def test_the_number_of_slots_must_be_known() -> None:
    with pytest.raises(OptionError, match=r"processes=.*Refusing.*slots\(\)"):
        pmap(square, [1], backend=Refusing())


def test_an_engine_that_takes_no_task_is_an_error() -> None:
    engine = Refusing()
    for _ in range(2):
        with pytest.raises(WorkerStartError, match="it is shut down") as caught:
            pmap(square, range(9), backend=engine, processes=3)
        assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_task_that_the_engine_loses_costs_its_chunk() -> None:
    verb = pmap.using(backend=Losing(1), processes=1, inner_worker=False, chunksize=2)
    results = verb.collecting(square, range(6))
    assert results[2:] == [4, 9, 16, 25]
    for lost in results[:2]:
        error: object = getattr(lost, "error", None)
        assert isinstance(error, WorkerLost)
        assert "the node is gone" in str(error)
        assert isinstance(error.__cause__, OSError)
    again = pmap.using(backend=Losing(1), processes=1, inner_worker=False, retries=1)
    assert again(square, range(6)) == [0, 1, 4, 9, 16, 25]


def test_the_words_still_stand_for_the_backends() -> None:
    with defaults(backend=Noting(), inner_worker=False):
        assert pmap(square, [3]) == [9]
        assert pmap.using(backend="serial", inner_worker=None)(square, [3]) == [9]


def test_a_task_that_is_given_again_is_another_task() -> None:
    """Some engines run equal tasks once only."""

    class LosingOnce(Noting):
        def submit(self, f: Callable[..., bytes], /, *args: Any) -> "Future[bytes]":
            done = super().submit(f, *args)
            lost: Future[bytes] = Future()
            lost.set_exception(OSError("the node is gone"))
            return lost if len(self.given) == 1 else done

    engine = LosingOnce()
    verb = pmap.using(backend=engine, processes=1, inner_worker=False, chunksize=2, retries=1)
    assert verb(square, [3]) == [9]
    assert len({*engine.given}) == len(engine.given) >= 2


def first_in(folder: str, name: str) -> bool:
    """Return whether no other call with this name came before, in any process."""
    try:
        Path(folder, name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Repeating(Noting):
    """An engine that loses the result of its first task, and by itself runs the task again."""

    def submit(self, f: Callable[[bytes], bytes], data: bytes, /) -> "Future[bytes]":
        """Run a task here; the first one twice."""
        done = super().submit(f, data)
        return super().submit(f, data) if len(self.given) == 1 else done


class Claiming(Repeating):
    """The same with a claim."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.claim = partial(first_in, str(folder))


def test_a_claimed_task_does_not_begin_twice(tmp_path: Path) -> None:
    twice, once, claims = (tmp_path / name for name in ("twice", "once", "claims"))
    for folder in (twice, once, claims):
        folder.mkdir()
    repeating = pmap.using(backend=Repeating(), inner_worker=False, processes=1, chunksize=2)
    assert repeating(partial(fail_at, str(twice), 9), range(4)) == [0, 1, 2, 3]
    assert sorted(marks(twice)) == ["0", "0", "1", "1", "2", "3"]
    claiming = repeating.using(backend=Claiming(claims)).collecting
    results = claiming(partial(fail_at, str(once), 9), range(4))
    assert sorted(marks(once)) == ["0", "1", "2", "3"]
    assert results[2:] == [2, 3]
    for result in results[:2]:
        assert isinstance(result, Failure)
        assert isinstance(result.error, WorkerLost)
        assert result.error.begun
        assert "was not run again" in str(result.error)
    again = repeating.using(backend=Claiming(claims), retries=1)
    assert again(square, range(4)) == [0, 1, 4, 9]


def test_an_engine_that_runs_a_task_once_is_not_asked(tmp_path: Path) -> None:
    class Once(Claiming):
        once = True

        def submit(self, f: Callable[..., bytes], data: bytes, /) -> "Future[bytes]":
            return Noting.submit(self, f, data)

    assert pmap(square, [3], backend=Once(tmp_path), inner_worker=False) == [9]
    assert not [*tmp_path.iterdir()]
    Once.once = False
    assert pmap(square, [3], backend=Once(tmp_path), inner_worker=False) == [9]
    assert len([*tmp_path.iterdir()]) == 1


def test_a_claim_that_fails_costs_the_task() -> None:
    class Unable(Noting):
        @staticmethod
        def claim(name: str) -> bool:
            raise OSError("nobody answers")

        def submit(self, f: Callable[[bytes], bytes], data: bytes, /) -> "Future[bytes]":
            try:
                return super().submit(f, data)
            except OSError as error:
                failed: Future[bytes] = Future()
                failed.set_exception(error)
                return failed

    with pytest.raises(WorkerLost, match="nobody answers"):
        pmap(square, [1], backend=Unable(), inner_worker=False)


def test_a_large_function_goes_once_and_again_where_it_is_unknown() -> None:
    table = [*range(TOP)]
    engine = Noting()
    verb = pmap.using(backend=engine, processes=1, inner_worker=False, chunksize=1)
    assert verb(table.index, [7, 8, 9, 10]) == [7, 8, 9, 10]
    large = [len(task) > TOP for task in engine.given]
    assert large == [True, False, False, False]

    class Forgetful(Noting):
        def submit(self, f: Callable[[bytes], bytes], data: bytes, /) -> "Future[bytes]":
            from pmap._api import node

            node._specs.clear()
            return super().submit(f, data)

    forgetful = Forgetful()
    verb = pmap.using(backend=forgetful, processes=1, inner_worker=False, chunksize=1)
    assert verb(table.index, [7, 8, 9]) == [7, 8, 9]
    # The second node asked for the function, so the task after that one brought it, too.
    assert [len(task) > TOP for task in forgetful.given] == [True, False, True, True]


class Sharing(Noting):
    """An engine that shares large data; like Dask and Ray it puts them in the place of a handle."""

    def __init__(self, tasks_to_lose: int = 0) -> None:
        super().__init__()
        self.shared: list[bytes] = []
        self.lose = tasks_to_lose
        self.gone = 0  # the handles before this one stand for data that were lost with a node

    def share(self, data: bytes) -> object:
        """Keep data; return a handle."""
        self.shared.append(data)
        return Handle(len(self.shared) - 1)

    def submit(self, f: Callable[..., bytes], /, *args: Any) -> "Future[bytes]":
        """Run a task here with the data that it asks for, if these are not lost."""
        self.given.append(args[0])
        self.lose -= 1
        future: Future[bytes] = Future()
        if self.lose == 0:
            self.gone = len(self.shared)
        handles = [one.number for one in args if isinstance(one, Handle)]
        if any(number < self.gone for number in handles):
            future.set_exception(OSError("the data were lost"))
        else:
            data = [self.shared[one.number] if isinstance(one, Handle) else one for one in args]
            future.set_result(f(*data))
        return future


class Handle:
    """What stands for data that an engine shares."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_a_large_function_is_shared_by_an_engine_that_can() -> None:
    table = [*range(TOP)]
    engine = Sharing()
    verb = pmap.using(backend=engine, processes=1, inner_worker=False, chunksize=1)
    assert verb(table.index, [7, 8, 9, 10]) == [7, 8, 9, 10]
    assert [len(data) > TOP for data in engine.shared] == [True]
    assert not any(len(task) > TOP for task in engine.given)
    assert verb(square, [3]) == [9]
    assert len(engine.shared) == 1, "a small function goes with the task"
    assert pmap(table.index, [7, 8], backend=engine, processes=1) == [7, 8]


def test_what_was_shared_and_lost_is_shared_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    table = [*range(TOP)]
    engine = Sharing(tasks_to_lose=1)
    verb = pmap.using(backend=engine, processes=1, inner_worker=False, chunksize=1, retries=1)
    assert verb(table.index, [7, 8, 9]) == [7, 8, 9]
    assert len(engine.shared) == 2


def test_an_engine_that_cannot_share_takes_no_task() -> None:
    class Unable(Noting):
        def share(self, data: bytes) -> object:
            raise OSError("no memory")

    with pytest.raises(WorkerStartError, match="no memory"):
        pmap([*range(TOP)].index, [7], backend=Unable(), inner_worker=False)


def test_handles_are_dropped_with_the_call() -> None:
    engine = Sharing()
    assert pmap([*range(TOP)].index, [7], backend=engine, inner_worker=False) == [7]
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None


def test_another_version_is_told_before_anything_is_loaded() -> None:
    task = b"pmap 0.0.1, Python 2.7\n" + pickle.dumps(("never", "loaded"))
    answer = wire.opened_answer(run(task))
    assert answer.kind == wire.UNSTARTED
    assert "pmap 0.0.1, Python 2.7" in answer.reason
    assert wire.host_name() in answer.reason
    assert wire.versions().decode() in answer.reason


def test_an_engine_is_not_kept_alive() -> None:
    engine = Noting()
    assert pmap(square, range(3), backend=engine, inner_worker=False) == [0, 1, 4]
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None


def test_the_environment_of_another_machine_keeps_its_own_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caller: Any = (
        "/nowhere",
        {"PATH": "/theirs", "ANY": "1", "DASK_X": "theirs"},
        ["/lib"],
        take_settings(),
        [],
    )
    monkeypatch.setenv("PATH", "/ours")
    monkeypatch.setenv("DASK_X", "ours")
    monkeypatch.setenv("OMPI_X", "ours")
    for name in ("PMIX_RANK", "PMI_FD", "OMPI_MCA_ess", "OMPI_MCA_orte_x"):
        monkeypatch.setenv(name, "of the engine's worker, and no other process")
    here = wire.on_the_node(caller, wire.host_name())
    assert here[1] == {**here[1], "PATH": "/theirs", "ANY": "1", "DASK_X": "ours"}
    there = wire.on_the_node(caller, "another host")
    assert there[1] == {**there[1], "PATH": "/ours", "ANY": "1", "DASK_X": "ours"}
    assert there[2][0] == "/lib"
    for variables in (here[1], there[1]):
        assert variables["OMPI_X"] == "ours"
        assert not any(
            name.startswith(("PMI", "OMPI_MCA_ess", "OMPI_MCA_orte")) for name in variables
        )


def test_the_table_has_each_engine_and_each_law() -> None:
    assert [*table.rows()] == [place.name for place in ALL]
    for name, row in table.rows().items():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == len(COLUMNS) + 1, name
        assert "**no**" not in cells
