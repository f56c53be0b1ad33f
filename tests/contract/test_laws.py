"""The laws that every backend and start method keeps (docs/laws.md).

Order is made by files that an item waits for, never by time.
"""

import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from itertools import starmap
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.backends import Settings
from tests.bad_objects import TwoArguments
from tests.contract import functions
from tests.contract.calls import new_pool, started
from tests.contract.functions import (
    answer_when_told,
    control_flow,
    first_fails,
    one_waits,
    one_waits_one_fails,
    pair,
    power,
    raise_it,
    reverse,
    the_later_fails_first,
    zero_waits,
)
from tests.files import marks
from tests.items import square, work_pid
from tests.limits import TIME_LIMIT, until

from pmap import (
    Apply,
    AsyncResult,
    CancelledError,
    ControlFlowError,
    Failure,
    Map,
    StarMap,
    WorkerStartError,
    papply,
    pmap,
    pstarmap,
)

if TYPE_CHECKING:
    from pmap import Options

many = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
few = settings(many, max_examples=8)  # each may cost workers, which are to be replaced
SIZES = st.one_of(st.none(), st.integers(1, 12))
PROCESSES = st.integers(1, 4)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.tuples(st.integers(), st.text()),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    st.sets(st.integers(), max_size=3),
)


def as_a_script(module: ModuleType) -> dict[str, Any]:
    """Return what the source of a module defines, as if it were that of a script."""
    path = Path(module.__file__ or "")
    space: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), space)
    return space


# The functions that the laws are tried with: as they are imported, and as a script has them.
WRITTEN: Final = {"module": vars(functions), "script": as_a_script(functions)}
HOMES: Final = st.sampled_from(sorted(WRITTEN))

# --- law 1: result -----------------------------------------------------------------------------


@many
@given(values=st.lists(VALUES, max_size=30), size=SIZES, processes=PROCESSES, home=HOMES)
@example(values=[], size=None, processes=1, home="module")
@example(values=[0], size=12, processes=4, home="script")
def test_map_is_map(
    backend: Settings, values: list[Any], size: int | None, processes: int, home: str
) -> None:
    verb = pmap.using(**backend.options(processes, size))
    twice: Callable[[object], object] = WRITTEN[home]["twice"]
    assert verb(twice, values) == list(map(twice, values))
    assert verb.async_(twice, iter(values)).get(TIME_LIMIT) == list(map(twice, values))
    assert verb.collecting(twice, values) == list(map(twice, values))


@many
@given(
    rows=st.lists(st.tuples(VALUES, VALUES), max_size=20),
    size=SIZES,
    processes=PROCESSES,
    home=HOMES,
)
def test_starmap_is_starmap(
    backend: Settings, rows: list[tuple[Any, Any]], size: int | None, processes: int, home: str
) -> None:
    verb = pstarmap.using(**backend.options(processes, size))
    pair = WRITTEN[home]["pair"]
    assert verb(pair, rows) == list(starmap(pair, rows))
    assert verb.async_(pair, iter(rows)).get(TIME_LIMIT) == list(starmap(pair, rows))
    assert verb.collecting(pair, rows) == list(starmap(pair, rows))


@many
@given(
    xs=st.lists(st.integers(), max_size=20),
    ys=st.lists(st.text(), max_size=20),
    zs=st.lists(st.integers(), max_size=20),
    size=SIZES,
)
def test_several_iterables_stop_at_the_shortest(
    backend: Settings, xs: list[int], ys: list[str], zs: list[int], size: int | None
) -> None:
    verb = pmap.using(**backend.options(chunksize=size))
    assert verb(pair, xs, ys) == list(map(pair, xs, ys))
    assert verb(pair, xs, ys, zs) == list(map(pair, xs, ys, zs))


@many
@given(x=VALUES, y=VALUES, named=st.dictionaries(st.sampled_from("abc"), VALUES), home=HOMES)
def test_apply_is_a_call(
    backend: Settings, x: Any, y: Any, named: dict[str, Any], home: str
) -> None:
    verb = papply.using(**backend.options())
    pair = WRITTEN[home]["pair"]
    assert verb(pair, x, y, 3, **named) == pair(x, y, 3, **named)
    assert verb.async_(pair, x, y, **named).get(TIME_LIMIT) == pair(x, y, **named)


