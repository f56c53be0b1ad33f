"""Every error keeps its fields, survives pickling, and says what happened."""

import inspect
import multiprocessing
import multiprocessing.pool
import pickle
import signal
from typing import Any, cast

import pytest

import pmap
from pmap import _errors, _multiprocessing_errors
from pmap._errors import (
    ControlFlowError,
    ItemError,
    OptionError,
    PmapError,
    PoolClosedError,
    TransportError,
    WorkerLost,
    WorkerStartError,
    how_it_ended,
)

# Neither is in the standard library's stubs.
MaybeEncodingError: type[Exception] = vars(multiprocessing.pool)["MaybeEncodingError"]
RemoteTraceback: type[Exception] = vars(multiprocessing.pool)["RemoteTraceback"]

FIELDS: dict[str, object] = {
    "message": "the message",
    "host": "node7",
    "option": "chunksize",
    "value": 0,
    "allowed": "an int of at least 1",
    "attempts": 3,
    "reason": "the initializer raised ValueError",
    "begun": False,
    "pid": 4711,
    "exitcode": -9,
    "raised": "SystemExit(3)",
    "limit": 2.5,
    "stack": "Stack (most recent call last):",
    "what": "argument",
    "side": "caller",
    "why": "cannot pickle a lock",
    "exc": "TypeError('no')",
    "function": "render",
    "index": 7,
    "input": "'page.md'",
    "path": "run.sqlite",
    "results": None,
}


def subclasses(of: type[PmapError]) -> list[type[PmapError]]:
    """Return a class and all below it that are ours."""
    found = [of]
    for below in of.__subclasses__():
        if below.__module__.partition(".")[0] == "pmap":
            found += subclasses(below)
    return list(dict.fromkeys(found))


CLASSES = subclasses(PmapError)
PUBLIC = [
    kind.__name__
    for kind in vars(_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
]


def make(kind: type[PmapError]) -> PmapError:
    """Return an error of `kind` with every field set."""
    if "__init__" not in vars(kind) and not issubclass(kind, ItemError):
        return kind("the message")
    own = next(base for base in kind.__mro__ if "__init__" in vars(base))
    args: list[object] = []
    kwargs: dict[str, object] = {}
    for name, parameter in list(inspect.signature(own).parameters.items()):
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            kwargs[name] = FIELDS[name]
        else:
            args.append(FIELDS[name])
    return cast("PmapError", cast(Any, kind)(*args, **kwargs))


def test_all_are_found() -> None:
    named = {*PUBLIC, "ResultPicklingError", "ResultTimeoutError"}
    assert {kind.__name__ for kind in CLASSES} >= named
    assert _multiprocessing_errors.ResultPicklingError in CLASSES


def test_the_tree_at_the_top_names_all_of_them() -> None:
    assert _errors.__doc__ is not None
    for name in PUBLIC:
        assert name in _errors.__doc__


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_survives_pickling(kind: type[PmapError]) -> None:
    error = make(kind)
    error.__cause__ = RemoteTraceback("the remote text")
    error.add_note("a note")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is kind
        assert str(again) == str(error)
        assert again.args == error.args
        assert vars(again) == vars(error)
        assert isinstance(again.__cause__, RemoteTraceback)
        assert str(again.__cause__) == "the remote text"
        assert again.__notes__ == ["a note"]
    assert pickle.loads(pickle.dumps(make(kind))).__cause__ is None


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_keeps_its_raw_fields(kind: type[PmapError]) -> None:
    error = make(kind)
    assert all(hasattr(error, name) for name in getattr(kind, "__annotations__", {}))
    fixed = {"what": "result", "side": "worker", "why": FIELDS["exc"]}  # of a ResultPicklingError
    for name, value in vars(error).items():
        assert value in (FIELDS[name], fixed.get(name))


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, ItemError)])
def test_the_message_of_an_item_names_function_index_and_input(kind: type[PmapError]) -> None:
    if kind is ItemError:
        pytest.skip("the base takes its message as it is")
    text = str(make(kind))
    assert "render('page.md')" in text
    assert "item 7" in text


@pytest.mark.parametrize("kind", CLASSES)
def test_every_public_error_is_at_the_door(kind: type[PmapError]) -> None:
    assert getattr(pmap, kind.__name__) is kind
    assert kind.__module__ == "pmap"
    assert kind.__doc__


