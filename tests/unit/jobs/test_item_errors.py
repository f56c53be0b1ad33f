"""An exception's way from a worker to the caller, and what stands for it when it cannot travel.

`capture` runs in the worker and `restore` at the caller; neither may ever raise, whatever the
exception is.
"""

import copy
import multiprocessing.pool
import pickle
import threading
import traceback
import weakref
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Never, NoReturn, Self

import pytest
from tests.bad_objects import showing_exits, text_or_exit
from tests.travelled_errors import ITEM, across, raised

from pmap import ControlFlowError, Failure, TransportError
from pmap._calls.traceback_text import format_traceback
from pmap._jobs.item_errors import restore, settle, unloaded_result, unsent_argument
from pmap._transport.exceptions import describe
from pmap._transport.failure_record import (
    ARGUMENT,
    FUNCTION,
    RESULT,
    capture,
    capture_transport,
)

RemoteTraceback: type[Exception] = vars(multiprocessing.pool)["RemoteTraceback"]  # not in stubs
NOTE = "pmap: item 7, render('page.md')"


def notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


# --- exceptions that travel --------------------------------------------------------------------


@pytest.mark.parametrize("package", [3, "", None, "pmapper", "pmap_tools.part"])
def test_a_traceback_has_the_frames_of_functions_whatever_their_globals_say(
    package: object,
) -> None:
    names: dict[str, Any] = {"__package__": package, "__name__": "odd"}
    exec("def fail_here(): raise LookupError", names)
    with pytest.raises(LookupError) as caught:
        names["fail_here"]()
    error = caught.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # as in a worker: without this very frame
    assert "in fail_here" in format_traceback(error)


class OwnReduce(Exception):
    """Its args cannot be pickled, and its own pickling goes without them."""

    def __init__(self, number: int) -> None:
        super().__init__(threading.Lock(), number)
        self.number = number

    def __reduce__(self) -> tuple[object, ...]:
        return OwnReduce, (self.number,)


def test_an_exception_whose_own_pickling_goes_without_its_args_arrives_as_it_was() -> None:
    arrived = across(OwnReduce(3))
    assert type(arrived) is OwnReduce
    assert arrived.number == 3


class TwoArguments(Exception):
    def __init__(self, page: str, line: int) -> None:
        super().__init__(f"{page}:{line}")
        self.page = page
        self.line = line


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


class Decorated(Exception):
    """Its __init__ takes what its args are not."""

    def __init__(self, page: str) -> None:
        super().__init__(f"cannot read {page}")
        self.page = page


class TwoArgumentOSError(OSError):
    def __init__(self, page: str, line: int) -> None:
        super().__init__(f"{page}:{line}")
        self.page = page
        self.line = line


@dataclass(frozen=True)
class Frozen(Exception):
    page: str
    line: int


@dataclass
class Record(Exception):
    page: str
    line: int


class TwoArgumentGroup(ExceptionGroup[Exception]):
    line: int

    def __new__(cls, page: str, errors: list[Exception], line: int) -> Self:
        group = super().__new__(cls, page, errors)
        group.line = line
        return group

    def __init__(self, page: str, errors: list[Exception], line: int) -> None:
        super().__init__(page, errors)