def test_large_values(each: Map) -> None:
    # Larger than any pipe's or socket's buffer, both ways, in many chunks at a time.
    values = [bytes([n]) * 3_000_000 for n in range(8)]
    assert each(reverse, values, chunksize=2) == values


def test_many_items(each: Map) -> None:
    assert each(square, range(20_000)) == [x * x for x in range(20_000)]


def test_infinite_second_iterable(each: Map) -> None:
    from itertools import count

    assert each(pow, [1, 2, 3], count()) == [1, 2, 9]


# --- law 2: error ------------------------------------------------------------------------------


def serial_error(failing: set[int]) -> int:
    """Return where the serial loop would have failed."""
    return min(failing)


@few
@given(
    failing=st.sets(st.integers(0, 19), min_size=1, max_size=6),
    size=SIZES,
    processes=PROCESSES,
    verb=st.sampled_from(["pmap", "pstarmap"]),
    home=HOMES,
)
def test_the_error_is_the_serial_loops(
    backend: Settings, failing: set[int], size: int | None, processes: int, verb: str, home: str
) -> None:
    first = serial_error(failing)
    fail_in = WRITTEN[home]["fail_in"]
    # On an engine a later item may be making its mark when the call has failed already.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        function = partial(fail_in, frozenset(failing), folder)
        chosen: Callable[[], object]
        if verb == "pmap":
            each = pmap.using(**backend.options(processes, size))
            chosen = partial(each, function, range(20))
        else:
            star = pstarmap.using(**backend.options(processes, size))
            chosen = partial(star, function, [(x,) for x in range(20)])
        with pytest.raises(TwoArguments) as caught:
            chosen()
        began = marks(folder)
        assert len(set(began)) == len(began)  # law 3
        assert {str(x) for x in range(first + 1)} <= set(began)
    error = caught.value
    assert (error.code, error.reason) == (first, "on purpose")
    assert error.args == (f"{first}: on purpose",)
    notes = error.__notes__
    assert notes == [f"pmap: item {first}, partial(fail_in)({first})"]
    if backend.processes:
        assert error.__cause__ is None
    shown = "".join(traceback.format_exception(error))
    assert "in fail_in" in shown
    assert 'raise TwoArguments(x, "on purpose")' in shown
    assert f"TwoArguments: {first}: on purpose" in shown


@few
@given(
    failing=st.sets(st.integers(0, 19), max_size=20), size=SIZES, processes=PROCESSES, home=HOMES
)
def test_collecting_stops_nothing(
    backend: Settings, failing: set[int], size: int | None, processes: int, home: str
) -> None:
    fail_in = WRITTEN[home]["fail_in"]
    verb = pmap.using(**backend.options(processes, size)).collecting
    with tempfile.TemporaryDirectory() as folder:
        answers = verb(partial(fail_in, frozenset(failing), folder), range(20))
        assert sorted(map(int, marks(folder))) == list(range(20))
    for x, answer in enumerate(answers):
        if x in failing:
            assert isinstance(answer, Failure)
            assert isinstance(answer.error, TwoArguments)
            assert (answer.error.code, answer.index, answer.input) == (x, x, str(x))
            assert "TwoArguments" in answer.traceback
        else:
            assert answer == x * x


@pytest.mark.parametrize("size", [1, 3])
def test_later_items_stop(each: Map, backend: Settings, size: int, tmp_path: Path) -> None:
    total = 2_000
    with pytest.raises(LookupError, match="the first"):
        each(partial(first_fails, str(tmp_path)), range(total), chunksize=size)
    began = len(marks(tmp_path))
    # No promise of how few, as others run while the failure travels; but not nearly all.
    assert began < total // 2
    assert each(square, range(5)) == [0, 1, 4, 9, 16]
    # None began after the failure was raised, where what runs can be ended.
    assert len(marks(tmp_path)) - began <= backend.may_begin_late(size)


