"""What one bad item costs: itself, and nothing else.

Each row of the table is a way for an item to go wrong. Over every start method, with items alone in
their chunks and with five in a chunk, just that item has no result, its error says what happened,
and the pool goes on.
"""

import os
import pickle
import signal
import sys
import traceback
from asyncio import CancelledError as AsyncioCancelled
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Final

import pytest
from tests.acts import bad_start, deep, perform
from tests.backends import START_METHODS, MaybeEncodingError
from tests.bad_objects import (
    BadFunction,
    Bare,
    CannotPickle,
    ExitsWhileLoading,
    KeywordOnly,
    Loading,
    RaisesWhileLoading,
    ReduceRaises,
    TwoArguments,
)
from tests.files import marks
from tests.items import square
from tests.process.crash_items import ITEMS, backend_of, new_pool
from tests.processes import pids_of
from tests.signals import KILL, ended_by, says

from pmap import (
    ControlFlowError,
    Failure,
    Map,
    PmapError,
    TransportError,
    WorkerLost,
    WorkerStartError,
    papply,
    pmap,
)

if TYPE_CHECKING:
    from pmap._types import StartMethod

BAD: Final = 2  # in the middle of a chunk of five: items before and after it must survive


@dataclass(frozen=True)
class Row:
    """One way to go wrong, and what must come of it.

    `act` is what the item does (see `acts.ACTS`) or an object that cannot travel; `says` are
    pieces of the message; `fields` attributes of the error; `began` whether the function starts.
    """

    name: str
    act: object
    error: type[Exception]
    says: tuple[str, ...] = ()
    cause: type | None = None
    began: bool = True
    fields: tuple[tuple[str, object], ...] = ()


def killed(name: str, number: signal.Signals) -> Row:
    """Return the row of an act by which a signal ends the worker."""
    return lost(name, ended_by(number), says(number))


def lost(name: str, exitcode: int, how: str) -> Row:
    """Return the row of an act that ends the worker."""
    return Row(name, name, WorkerLost, (how,), None, True, (("exitcode", exitcode),))


def bent(name: str, cause: type[BaseException], text: str) -> Row:
    """Return the row of an exception that must not reach the caller bare."""
    return Row(name, name, ControlFlowError, (text, "raised"), cause)


def unsent(name: str, *says: str) -> Row:
    """Return the row of a result that cannot be pickled."""
    return Row(name, name, MaybeEncodingError, ("result", "the worker", *says))


def own(
    name: str,
    error: type[Exception],
    *says: str,
    cause: type = NoneType,
    **fields: object,
) -> Row:
    """Return the row of an error that arrives as what it is."""
    return Row(name, name, error, says, cause, True, tuple(fields.items()))


ROWS: Final = [
    lost("exit 0", 0, "exited with code 0"),
    lost("exit 3", 3, "exited with code 3"),
    killed("SIGKILL", KILL),
    killed("SIGTERM", signal.SIGTERM),
    killed("segfault", signal.SIGSEGV),
    killed("abort", signal.SIGABRT),
    lost("error dies", 6, "exited with code 6"),
    bent("sys.exit", SystemExit, "SystemExit(3)"),
    bent("KeyboardInterrupt", KeyboardInterrupt, "KeyboardInterrupt('now')"),
    bent("GeneratorExit", GeneratorExit, "GeneratorExit('now')"),
    bent("bare", Bare, "Bare('now')"),
    bent("StopIteration", StopIteration, "StopIteration('now')"),
    bent("StopAsyncIteration", StopAsyncIteration, "StopAsyncIteration('now')"),
    bent("cancelled", AsyncioCancelled, "CancelledError('now')"),
    unsent("result lock", "lock"),
    unsent("result generator", "generator"),
    unsent("result reduce", "no reduce", "CannotPickle()"),
    unsent("result deep", "RecursionError"),
    Row(
        "result loads", "result loads", TransportError, ("result", "calling process", "cannot load")
    ),
    Row(
        "result exits", "result exits", TransportError, ("result", "calling process", "SystemExit")
    ),
    Row("error lock", "error lock", TransportError, ("exception", "HoldsLock", "lock")),
    own("error reduce", ReduceRaises, "here"),
    own("error exits", ExitsWhileLoading, "here"),
    own("two arguments", TwoArguments, "404: not found", code=404, reason="not found"),
    own("keyword only", KeywordOnly, "code 7", code=7),
    own("caused", ValueError, "outer", cause=LookupError),
    own("recursion", RecursionError, "maximum recursion depth"),
    own("huge", ValueError, "x" * 3_000_000),
    Row(
        "argument reduce",
        CannotPickle(),
        TransportError,
        ("argument", "calling process", "no reduce", "CannotPickle()"),
        RuntimeError,
        began=False,
    ),
    Row(
        "argument deep",
        deep(100_000),
        TransportError,
        ("argument", "calling process", "RecursionError"),
        RecursionError,
        began=False,
    ),
    Row(
        "argument raises",
        RaisesWhileLoading(),
        TransportError,
        ("argument", "the worker", "cannot load", "RaisesWhileLoading()"),
        LookupError,
        began=False,
    ),
    Row(
        "argument exits",
        Loading(sys.exit, 5),
        TransportError,
        ("argument", "the worker", "SystemExit(5)"),
        SystemExit,
        began=False,
    ),
    Row(
        "argument dies",
        Loading(os._exit, 7),
        WorkerLost,
        ("exited with code 7",),
        None,
        began=False,
        fields=(("exitcode", 7),),
    ),
]