STATES: tuple[Exception, ...] = (
    ValueError("a", 1),
    KeyError("k"),
    FileNotFoundError(2, "No such file", "page.md"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ImportError("no", name="numpy", path="here"),
    TwoArguments("page.md", 3),
    KeywordOnly(code=4),
    Decorated("page.md"),
    TwoArgumentOSError("page.md", 3),
    Frozen("page.md", 3),
    Record("page.md", 3),
    ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
    TwoArgumentGroup("several", [ValueError("a")], 3),
)


@pytest.mark.parametrize("error", STATES, ids=lambda error: type(error).__name__)
def test_type_arguments_and_attributes_arrive(error: Exception) -> None:
    arrived = across(error)
    assert type(arrived) is type(error)
    assert repr(arrived.args) == repr(error.args)
    assert str(arrived) == str(error)
    state = {name: value for name, value in vars(arrived).items() if name != "__notes__"}
    assert repr(state) == repr({n: v for n, v in vars(error).items() if n != "__notes__"})
    for name in ("errno", "filename", "name", "path", "object", "reason"):
        assert repr(getattr(arrived, name, None)) == repr(getattr(error, name, None))
    assert notes(arrived)[-1] == NOTE
    assert "raise error" in format_traceback(arrived)


def test_a_local_exception_class_travels_by_value() -> None:
    class LocalError(Exception):
        pass

    arrived = across(LocalError("a"))
    assert type(arrived).__name__ == "LocalError"
    assert arrived.args == ("a",)


def test_the_traceback_of_the_worker_is_that_of_the_exception() -> None:
    error = raised(ValueError("bad page"))
    arrived = across(error)
    lines = "".join(traceback.format_tb(error.__traceback__))
    assert "raise error" in lines
    assert "".join(traceback.format_tb(arrived.__traceback__)) == lines
    assert arrived.__cause__ is None


def test_for_a_standard_pool_the_traceback_is_a_text_in_the_cause() -> None:
    error = ValueError("bad page")
    error.__cause__ = raised(KeyError("k"))
    arrived = across(error, as_text=True)
    assert isinstance(arrived.__cause__, RemoteTraceback)
    assert arrived.__traceback__ is None
    text = str(arrived.__cause__)
    assert text == f'\n"""\n{"".join(traceback.format_exception(error))}"""'
    for piece in ("(most recent call last)", "raise error", "ValueError: bad page", "KeyError"):
        assert piece in text


def test_what_arrives_can_be_pickled_again() -> None:
    arrived = across(TwoArguments("page.md", 3))
    assert str(restore(capture(arrived), ITEM)) == str(arrived)


# --- notes -------------------------------------------------------------------------------------


def test_notes_arrive_and_ours_comes_last() -> None:
    error = ValueError("a")
    error.add_note("mine")
    assert notes(across(error)) == ["mine", NOTE]


def test_our_note_is_added_once() -> None:
    error = ValueError("a")
    assert settle(settle(error, ITEM), ITEM) is error
    assert notes(error) == [NOTE]


class Unnoted(Exception):
    """Its notes are no list."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["__notes__"] = 5


def test_notes_that_are_none_do_no_harm() -> None:
    error = Unnoted()
    assert settle(error, ITEM) is error
    assert type(across(error)) is Unnoted


def test_a_frozen_exception_is_raised_here_as_it_is() -> None:
    error = Frozen("page.md", 3)
    assert settle(error, ITEM) is error


# --- exceptions that cannot travel -------------------------------------------------------------


class Holding(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class BadReduce(Exception):
    def __reduce__(self) -> NoReturn:
        raise ZeroDivisionError("in reduce")


class ExitsInReduce(Exception):
    def __reduce__(self) -> NoReturn:
        raise SystemExit(3)


def leave() -> Never:
    raise SystemExit(3)


class Exit:
    def __reduce__(self) -> tuple[Callable[[], Never], tuple[()]]:
        return leave, ()


class ExitsWhileLoading(Exception):
    def __init__(self) -> None:
        super().__init__("holds an exit")
        self.exit = Exit()


class BadRepr(Exception):
    def __repr__(self) -> str:
        raise ZeroDivisionError("in repr")

    def __str__(self) -> str:
        raise ZeroDivisionError("in str")


class ExitingRepr(Exception):
    def __repr__(self) -> str:
        return text_or_exit("in repr")

    def __str__(self) -> str:
        return text_or_exit("in str")


class ExitingEverywhere(ExitingRepr, ExitsInReduce):
    pass


@pytest.mark.parametrize("kind", [Holding, ExitsWhileLoading])
def test_an_exception_that_cannot_travel_is_told_of(kind: Callable[[], Exception]) -> None:
    error = kind()
    arrived = across(error)
    assert isinstance(arrived, TransportError)
    assert (arrived.what, arrived.function, arrived.index) == ("exception", "render", 7)
    assert repr(error) in str(arrived)
    assert "raise error" in format_traceback(arrived)
    again = across(kind(), as_text=True)
    assert isinstance(again.__cause__, RemoteTraceback)
    assert "raise error" in str(again.__cause__)
    assert repr(error) in str(again.__cause__)


@pytest.mark.parametrize("kind", [BadReduce, ExitsInReduce])
def test_a_bad_reduce_costs_no_more_than_itself(kind: type[Exception]) -> None:
    arrived = across(kind("a"))
    assert isinstance(arrived, (TransportError, kind))


@pytest.mark.parametrize("kind", [BadRepr, ExitingRepr, ExitingEverywhere])
def test_nothing_that_an_exception_does_breaks_the_telling(kind: type[Exception]) -> None:
    error = kind("a")
    with showing_exits():
        description = describe(error)
        arrived = across(error)
        settled = settle(error, ITEM)
        told = [str(unsent_argument(error, "", ITEM)), str(unloaded_result(error, ITEM))]
    assert kind.__name__ in description
    assert isinstance(arrived, (TransportError, kind))
    with showing_exits():
        assert "raise error" in format_traceback(arrived)
    assert isinstance(settled, kind)
    assert all("render" in text for text in told)


def _fails_here() -> NoReturn:
    raise LookupError("not here")


class _OnlyThere:
    def __reduce__(self) -> tuple[Callable[[], Never], tuple[()]]:
        return _fails_here, ()


def test_an_exception_that_loads_only_in_the_worker() -> None:
    record = capture(raised(ValueError("a")))
    record[1] = pickle.dumps(_OnlyThere())
    arrived = restore(record, ITEM)
    assert isinstance(arrived, TransportError)
    assert "not here" in str(arrived)
    assert "ValueError('a')" in str(arrived)


def test_what_loads_as_something_else_is_told_of() -> None:
    record = capture(raised(ValueError("a")))
    record[1] = pickle.dumps("no exception")
    assert isinstance(restore(record, ITEM), TransportError)


# --- control flow ------------------------------------------------------------------------------


class Quits(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopIteration(5),
        StopAsyncIteration(),
        CancelledError(),
        Quits("a"),
        BaseExceptionGroup("several", [KeyboardInterrupt()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_control_flow_arrives_wrapped(error: BaseException) -> None:
    for wrapped in (across(error), settle(raised(error), ITEM)):
        assert isinstance(wrapped, ControlFlowError)
        assert (wrapped.function, wrapped.index, wrapped.input) == ("render", 7, "'page.md'")
        assert wrapped.raised == repr(error)
        cause = wrapped.__cause__
        assert cause is not None
        assert type(cause) is type(error)
        assert repr(cause.args) == repr(error.args)


def test_control_flow_keeps_the_remote_traceback() -> None:
    cause = across(SystemExit(3)).__cause__
    assert cause is not None
    assert "raise error" in format_traceback(cause)
    cause = across(SystemExit(3), as_text=True).__cause__
    assert cause is not None
    assert isinstance(cause.__cause__, RemoteTraceback)


# --- transport ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "what"), [(ARGUMENT, "argument"), (FUNCTION, "function")])
def test_what_could_not_be_loaded_in_the_worker(kind: int, what: str) -> None:
    arrived = restore(capture_transport(kind, raised(ImportError("no module"))), ITEM)
    assert isinstance(arrived, TransportError)
    assert (arrived.what, arrived.side) == (what, "worker")
    assert "ImportError('no module')" in str(arrived)
    assert isinstance(arrived.__cause__, ImportError)


def test_a_result_that_could_not_be_pickled() -> None:
    record = capture_transport(RESULT, raised(TypeError("cannot pickle it")), {"a": 1})
    arrived = restore(record, ITEM)
    assert isinstance(arrived, TransportError)
    assert (arrived.what, arrived.side) == ("result", "worker")
    assert "cannot pickle it" in str(arrived)
    assert "{'a': 1}" in str(arrived)


@pytest.mark.parametrize("error", [BadRepr(), ExitingRepr(), Holding(), Frozen("a", 1)])
def test_transport_of_an_exotic_cause(error: Exception) -> None:
    for kind in (ARGUMENT, FUNCTION, RESULT):
        with showing_exits():
            arrived = restore(capture_transport(kind, raised(error), error), ITEM)
        assert isinstance(arrived, TransportError)


def test_what_failed_at_the_caller_says_so() -> None:
    error = ValueError("a")
    unsent, unloaded = unsent_argument(error, "", ITEM), unloaded_result(error, ITEM)
    assert isinstance(unsent, TransportError)
    assert isinstance(unloaded, TransportError)
    assert (unsent.what, unsent.side, unsent.__cause__) == ("argument", "caller", error)
    assert (unloaded.what, unloaded.side, unloaded.__cause__) == ("result", "caller", error)


# --- failures as values ------------------------------------------------------------------------


def test_a_failure_fits_a_line() -> None:
    failure = Failure(ValueError("bad\npage " + "x" * 500), 7, "render", "'page.md'", "")
    text = repr(failure)
    assert text.startswith("<Failure of item 7, render('page.md'): ValueError: bad page xxx")
    assert "\n" not in text
    assert len(text) < 200


def test_a_failure_survives_pickling() -> None:
    failure = Failure(KeyError("k"), 7, "render", "'page.md'", "Traceback ...")
    again: Any = pickle.loads(pickle.dumps(failure))
    assert type(again) is Failure
    assert repr(again) == repr(failure)
    assert again.traceback == failure.traceback


def test_a_failure_of_an_exception_that_cannot_be_shown() -> None:
    assert "BadRepr" in repr(Failure(BadRepr(), 7, "render", "'page.md'", ""))


class OneArgument(Failure):
    """A failure of a user's own, made in another way and with more to it."""

    __match_args__ = ("error",)

    def __init__(self, error: Exception, more: str) -> None:
        super().__init__(error, 3, "f", "x", "")
        vars(self)["more"] = more


def pickled(value: object) -> object:
    """Return what comes of a pickle."""
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_a_failure_of_a_users_own_class_is_copied_whole(again: Callable[[Any], Any]) -> None:
    failure = OneArgument(ValueError("x"), "more")
    other = again(failure)
    assert type(other) is OneArgument
    assert vars(other).keys() == vars(failure).keys()
    assert vars(other)["more"] == "more"
    assert other.index == 3
    assert failure != OneArgument(ValueError("x"), "more"), "errors are equal to themselves only"
    assert hash(failure) == hash(copy.copy(failure))
    assert failure == copy.copy(failure)


def test_a_failure_can_be_referred_to_weakly() -> None:
    failure = Failure(ValueError("x"), 3, "f", "x", "")
    assert weakref.ref(failure)() is failure