def test_a_running_later_item_does_not_hold_up_the_error(
    concurrent: Settings, tmp_path: Path
) -> None:
    verb = pmap.using(**concurrent.options())
    try:
        with pytest.raises(LookupError, match="the first"):
            verb(partial(one_waits_one_fails, str(tmp_path)), range(4), chunksize=1)
        assert sorted(marks(tmp_path)) == ["0", "1"]
    finally:
        (tmp_path / "go").touch()  # a thread cannot be killed
    assert verb(square, range(5)) == [0, 1, 4, 9, 16]
    assert sorted(marks(tmp_path)) == ["0", "1"]


def test_an_earlier_item_that_fails_later_wins(concurrent: Settings, tmp_path: Path) -> None:
    verb = pmap.using(**concurrent.options())
    with pytest.raises(ValueError, match="the first"):
        verb(partial(the_later_fails_first, str(tmp_path)), range(50), chunksize=1)


def test_wrong_row_is_its_own_error(star: StarMap) -> None:
    rows: list[Any] = [(2, 3), (3,), 4]
    with pytest.raises(TypeError) as caught:
        star(power, rows)
    assert caught.value.__notes__ == ["pmap: item 1, power(3)"]
    answers: list[Any] = star.collecting(power, rows)
    assert answers[0] == 8
    assert [answer.index for answer in answers[1:]] == [1, 2]
    assert all(isinstance(answer.error, TypeError) for answer in answers[1:])


@pytest.mark.parametrize("name", ["exit", "generator", "stop", "bare", "cancelled"])
def test_control_flow_arrives_as_an_error(each: Map, one: Apply, name: str) -> None:
    answers: list[Any] = each.collecting(control_flow, ["a", name, "b"], chunksize=3)
    assert (answers[0], answers[2]) == ("a", "b")
    assert isinstance(answers[1], Failure)
    assert isinstance(answers[1].error, ControlFlowError)
    with pytest.raises(ControlFlowError) as caught:
        one(control_flow, name)
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.args == ("now",)
    with pytest.raises(ControlFlowError):
        list(each(control_flow, ["a", name]))


def test_error_of_the_iterable_is_the_callers(each: Map, tmp_path: Path) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise LookupError("of the input")

    with pytest.raises(LookupError, match="of the input"):
        each(partial(first_fails, str(tmp_path)), broken())
    assert marks(tmp_path) == []


# --- law 4: order ------------------------------------------------------------------------------


def test_order_is_the_inputs(concurrent: Settings, tmp_path: Path) -> None:
    verb = pmap.using(**concurrent.options())
    function = partial(zero_waits, str(tmp_path), 5, TIME_LIMIT)
    assert verb(function, range(40), chunksize=1) == list(range(40))
    assert "0" not in marks(tmp_path)[:5]


def test_a_slow_item_holds_up_no_other(concurrent: Settings, tmp_path: Path) -> None:
    verb = pmap.using(**concurrent.options())
    function = partial(zero_waits, str(tmp_path), 39, TIME_LIMIT)
    assert verb(function, range(40), chunksize=1) == list(range(40))
    assert marks(tmp_path)[-1] == "0"


def test_a_slow_item_behind_quick_ones_holds_up_no_other(
    concurrent: Settings, tmp_path: Path
) -> None:
    # By now chunks are sent ahead, and some are behind the slow one: the others take them back.
    verb = pmap.using(**concurrent.options())
    for slow in (200, 230, 250):
        folder = tmp_path / str(slow)
        folder.mkdir()
        function = partial(one_waits, str(folder), slow, 299, TIME_LIMIT)
        assert verb(function, range(300), chunksize=1) == list(range(300))
        assert marks(folder)[-1] == str(slow)
        assert len(marks(folder)) == 300


