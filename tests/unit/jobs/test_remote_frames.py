"""A traceback that travels as plain values: at the caller it shows what it showed in the worker."""

import io
import linecache
import marshal
import pdb  # noqa: T100 - to try a debugger on a traceback
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

from pmap._jobs import remote_frames
from pmap._jobs.remote_frames import UnsentError, give_trace, traceback_of, traceback_of_stack
from pmap._transport.failure_record import capture

if TYPE_CHECKING:
    from pmap._transport.trace import Place, Trace


def raised(act: Callable[[], object]) -> BaseException:
    """Return what `act` raises."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        act()
    return caught.value


def sent(error: BaseException) -> "Trace":
    """Return the trace of `error` as it arrives from a worker."""
    trace: Trace = marshal.loads(marshal.dumps(capture(error)))[4]
    return trace


def arrived(error: BaseException, copy: BaseException) -> BaseException:
    """Return `copy`, with the traceback of `error` as it arrives from a worker."""
    give_trace(copy, sent(error))
    return copy


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def deep(x: int) -> float:
    between: Callable[[int], float] = lambda y: inner(y, "a long argument")  # noqa: E731
    return between(x)


def inner(x: int, _: str) -> float:
    return sum(
        1 /
        (x - number)
        for number in [3]
    )  # fmt: skip


class Thing:
    def method(self) -> None:
        raise KeyError("in a method")


def caused() -> None:
    try:
        deep(3)
    except ZeroDivisionError as error:
        raise ValueError("outer") from error


def in_context() -> None:
    try:
        deep(3)
    finally:
        Thing().method()


def without_context() -> None:
    try:
        deep(3)
    except ZeroDivisionError:
        raise ValueError("alone") from None


def in_a_group() -> None:
    errors: list[Exception] = []
    for act in (caused, in_context):
        try:
            act()
        except (ValueError, KeyError) as error:
            errors.append(error)
    raise ExceptionGroup("several", errors)


def recursive() -> None:
    recursive()


def not_python() -> None:
    compile("1 +", "given", "eval")


def test_a_frame_has_the_loader_and_the_specification_of_its_module() -> None:
    """From Python 3.15 on `linecache` warns of a loader without a specification."""
    trace = arrived(raised(lambda: deep(3)), ZeroDivisionError()).__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    for name in ("__loader__", "__spec__"):
        assert trace.tb_frame.f_globals[name] is globals()[name]


@pytest.mark.parametrize(
    ("act", "copy"),
    [
        (lambda: deep(3), ZeroDivisionError("division by zero")),
        (Thing().method, KeyError("in a method")),
        (caused, ValueError("outer")),
        (in_context, KeyError("in a method")),
        (without_context, ValueError("alone")),
        (recursive, RecursionError("maximum recursion depth exceeded")),
    ],
)
def test_it_shows_the_same(act: Callable[[], object], copy: Exception) -> None:
    error = raised(act)
    assert shown(arrived(error, copy)) == shown(error)


def test_it_shows_the_same_of_the_members_of_a_group() -> None:
    error = raised(in_a_group)
    copy = ExceptionGroup("several", [ValueError("outer"), KeyError("in a method")])
    assert shown(arrived(error, copy)) == shown(error)
    assert "in deep" in shown(error)


def test_it_shows_the_text_of_a_syntax_error() -> None:
    error = raised(not_python)
    copy = SyntaxError(*error.args)
    assert shown(arrived(error, copy)) == shown(error)
    assert "1 +" in shown(copy)


def test_a_cause_that_cannot_be_pickled_is_told_of() -> None:
    error = ValueError("outer")
    error.__cause__ = raised(lambda: deep(3))
    error.__cause__.__dict__["held"] = open  # can be pickled
    assert isinstance(arrived(error, ValueError()).__cause__, ZeroDivisionError)
    error.__cause__.__dict__["held"] = threading.Lock()  # cannot
    cause = arrived(error, ValueError()).__cause__
    assert isinstance(cause, UnsentError)
    assert str(cause) == repr(error.__cause__)
    assert "in deep" in shown(cause)


def test_a_circle_of_contexts_ends() -> None:
    one, other = ValueError("one"), KeyError("other")
    one.__context__, other.__context__ = other, one
    copy = arrived(one, ValueError("one"))
    assert isinstance(copy.__context__, KeyError)
    assert copy.__context__.__context__ is None


def test_a_long_chain_and_a_deep_group_are_cut() -> None:
    last: Exception = ValueError(0)
    group: Exception = ValueError(0)
    for number in range(3000):
        before, last = last, ValueError(number)
        last.__context__ = before
    for _ in range(300):
        within: list[Exception] = [group]
        group = ExceptionGroup("g", within)
    for error in (last, group):
        assert isinstance(sent(error)[1], tuple | None)
    assert len(marshal.dumps(sent(last))) < 10_000


def test_a_deep_recursion_is_small() -> None:
    assert len(marshal.dumps(sent(raised(recursive)))) < 10_000


def test_frames_hold_nothing() -> None:
    trace = arrived(raised(lambda: deep(3)), ValueError()).__traceback__
    entries: list[TracebackType] = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    assert len(entries) > 3
    for entry in entries:
        assert entry.tb_frame.f_back is None
        assert entry.tb_frame.f_locals == {}
        # What asks the frame, and not the entry, for its line: IPython does.
        assert entry.tb_frame.f_lineno == entry.tb_lineno


def test_a_debugger_goes_through_it() -> None:
    error = arrived(raised(lambda: deep(3)), ZeroDivisionError())
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("where\nup\nlist\nquit\n"), stdout=out, nosigint=True)
    debugger.use_rawinput = False
    debugger.reset()
    debugger.interaction(None, error.__traceback__)
    assert "-> between: Callable" in out.getvalue()
    assert "(x - number)" in out.getvalue()


def test_frames_may_be_cleared() -> None:
    error = arrived(raised(lambda: deep(3)), ZeroDivisionError("division by zero"))
    before = shown(error)
    traceback.clear_frames(error.__traceback__)
    assert shown(error) == before


def test_code_without_a_file_brings_its_lines() -> None:
    names: dict[str, Callable[[], None]] = {}
    file: str = "<made here>"
    source: str = "def made():\n    raise KeyError('made')\n"
    exec(compile(source, file, "exec"), names)
    lines = [*map(str, source.splitlines(keepends=True))]
    linecache.cache[file] = (len(source), None, lines, file)
    trace = sent(raised(names["made"]))
    del linecache.cache[file]
    copy = KeyError("made")
    give_trace(copy, trace)
    assert "    raise KeyError('made')\n" in shown(copy)
    del linecache.cache[file]


def test_places_without_columns_have_no_marks() -> None:
    place: Place = (__file__, "f", "f", __name__, 1, 3, None, None, None, "")
    (entry,) = traceback.extract_tb(traceback_of((place,)))
    assert (entry.lineno, entry.name, entry.colno) == (3, "f", None)


def test_a_stack_of_a_dead_worker() -> None:
    text = (
        'Stack (most recent call last):\n  File "a b.py", line 3 in f\n  File "c", line 70 in <g>'
    )
    entries = traceback.extract_tb(traceback_of_stack(text))
    assert [(e.filename, e.lineno, e.name) for e in entries] == [
        ("a b.py", 3, "f"),
        ("c", 70, "<g>"),
    ]
    assert traceback_of_stack("") is None


def test_the_frames_that_are_kept_are_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_frames, "_MOST_FRAMES", 3)
    for line in range(1, 20):
        assert traceback_of(((__file__, "f", "f", "", line, line, None, None, None, ""),))
        assert len(remote_frames._frames) <= 3
