"""What came of one item that failed, at the caller: the exception to raise or to keep."""

import os
from typing import Any, Final, TypeVar

from .._errors import ControlFlowError, TaskTimeout, TransportError, is_ctrl_c
from .._transport.exceptions import describe
from .._transport.failure_record import (
    ARGUMENT,
    CONTROL,
    FUNCTION,
    RAISED,
    RESULT,
    TOO_LONG,
    UNSENDABLE,
    is_control_flow,
)
from .._transport.values import loads

E = TypeVar("E", bound=BaseException)


class Item:
    """Which item is meant, for a message: the function's name, the index, a repr of the input."""

    __slots__ = ("function", "index", "input")

    def __init__(self, function: str, index: int, input: str) -> None:
        self.function: str = function
        self.index: int = index
        self.input: str = input


INITIALIZER: Final = Item("initializer", 0, "...")  # what a message says of one


def restore(record: list[Any], item: Item, limit: float | None = None) -> Exception:
    """Return the exception for `record`, to be raised or kept at the caller.

    `limit`: how long the item was allowed to run, in seconds.
    """
    kind: int
    data: bytes | None
    name: str
    text: str
    trace: str
    kind, data, name, text, trace = record
    if kind == RESULT:
        from .._multiprocessing_errors import ResultPicklingError

        unsent = ResultPicklingError(
            name, text, function=item.function, index=item.index, input=item.input
        )
        if data is not None:  # its pickling raised SystemExit, or the like
            unsent.__cause__ = _with_trace(loads(data), trace)
            return unsent
        return _with_trace(unsent, trace)
    if kind == TOO_LONG:
        late = TaskTimeout(
            limit=limit or 0.0, function=item.function, index=item.index, input=item.input
        )
        late.stack = trace
        return _with_trace(late, trace)
    cause: BaseException | None = None
    if isinstance(data, bytes):
        try:
            loaded = loads(data)
            assert isinstance(loaded, BaseException)
            cause = loaded
        except BaseException as why:  # loading runs code of the exception's class
            if is_ctrl_c(why):
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


def unsent_argument(error: BaseException, where: str, item: Item) -> Exception:
    """Return the error of an item whose arguments could not be pickled at the caller.

    `where`: which object in them is to blame.
    """
    from .._multiprocessing_errors import NotPicklableError

    wrapped = NotPicklableError(
        "argument",
        "caller",
        describe(error) + where,
        function=item.function,
        index=item.index,
        input=item.input,
    )
    wrapped.__cause__ = error
    return wrapped


def unloaded_result(error: BaseException, item: Item) -> Exception:
    """Return the error of an item whose result could not be loaded at the caller."""
    wrapped = _transport("result", "caller", describe(error), item)
    wrapped.__cause__ = error
    return wrapped


def readable_stack(text: str) -> str:
    """Return what a dying worker said of its stack as a traceback has it: the innermost last.

    Frames of pmap itself, which are the outermost, are left out.
    """
    frames: list[str] = []
    for line in text.splitlines():
        if not line.startswith("  File "):
            break  # the next thread, or the extension modules
        if f"{os.sep}pmap{os.sep}_" in line:
            break
        frames.append(line)
    return "\n".join(["Stack (most recent call last):", *reversed(frames)]) if frames else ""


def with_stack(error: E, stack: str) -> E:
    """Return `error` with the stack that its item was in as its cause."""
    return _with_trace(error, stack)


def tried(error: Exception, attempts: int) -> Exception:
    """Return `error` with a note that says how often its item was tried."""
    if attempts > 1:
        add_note(error, f"pmap: tried {attempts} times")
    return error


def _transport(what: str, side: str, why: str, item: Item) -> Exception:
    return TransportError(
        what, side, why, function=item.function, index=item.index, input=item.input
    )


def _with_note(error: Exception, item: Item) -> Exception:
    add_note(error, f"pmap: item {item.index}, {item.function}({item.input})")
    return error


def add_note(error: Exception, note: str) -> None:
    """Give `error` a note, unless it has it."""
    try:
        if note not in getattr(error, "__notes__", ()):  # it may be raised for an item twice
            error.add_note(note)
    except Exception:
        vars(error).setdefault("__notes__", [note])  # a frozen dataclass, say, takes none so


def _with_trace(error: E, trace: str) -> E:
    if trace:
        from .._multiprocessing_errors import with_remote_traceback

        with_remote_traceback(error, trace)
    return error