@pytest.fixture(params=START_METHODS, scope="module")
def two(request: pytest.FixtureRequest) -> Map:
    """The verb on two warm workers."""
    return pmap.using(processes=2, start_method=request.param)


def items_with(act: object) -> list[tuple[int, object]]:
    """Return ten items of which one does something."""
    return [(index, act if index == BAD else None) for index in range(ITEMS)]


def check_error(error: BaseException, row: Row) -> None:
    """Check that `error` is what the row says, and says what it must."""
    assert isinstance(error, row.error)
    text = str(error)
    for piece in row.says:
        assert piece in text
    for name, value in row.fields:
        assert getattr(error, name) == value
    if row.cause is not None:
        assert type(error.__cause__) is row.cause or (
            row.cause is LookupError and isinstance(error.__cause__, LookupError)
        )
    if not isinstance(error, PmapError):
        assert type(error) is row.error
        notes = error.__notes__
        assert len(notes) == 1
        assert f"item {BAD}, partial(perform)(({BAD}, {row.act!r}))" in notes[0]
        assert "in perform" in "".join(traceback.format_exception(error))
    else:
        assert f"item {BAD}" in text
        assert "perform" in text
        assert f"({BAD}, " in text
        assert getattr(error, "function") == "partial(perform)"  # noqa: B009
        assert getattr(error, "index") == BAD  # noqa: B009
    if isinstance(error, WorkerLost):
        assert error.pid > 0
        assert str(error.pid) in text


@pytest.mark.parametrize("chunksize", [1, 5])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_costs_one_item(two: Map, row: Row, chunksize: int, tmp_path: Path) -> None:
    answers = two.collecting(
        partial(perform, str(tmp_path)), items_with(row.act), chunksize=chunksize
    )
    assert len(answers) == ITEMS
    failure = answers[BAD]
    assert isinstance(failure, Failure)
    assert (failure.index, failure.function) == (BAD, "partial(perform)")
    assert failure.input.startswith(f"({BAD}, ")
    check_error(failure.error, row)
    others = [index for index in range(ITEMS) if index != BAD]
    assert [answers[index] for index in others] == [index * index for index in others]
    began = sorted(map(int, marks(tmp_path)))
    assert began == (list(range(ITEMS)) if row.began else others)
    assert two(square, range(20)) == [x * x for x in range(20)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_is_raised(two: Map, row: Row, tmp_path: Path) -> None:
    with pytest.raises(row.error) as caught:
        two(partial(perform, str(tmp_path)), items_with(row.act), chunksize=5)
    check_error(caught.value, row)
    began = marks(tmp_path)
    assert len(set(began)) == len(began)
    assert two(square, range(20)) == [x * x for x in range(20)]


@pytest.mark.parametrize("chunksize", [1, 3, 10])
def test_many_deaths_in_one_map(two: Map, chunksize: int, tmp_path: Path) -> None:
    bad = {0: "exit 3", 3: "SIGKILL", 4: "exit 0", 9: "SIGTERM"}
    answers = two.collecting(
        partial(perform, str(tmp_path)),
        [(index, bad.get(index)) for index in range(ITEMS)],
        chunksize=chunksize,
    )
    codes = {
        index: answer.error.exitcode
        for index, answer in enumerate(answers)
        if isinstance(answer, Failure) and isinstance(answer.error, WorkerLost)
    }
    assert codes == {0: 3, 3: ended_by(KILL), 4: 0, 9: ended_by(signal.SIGTERM)}
    others = [index for index in range(ITEMS) if index not in bad]
    assert [answers[index] for index in others] == [index * index for index in others]
    assert sorted(map(int, marks(tmp_path))) == list(range(ITEMS))


def test_every_item_kills_its_worker(two: Map, tmp_path: Path) -> None:
    answers = two.collecting(
        partial(perform, str(tmp_path)), [(index, "exit 3") for index in range(ITEMS)], chunksize=4
    )
    assert all(
        isinstance(answer, Failure) and isinstance(answer.error, WorkerLost) for answer in answers
    )
    assert sorted(map(int, marks(tmp_path))) == list(range(ITEMS))
    assert two(square, range(5)) == [0, 1, 4, 9, 16]


def test_a_single_call_that_dies(start_method: "StartMethod") -> None:
    verb = papply.using(processes=2, start_method=start_method)
    with pytest.raises(WorkerLost, match=r"item 0, _exit\(3\)") as caught:
        verb(os._exit, 3)
    assert caught.value.exitcode == 3
    assert verb(square, 3) == 9


# --- initializers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "cause", "says"),
    [
        ("two arguments", TwoArguments, "404: not found"),
        ("caused", ValueError, "outer"),
        ("sys.exit", SystemExit, "SystemExit"),
        ("bare", Bare, "Bare"),
        ("exit 3", None, "code 3"),
        ("SIGKILL", None, says(KILL)),
        ("error lock", TransportError, "HoldsLock"),
    ],
)
def test_broken_initializer(
    start_method: "StartMethod",
    act: str,
    cause: type[BaseException] | None,
    says: str,
    tmp_path: Path,
) -> None:
    with new_pool(start_method, bad_start, act, str(tmp_path)) as pool:
        with pytest.raises(WorkerStartError) as caught:
            pool.map(square, range(5))
        assert says in str(caught.value)
        assert caught.value.attempts >= 1
        found = caught.value.__cause__
        if cause is not None and found is not None and issubclass(cause, Exception):
            assert type(found) is cause
        elif cause is not None:  # not an ordinary error: in an error of ours
            assert isinstance(found, ControlFlowError)
            assert type(found.__cause__) is cause
        tried = len(marks(tmp_path))
        assert tried <= 8  # and not for ever
        (tmp_path / "well").touch()
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("method", [one for one in START_METHODS if one != "fork"])
def test_initializer_that_cannot_be_sent(method: "StartMethod") -> None:
    with pytest.raises(pickle.PicklingError, match=r"the initializer print .*no reduce") as caught:
        new_pool(method, print, CannotPickle())
    assert isinstance(caught.value.__cause__, RuntimeError)
    verb = pmap.using(start_method=method, initializer=print, initargs=(CannotPickle(),))
    for call in (verb, verb.async_, verb.iter):
        with pytest.raises(pickle.PicklingError, match="no reduce"):
            call(square, [1])


