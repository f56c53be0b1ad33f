"""The exceptions of failed items, made in the caller's process."""

import os
from typing import Any, Final, TypeVar

from .._errors import ControlFlowError, PmapError, TaskTimeout, TransportError, is_ctrl_c
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
    """Describes an item in error messages: name of its function, its index, repr of its input."""

    __slots__ = ("function", "index", "input")

    def __init__(self, function: str, index: int, input: str) -> None:
        self.function: str = function
        self.index: int = index
        self.input: str = input


# Describes, in error messages, the initializer of a pool, which belongs to no item.
INITIALIZER: Final = Item("initializer", 0, "...")


def restore(
    record: list[Any], item: Item, limit: float | None = None, as_text: bool = False
) -> Exception:
    """Return the exception of a failed item, from the failure record that its worker has sent.

    Args:
        record: the failure record: a list of plain values that a worker sends in place of a result.
        item: the item that failed.
        limit: how many seconds the item was allowed to run.
        as_text: whether the exception gets the worker's traceback as a text in its ``__cause__``,
            as with the pools of the standard library. Otherwise the worker's traceback becomes the
            traceback of the exception.
    """
    # The module is imported only when an item fails: most calls do not need it.
    from .remote_frames import give_trace

    error, raised = _restored(record, item, limit)
    name, trace = record[2], record[4]
    give_trace(raised, trace)
    if as_text or isinstance(raised, TaskTimeout):
        from .._calls.traceback_text import format_traceback

        text = format_traceback(raised, name if isinstance(raised, PmapError) else None)
        if isinstance(raised, TaskTimeout):
            raised.stack = text
        if as_text:
            _put_into_cause(raised, text)
    if raised is error and not isinstance(error, PmapError):
        _with_note(error, item)
    return error


def logged(record: list[Any], item: Item) -> Exception:
    """Return an exception that an item has logged, rebuilt from what its worker has sent."""
    from .remote_frames import give_trace

    error, raised = _restored(record, item, None)
    give_trace(raised, record[4])
    return error


def _restored(
    record: list[Any], item: Item, limit: float | None
) -> tuple[Exception, BaseException]:
    """Return the exception of a failed item, and the exception that was raised in the worker.

    Both may be the same object; else the second is the cause of the first.
    """
    kind: int
    data: bytes | None
    name: str
    text: str
    kind, data, name, text, _ = record
    if kind == RESULT:
        from .._multiprocessing_errors import ResultPicklingError

        unsent = ResultPicklingError(
            name, text, function=item.function, index=item.index, input=item.input
        )
        # Pickling the result has raised `SystemExit` or the like, and the worker has sent that
        # exception, too.
        if data is not None:
            return unsent, _as_cause(unsent, loads(data))
        return unsent, unsent
    if kind == TOO_LONG:
        # The exception gets no traceback here: the worker has sent one, and `restore` adds it
        # later.
        late = too_late(item, limit, "", False)
        return late, late
    cause: BaseException | None = None
    if isinstance(data, bytes):
        try:
            loaded = loads(data)
            assert isinstance(loaded, BaseException)
            cause = loaded
        except BaseException as why:
            # Unpickling an exception runs code of its class, which may raise anything.
            if is_ctrl_c(why):
                raise
            kind, text = UNSENDABLE, f"it loads in the worker but not here: {describe(why)}"
    if kind == RAISED and isinstance(cause, Exception):
        return cause, cause
    if kind == CONTROL and cause is not None:
        error: Exception = ControlFlowError(
            name, function=item.function, index=item.index, input=item.input
        )
        return error, _as_cause(error, cause)
    if kind == ARGUMENT:
        error = _transport("argument", "worker", name, item)
    elif kind == FUNCTION:
        error = _transport("function", "worker", name, item)
    else:
        why_not = f"{name} was raised, and that exception cannot be sent: {text}"
        error = _transport("exception", "worker", why_not, item)
    return error, error if cause is None else _as_cause(error, cause)


def _as_cause(error: Exception, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return cause


def settle(error: BaseException, item: Item) -> Exception:
    """Return the exception of an item that raised `error` in this process.

    With the backends threads and serial, items run in this process.
    """
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

    `where` says which object in the arguments cannot be pickled.
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


def too_late(item: Item, limit: float | None, stack: str, as_text: bool) -> TaskTimeout:
    """Return the error of an item that ran for longer than `limit` seconds.

    `stack`, which `readable_stack` returns, tells where the item was. The function `restore`
    explains `as_text`.
    """
    error = TaskTimeout(
        limit=limit or 0.0,
        function=item.function,
        index=item.index,
        input=item.input,
        stack=stack,
    )
    return with_stack(error, stack, as_text)


def readable_stack(text: str) -> str:
    """Return the stack that a dying worker wrote, in the order of a traceback: innermost last.

    The outermost frames, which are those of pmap itself, are left out.
    """
    frames: list[str] = []
    for line in text.splitlines():
        if not line.startswith("  File "):
            # What follows is about another thread, or a list of modules, and is left out.
            break
        if f"{os.sep}pmap{os.sep}_" in line:
            break
        frames.append(line)
    return "\n".join(["Stack (most recent call last):", *reversed(frames)]) if frames else ""


def with_stack(error: E, stack: str, as_text: bool) -> E:
    """Return `error` with a traceback that shows where its item was when its worker was killed.

    `stack` is what `readable_stack` has returned. The function `restore` explains `as_text`.
    """
    if stack and as_text:
        _put_into_cause(error, stack)
    elif stack:
        from .remote_frames import traceback_of_stack

        error.__traceback__ = traceback_of_stack(stack)
    return error


def tried(error: Exception, attempts: int) -> Exception:
    """Return `error`, with a note that says how often its item was tried, if more than once."""
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
    """Add a note to `error`, unless `error` has that note already."""
    try:
        # An item that is tried again may raise the same exception object, which has the note
        # already.
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    except Exception:
        # `add_note` fails if the class of `error` forbids new attributes, like a frozen dataclass.
        vars(error).setdefault("__notes__", [note])


def _put_into_cause(error: BaseException, text: str) -> None:
    from .._multiprocessing_errors import with_remote_traceback

    with_remote_traceback(error, text)
