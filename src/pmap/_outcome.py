"""What came of one item: a failure as a value, and its way from a worker to the caller.

A worker turns an exception into a *record*, a list of plain values, with `capture`; the caller
turns the record into the exception to raise with `restore`.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from ._errors import ControlFlowError, TransportError
from ._wire import dumps, loads

__all__ = ["Failure", "Item", "Record", "capture", "capture_transport", "restore", "settle"]

E = TypeVar("E", bound=BaseException)

# [kind, pickled exception or None, type name, text, traceback]
Record: TypeAlias = list[Any]

RAISED, CONTROL, UNSENDABLE, ARGUMENT, RESULT, FUNCTION = range(6)


@dataclass(frozen=True, slots=True)
class Item:
    """Which item is meant, for a message: the function's name, the index, a repr of the input."""

    function: str
    index: int
    input: str


@dataclass(frozen=True, repr=False)
class Failure:
    """What stands where an item's result would be, when failures are collected.

    Attributes:
        error: the exception that the item ended with.
        index: the position of the item in the input.
        function: the name of the function.
        input: a short repr of the item.
        traceback: the traceback in the worker, as text; empty where there was none.
    """

    error: Exception
    index: int
    function: str
    input: str
    traceback: str

    def __repr__(self) -> str:
        text = " ".join(str(self.error).split())
        text = text if len(text) <= 100 else text[:97] + "..."
        kind = type(self.error).__name__
        return f"<Failure of item {self.index}, {self.function}({self.input}): {kind}: {text}>"


def is_control_flow(error: BaseException) -> bool:
    """Return whether `error` would bend the caller's control flow if it were raised there."""
    return not isinstance(error, Exception) or isinstance(
        error, (StopIteration, StopAsyncIteration)
    )


def capture(error: BaseException) -> Record:
    """Return the record of an exception that the function raised (in the worker)."""
    return _record(CONTROL if is_control_flow(error) else RAISED, error)


def capture_transport(kind: int, error: BaseException, value: object = None) -> Record:
    """Return the record of an object that could not be loaded or pickled (in the worker)."""
    record = _record(kind, error)
    record[2] = describe(error)
    record[3] = _safe(repr, value)
    return record


def _record(kind: int, error: BaseException) -> Record:
    text = format_traceback(error)
    try:
        data = _sendable(error)
    except Exception as why:  # whatever the exception's own pickling does
        return [UNSENDABLE, None, describe(error), describe(why), text]
    return [kind, data, describe(error), "", text]


def _sendable(error: BaseException) -> bytes:
    """Return `error` pickled in a form that was seen to load again."""
    try:
        data = dumps(error)
        if type(_try_loads(data)) is type(error):
            return data
    except Exception:
        pass  # the second form may still work
    # Many exceptions have an __init__ that takes other arguments than it passes on, so pickle's
    # own form calls it wrongly. Their state alone is enough.
    data = dumps(_Bare(type(error), error.args, dict(error.__dict__)))
    _try_loads(data)
    return data


class _Bare:
    """An exception's type and state, to be put together without calling its ``__init__``."""

    def __init__(
        self, cls: type[BaseException], args: tuple[object, ...], state: dict[str, object]
    ) -> None:
        self.parts = (cls, args, state)

    def __reduce__(
        self,
    ) -> tuple[
        Callable[..., BaseException],
        tuple[type[BaseException], tuple[object, ...], dict[str, object]],
    ]:
        return _without_init, self.parts


def _without_init(
    cls: type[BaseException], args: tuple[object, ...], state: dict[str, object]
) -> BaseException:
    error = BaseException.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _try_loads(data: bytes) -> object:
    try:
        return loads(data)
    except Exception:
        raise
    except BaseException as error:  # SystemExit while loading must not end the worker
        raise pickle.UnpicklingError(f"loading it again raised {describe(error)}") from None


def restore(record: Record, item: Item) -> Exception:
    """Return the exception for `record`, to be raised or kept at the caller."""
    kind: int
    data: bytes | None
    name: str
    text: str
    trace: str
    kind, data, name, text, trace = record
    if kind == RESULT:
        from ._drop_in import ResultPicklingError

        return _with_trace(
            ResultPicklingError(
                name, text, function=item.function, index=item.index, input=item.input
            ),
            trace,
        )
    cause: BaseException | None = None
    if isinstance(data, bytes):
        try:
            loaded = loads(data)
            assert isinstance(loaded, BaseException)
            cause = loaded
        except BaseException as why:  # loading runs code of the exception's class
            if isinstance(why, KeyboardInterrupt):
                raise
            kind, text = UNSENDABLE, f"it loads in the worker but not here: {describe(why)}"
    if kind == RAISED and isinstance(cause, Exception):
        return _with_trace(_with_note(cause, item), trace)
    if kind == CONTROL and cause is not None:
        error: Exception = ControlFlowError(
            name, function=item.function, index=item.index, input=item.input
        )
        error.__cause__ = _with_trace(cause, trace)
        return error
    if kind == ARGUMENT:
        error = _transport("argument", "worker", name, item)
    elif kind == FUNCTION:
        error = _transport("function", "worker", name, item)
    else:
        why_not = f"{name} was raised, and that exception cannot be sent: {text}"
        error = _transport("exception", "worker", why_not, item)
    if cause is not None:
        error.__cause__ = _with_trace(cause, trace)
        return error
    return _with_trace(error, trace)


def settle(error: BaseException, item: Item) -> Exception:
    """Return what to raise or keep for `error`, raised in this process (threads, serial)."""
    if is_control_flow(error):
        wrapped = ControlFlowError(
            describe(error), function=item.function, index=item.index, input=item.input
        )
        wrapped.__cause__ = error
        return wrapped
    assert isinstance(error, Exception)
    return _with_note(error, item)


def unsent_argument(error: BaseException, item: Item) -> Exception:
    """Return the error of an item whose arguments could not be pickled at the caller."""
    wrapped = _transport("argument", "caller", describe(error), item)
    wrapped.__cause__ = error
    return wrapped


def unloaded_result(error: BaseException, item: Item) -> Exception:
    """Return the error of an item whose result could not be loaded at the caller."""
    wrapped = _transport("result", "caller", describe(error), item)
    wrapped.__cause__ = error
    return wrapped


def _transport(what: str, side: str, why: str, item: Item) -> Exception:
    return TransportError(
        what, side, why, function=item.function, index=item.index, input=item.input
    )


def _with_note(error: Exception, item: Item) -> Exception:
    note = f"pmap: item {item.index}, {item.function}({item.input})"
    if note not in getattr(error, "__notes__", ()):  # one object may be raised for an item twice
        error.add_note(note)
    return error


def _with_trace(error: E, trace: str) -> E:
    if trace:
        from ._drop_in import with_remote_traceback

        with_remote_traceback(error, trace)
    return error


def describe(error: BaseException) -> str:
    """Return type and text of `error` in one line; never raises.

    >>> describe(ValueError("bad page"))
    "ValueError('bad page')"
    """
    return _safe(repr, error)


def _safe(show: Callable[[object], str], value: object) -> str:
    try:
        text = show(value)
    except Exception as error:  # a repr may do anything; the message must still be made
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return text if len(text) <= 300 else text[:297] + "..."


def format_traceback(error: BaseException) -> str:
    """Return the traceback of `error` as text, without the frames of pmap itself at its top."""
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception as why:  # the exception's own __str__ may raise
        return f"{type(error).__name__} (its traceback could not be made: {type(why).__name__})\n"
