"""What a user sees of an error: the line of the call, the user's own functions, and one error."""

import asyncio
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from tests.backends import RemoteTraceback, Settings

import pmap as package
from pmap import Executor, Failure, Map, NotPicklableError, OptionError, Pool, StarMap, pmap

OURS = str(Path(package.__file__).parent)


def inner(x: int) -> float:
    return 1 / x


def outer(x: int) -> float:
    return inner(x)


def caused(x: int) -> float:
    try:
        return inner(x)
    except ZeroDivisionError as error:
        raise ValueError(x) from error


def failing_input() -> Iterator[int]:
    yield 1
    raise KeyError("in the input")


def raised(act: Callable[[], object]) -> Exception:
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def frames(error: BaseException) -> list[str]:
    """Return the names of the functions in the traceback, pmap's own as "pmap"; first is ours."""
    entries = traceback.extract_tb(error.__traceback__)
    names = ["pmap" if entry.filename.startswith(OURS) else entry.name for entry in entries]
    assert names[0] == "raised"
    return names[2:]


FORMS: dict[str, Callable[[Map], object]] = {
    "blocking": lambda verb: verb(outer, [1, 0]),
    "get": lambda verb: verb.async_(outer, [1, 0]).get(),
    "stream": lambda verb: list(verb.iter(outer, [1, 0])),
    "unordered": lambda verb: list(verb.iter_unordered(outer, [0])),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_user_sees_the_call_and_the_functions_below(each: Map, form: str) -> None:
    error = raised(lambda: FORMS[form](each))
    assert frames(error) == ["<lambda>", "pmap", "outer", "inner"]
    lines = [entry.line for entry in traceback.extract_tb(error.__traceback__)]
    assert lines[-2:] == ["return inner(x)", "return 1 / x"]
    assert (error.__cause__, error.__context__) == (None, None)


def test_rows_too(star: StarMap) -> None:
    assert frames(raised(lambda: star(outer, [(0,)]))) == ["pmap", "outer", "inner"]


def test_in_a_task_too(each: Map) -> None:
    async def wait() -> object:
        return await each.async_(outer, [0])

    async def consume() -> None:
        async for _ in each.iter(outer, [0]):
            pass

    for start in (wait, consume):
        error = raised(partial(asyncio.run, start()))
        assert frames(error)[-4:] == [start.__name__, "pmap", "outer", "inner"]


def test_the_users_own_cause_arrives(each: Map) -> None:
    error = raised(lambda: each(caused, [0]))
    assert isinstance(error.__cause__, ZeroDivisionError)
    below = traceback.extract_tb(error.__cause__.__traceback__)
    assert [entry.name for entry in below] == ["caused", "inner"]


@pytest.mark.parametrize("full", ["1", "0", ""])
def test_all_frames_are_shown_if_asked_for(
    each: Map, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMAP_FULL_TRACEBACK", full)
    names = frames(raised(lambda: each(outer, [0])))
    assert (names.count("pmap") > 3) == (full == "1")
    assert [name for name in names if name != "pmap"] == ["outer", "inner"]


def test_the_frame_that_stays_is_marked(each: Map, monkeypatch: pytest.MonkeyPatch) -> None:
    for full in ("0", "1"):
        monkeypatch.setenv("PMAP_FULL_TRACEBACK", full)
        for act in (lambda: each(outer, [0]), lambda: list(each.iter(outer, [0]))):
            for frame, _ in traceback.walk_tb(raised(act).__traceback__):
                if frame.f_code.co_filename.startswith(OURS):
                    hidden = frame.f_locals.get("__tracebackhide__", False)
                    assert hidden == (full == "0")


def test_what_is_not_an_items_error_has_the_users_frames_too(each: Map) -> None:
    assert frames(raised(lambda: each(abs, failing_input()))) == ["pmap", "failing_input"]
    error = raised(lambda: list(each.iter(abs, failing_input())))
    assert frames(error) == ["pmap", "failing_input"]
    wrong: Any = {"chunk": 3}
    error = raised(lambda: each(abs, [1], **wrong))
    assert isinstance(error, OptionError)
    assert frames(error) == ["pmap"]


def test_what_explain_refuses_has_one_frame_of_ours() -> None:
    wrong: Any = 3
    for act in (
        lambda: pmap.explain(wrong, [1]),
        lambda: package.pstarmap.explain(abs, wrong),
        lambda: package.papply.explain(wrong),
    ):
        assert frames(raised(act)) == ["pmap"]


def test_a_failure_has_the_same_as_text(each: Map) -> None:
    (failure,) = each.collecting(outer, [0])
    assert isinstance(failure, Failure)
    for one in (pickle.loads(pickle.dumps(failure)), failure):
        lines = [line.strip() for line in one.traceback.splitlines()]
        assert [line for line in lines if line.startswith("File")] == [
            f'File "{__file__}", line {code.co_firstlineno + 1}, in {code.co_name}'
            for code in (outer.__code__, inner.__code__)
        ]
        assert lines[-2:] == ["ZeroDivisionError: division by zero", "pmap: item 0, outer(0)"]


def test_the_text_of_a_failure_is_made_when_it_is_read(
    each: Map, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[BaseException] = []

    def note(error: BaseException, *_: object) -> str:
        made.append(error)
        return "the text"

    monkeypatch.setattr("pmap._calls.traceback_text.format_trace", note)
    failures = each.collecting(outer, [0] * 5)
    assert made == []
    for failure in failures:
        assert isinstance(failure, Failure)
        assert (failure.traceback, failure.traceback) == ("the text", "the text")
    assert len(made) == 5


def test_what_cannot_be_sent_is_one_error(process: Settings) -> None:
    lock = threading.Lock()
    error = raised(lambda: pmap.using(**process.options())(lambda x: (x, lock), [1]))
    assert isinstance(error, NotPicklableError)
    assert frames(error) == ["pmap"]
    assert "".join(traceback.format_exception(error)).count("Traceback") == 1


def test_a_drop_in_has_the_text_in_its_cause() -> None:
    with Pool(1, context=None) as pool:
        error = raised(lambda: pool.map(outer, [0]))
        later = raised(lambda: pool.apply_async(outer, (0,)).get())
        stream = raised(lambda: next(pool.imap(outer, [0])))
    with Executor(1) as executor:
        future = raised(lambda: executor.submit(outer, 0).result())
    for one in (error, later, stream):
        assert isinstance(one.__cause__, RemoteTraceback)
        assert frames(one) == ["pmap"]
    for one in (error, later, stream, future):
        text = str(one.__cause__)
        assert text.count("Traceback") == 1
        assert text.count("return 1 / x") == 1
        assert "pmap/_" not in text


def test_a_debugger_has_the_variables_of_what_ran_here() -> None:
    error = raised(lambda: pmap(outer, [0], backend="serial"))
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    assert frame.f_locals == {"x": 0}


def both(x: int, y: int) -> int:
    return x + y


def fails_inside(x: object) -> None:
    raise TypeError("an argument of its own")


def test_rows_for_the_wrong_verb_are_named(each: Map, star: StarMap) -> None:
    # The type checkers refuse these calls.
    row, number, function, own = cast("tuple[Any, Any, Any, Any]", ((1, 2), 3, both, fails_inside))
    note = raised(lambda: each(function, [row])).__notes__[-1]
    assert note.endswith("If it is a row of arguments, write pstarmap(both, rows)")
    note = raised(lambda: star(function, [number])).__notes__[-1]
    assert note.endswith("If each item is one argument, write pmap(both, xs)")
    for error in (raised(lambda: each(own, [row])), raised(lambda: star(function, [(1, 2, 3)]))):
        assert len(error.__notes__) == 1


def test_rows_for_the_wrong_method_of_a_pool_are_named() -> None:
    with Pool(1) as pool:
        row: Any = (1, 2)
        function: Any = both
        note = raised(lambda: pool.map(function, [row])).__notes__[-1]
    assert note.endswith("write Pool.starmap(both, rows)")