@pytest.mark.parametrize("method", [one for one in START_METHODS if one != "fork"])
def test_initializer_that_cannot_be_sent_any_more(method: "StartMethod") -> None:
    argument: list[object] = [1]
    with new_pool(method, id, argument) as pool:
        assert pool.apply(square, (3,)) == 9
        argument.append(CannotPickle())
        for pid in pids_of(backend_of(pool)):
            os.kill(pid, KILL)
        with pytest.raises(WorkerStartError, match="no reduce"):
            pool.apply(square, (3,))


@pytest.mark.skipif("fork" not in START_METHODS, reason="there is no fork here")
def test_a_fork_has_an_initializer_that_cannot_be_sent() -> None:
    argument: list[object] = [1]
    with new_pool("fork", argument.append, CannotPickle()) as pool:
        assert pool.apply(square, (3,)) == 9
        for pid in pids_of(backend_of(pool)):
            os.kill(pid, KILL)
        assert pool.map(square, range(4)) == [0, 1, 4, 9]


# --- the function ------------------------------------------------------------------------------


def test_function_that_cannot_be_pickled(two: Map) -> None:
    with pytest.raises(TransportError, match="no reduce") as caught:
        two(BadFunction("pickling"), range(ITEMS))
    assert caught.value.what == "function"
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert two(square, range(5)) == [0, 1, 4, 9, 16]


def test_function_that_cannot_be_loaded(two: Map) -> None:
    with pytest.raises(TransportError, match="no number") as caught:
        two(BadFunction("raising"), range(ITEMS))
    assert (caught.value.what, caught.value.side, caught.value.index) == ("function", "worker", 0)
    answers = two.collecting(BadFunction("raising"), range(ITEMS), chunksize=3)
    assert [
        answer.index if isinstance(answer, Failure) else "no failure" for answer in answers
    ] == list(range(ITEMS))
    assert two(square, range(5)) == [0, 1, 4, 9, 16]


def test_function_that_kills_where_it_is_loaded(two: Map) -> None:
    with pytest.raises(WorkerLost, match="exited with code 9"):
        two(BadFunction("dying"), range(3))
    answers = two.collecting(BadFunction("dying"), range(ITEMS), chunksize=3)
    assert all(
        isinstance(answer, Failure) and isinstance(answer.error, WorkerLost) for answer in answers
    )
    assert two(square, range(5)) == [0, 1, 4, 9, 16]