class Showing:
    """What raises when it is shown."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        raise self.kind


def test_a_ctrl_c_while_a_value_is_shown_is_one() -> None:
    with pytest.raises(KeyboardInterrupt):
        OptionError("processes", Showing(KeyboardInterrupt), "an int")
    text = str(OptionError("processes", Showing(LookupError), "an int"))
    assert text.startswith("processes=<Showing object, whose repr raised LookupError> is not")


def test_existing_except_clauses_catch_them() -> None:
    assert issubclass(OptionError, ValueError)
    assert issubclass(OptionError, TypeError)
    assert issubclass(PoolClosedError, ValueError)
    assert issubclass(pmap.ResultTimeoutError, multiprocessing.TimeoutError)
    assert issubclass(pmap.ResultTimeoutError, TimeoutError)
    assert issubclass(pmap.TaskTimeout, TimeoutError)
    assert issubclass(pmap.NotPicklableError, pickle.PicklingError)
    assert issubclass(pmap.ResultPicklingError, pmap.NotPicklableError)
    assert issubclass(pmap.ResultPicklingError, MaybeEncodingError)
    assert issubclass(PmapError, RuntimeError)


# --- messages ----------------------------------------------------------------------------------


def lost(exitcode: int | None) -> str:
    return str(WorkerLost(pid=12, exitcode=exitcode, function="f", index=3, input="'x'"))


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM", "SIGABRT", "SIGBUS", "SIGINT"])
def test_a_lost_worker_names_the_signal(name: str) -> None:
    text = lost(-signal.Signals[name].value)
    assert f"the worker process 12 was killed by {name} while it ran item 3, f('x')." in text


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_a_lost_worker_names_the_exit_code(code: int) -> None:
    assert f"the worker process 12 exited with code {code} while it ran item 3" in lost(code)


def test_a_lost_worker_whose_end_nobody_knows() -> None:
    assert "12 ended, how is not known, while it ran item 3" in lost(None)


def test_a_killed_worker_leads_to_the_memory() -> None:
    assert "memory" in lost(-signal.SIGKILL)


def test_a_signal_without_a_name() -> None:
    assert how_it_ended(-60) == "was killed by signal 60"
    assert "was killed by signal 60" in lost(-60)


def test_a_wrong_option_says_what_is_right() -> None:
    error = OptionError("processes", -1, "an int of at least 1, or None")
    assert str(error) == "processes=-1 is not possible: an int of at least 1, or None"


class Rude:
    def __repr__(self) -> str:
        raise ValueError("no")


def test_a_value_without_a_repr_still_makes_a_message() -> None:
    assert "<Rude object, whose repr raised ValueError>" in str(
        OptionError("processes", Rude(), "an int")
    )


def test_a_long_value_is_cut() -> None:
    assert len(str(OptionError("processes", "x" * 1000, "an int"))) < 150


@pytest.mark.parametrize(("attempts", "times"), [(1, "once"), (3, "3 times in a row")])
def test_a_failed_start_says_how_often(attempts: int, times: str) -> None:
    text = str(WorkerStartError(attempts, "out of memory"))
    assert f"a worker could not be started, {times}: out of memory" in text


@pytest.mark.parametrize(
    ("what", "side", "said"),
    [
        ("argument", "caller", "could not be pickled in the calling process"),
        ("argument", "worker", "could not be loaded in the worker"),
        ("result", "caller", "could not be loaded in the calling process"),
        ("result", "worker", "could not be pickled in the worker"),
        ("function", "worker", "could not be loaded in the worker"),
        ("exception", "worker", "could not be sent in the worker"),
    ],
)
def test_a_transport_error_says_which_object_and_which_side(
    what: str, side: str, said: str
) -> None:
    error = TransportError(what, side, "no way", function="f", index=3, input="'x'")
    assert str(error) == f"the {what} of item 3, f('x'), {said}: no way"


def test_a_function_that_cannot_be_sent_has_no_item() -> None:
    error = TransportError("function", "caller", "no way", function="f", index=None, input="")
    assert str(error) == "the function f could not be sent: in the calling process, no way"


def test_control_flow_says_what_to_do_instead() -> None:
    text = str(ControlFlowError("SystemExit(3)", function="f", index=3, input="'x'"))
    assert "item 3, f('x'), raised SystemExit(3)" in text
    assert "Raise an ordinary exception" in text


def test_a_result_that_cannot_be_pickled_shows_it() -> None:
    error = _multiprocessing_errors.ResultPicklingError(
        "TypeError('no')", "<lock>", function="f", index=3, input="'x'"
    )
    assert "the result of item 3, f('x'), could not be pickled in the worker" in str(error)
    assert str(error).endswith("The result was <lock>")