# --- law 5: blocking ---------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["pmap", "pstarmap", "papply"])
def test_async_returns_before_its_function_ran(
    concurrent: Settings, tmp_path: Path, verb: str
) -> None:
    function = partial(answer_when_told, str(tmp_path))
    later: AsyncResult[Any]
    if verb == "pmap":
        later = pmap.using(**concurrent.options()).async_(function, [3])
    elif verb == "pstarmap":
        later = pstarmap.using(**concurrent.options()).async_(function, [(3,)])
    else:
        later = papply.using(**concurrent.options()).async_(function, 3)
    assert not later.ready()
    # It runs while the caller does something else: nobody asks for the result until it has begun.
    until(lambda: marks(tmp_path) == ["3"], "the beginning")
    assert not later.ready()
    (tmp_path / "go").touch()
    assert later.get(TIME_LIMIT) == (9 if verb == "papply" else [9])
    assert later.ready()


def test_async_runs_though_nobody_asks(concurrent: Settings, tmp_path: Path) -> None:
    later = started(concurrent, tmp_path)
    (tmp_path / "go").touch()
    until(later.ready, "the end")
    assert later.get(0) == [0, 1, 4]


def test_serial_async_gives_the_result() -> None:
    assert pmap.using(backend="serial").async_(square, range(4)).get(TIME_LIMIT) == [0, 1, 4, 9]


def test_two_calls_run_beside_each_other(concurrent: Settings, tmp_path: Path) -> None:
    # The first holds one worker until the second, blocking, is through.
    later = pmap.using(**concurrent.options()).async_(
        partial(answer_when_told, str(tmp_path)), [5], chunksize=1
    )
    until(lambda: marks(tmp_path) == ["5"], "the beginning")
    assert pmap.using(**concurrent.options())(square, range(30)) == [x * x for x in range(30)]
    assert not later.ready()
    (tmp_path / "go").touch()
    assert later.get(TIME_LIMIT) == [25]


def test_callers_in_many_threads(backend: Settings) -> None:
    results: dict[int, list[int]] = {}

    def call(number: int) -> None:
        verb = pmap.using(**backend.options())
        results[number] = [sum(verb(square, range(50 + n))) for n in range(5)]

    threads = [threading.Thread(target=call, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIME_LIMIT)
    expected = [sum(x * x for x in range(50 + n)) for n in range(5)]
    assert results == dict.fromkeys(range(6), expected)


# --- the initializer ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LookupError, SystemExit, StopIteration])
def test_an_initializer_that_fails(backend: Settings, kind: type[BaseException]) -> None:
    failing = {"initializer": raise_it, "initargs": (kind, "not here")}
    verb = pmap.using(**backend.options()).using(**cast("Options", failing))
    with pytest.raises(WorkerStartError, match="not here") as caught:
        verb(square, [1])
    cause = caught.value.__cause__
    if kind is LookupError:
        assert type(cause) is LookupError
    else:  # raised as it is, it would end the caller's program, or cut a loop short
        assert isinstance(cause, ControlFlowError)
        assert type(cause.__cause__) is kind


# --- law 8: the end of a pool ------------------------------------------------------------------


def test_terminate_ends_what_is_under_way(concurrent: Settings, tmp_path: Path) -> None:
    pool = new_pool(concurrent)
    later = pool.map_async(partial(answer_when_told, str(tmp_path)), range(30), 1)
    until(lambda: len(marks(tmp_path)) == 2, "two items' beginning")
    pool.terminate()
    pool.join()
    with pytest.raises(CancelledError, match="terminated"):
        later.get(TIME_LIMIT)
    with pytest.raises(ValueError, match="takes no more work"):
        pool.map(square, [1])


def test_close_and_join_let_the_work_end(concurrent: Settings, tmp_path: Path) -> None:
    pool = new_pool(concurrent)
    later = pool.map_async(partial(answer_when_told, str(tmp_path)), range(5), 1)
    pool.close()
    with pytest.raises(ValueError, match="takes no more work"):
        pool.apply_async(square, (1,))
    (tmp_path / "go").touch()
    pool.join()
    assert later.ready()
    assert later.get(0) == [x * x for x in range(5)]


@pytest.mark.parametrize("limit", [1, 3])
def test_workers_are_replaced_after_their_chunks(concurrent: Settings, limit: int) -> None:
    with new_pool(concurrent, limit) as pool:
        pids = pool.map(work_pid, range(12), chunksize=1)
    assert all(pids.count(pid) <= limit for pid in set(pids))
    assert len(set(pids)) >= 12 // limit
