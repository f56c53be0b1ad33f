"""The *failure record*: what a worker sends to the caller in place of a result if an item fails.

A failure record is a list of plain values: the kind of failure, the pickled exception (None if the
exception cannot be pickled), the repr of the exception, a further text (such as the repr of a value
that could not be pickled), the traceback of the exception. At the caller, the module `item_errors`
makes from the failure record the exception that the call raises.
"""

from __future__ import annotations

from . import process_role
from .exceptions import describe, rebuilt, safe_text
from .values import dumps, loads

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from .trace import Trace

    Record: TypeAlias = list[Any]

RAISED, CONTROL, UNSENDABLE, ARGUMENT, RESULT, FUNCTION, TOO_LONG = range(7)


def is_control_flow(error: BaseException) -> bool:
    """Return whether `error` would change the control flow of a process that raises it again.

    Examples are KeyboardInterrupt, SystemExit and StopIteration.
    """
    return not isinstance(error, Exception) or isinstance(
        error, (StopIteration, StopAsyncIteration)
    )


def capture(error: BaseException) -> Record:
    """Return the failure record of an exception that the user's function raised in a worker."""
    error = _explained(error)
    return _record(CONTROL if is_control_flow(error) else RAISED, error)


def capture_transport(kind: int, error: BaseException, value: object = None) -> Record:
    """Return the failure record for an object that the worker could not load or pickle."""
    error = _explained(error)
    record = _record(kind, error)
    record[2] = describe(error)
    if kind == RESULT and isinstance(error, Exception):
        from .by_value.blame import where_it_fails

        record[1] = None
        record[2] += where_it_fails(value, "the result", error)
    record[3] = safe_text(repr, value)
    return record


def _explained(error: BaseException) -> BaseException:
    """Return `error`; if its cause is a module that refuses this interpreter, name the module."""
    if not process_role.shares_process:
        return error
    # Only workers that are interpreters need this module, so worker processes do not import it.
    from .refusing_modules import explained

    return explained(error)


def _record(kind: int, error: BaseException) -> Record:
    trace = safe_trace(error)
    try:
        data = _sendable(error)
    except BaseException as why:
        # Pickling an exception runs its own methods, which may raise anything, even SystemExit.
        return [UNSENDABLE, None, describe(error), describe(why), trace]
    return [kind, data, describe(error), "", trace]


def safe_trace(error: BaseException) -> Trace:
    """Return the traceback of `error` as plain values; empty if it cannot be made."""
    try:
        # The module `trace` is imported only when an item fails, because it is seldom needed.
        from .trace import trace_of

        return trace_of(error, _sendable)
    # The import fails if this process can open no more files. And the exception's class may have
    # properties in place of attributes, which may raise anything.
    except BaseException:
        return (), None, False, ()


def _sendable(error: BaseException) -> bytes:
    """Return a pickle of `error`, after testing that the pickle can be loaded again."""
    try:
        data = dumps(error)
        again = _try_loads(data)
        # Loading the pickle calls the exception's `__init__` with `args`. An `__init__` that makes
        # a message from its arguments then makes a message of the message. The comparison of the
        # `args` of the exception and of its copy shows that.
        if type(again) is type(error) and _have_equal_args(again, error):
            return data
    except BaseException:
        # What pickle writes for the exception could not be loaded again, so another form is tried
        # next.
        pass
    # Loading what pickle writes calls the exception's `__init__` with `args`. That fails for many
    # exceptions, whose `__init__` takes other arguments. This second form has only class, `args`
    # and `__dict__`, and calls no `__init__`.
    bare = _Bare(type(error), error.args, dict(error.__dict__))
    try:
        data = dumps(bare)
        if _have_equal_args(_try_loads(data), error):
            return data
    except BaseException:
        # The second form of the exception could not be loaded again, so a third form is tried next.
        pass
    from .by_value.picklers import Home, dumps_full

    role = Home()
    # The third form has the exception's class with its contents. `skips_init` also keeps the
    # receiver from calling the `__init__` of exceptions inside this one, such as the members of a
    # group.
    role.skips_init = True
    data = dumps_full(role, bare)
    _try_loads(data)
    return data


def _have_equal_args(again: BaseException, error: BaseException) -> bool:
    try:
        wanted = dumps(error.args)
    except Exception:
        # `args` cannot be pickled, and so cannot be compared. The pickle of the exception itself
        # does not have them, so the copy counts as equal.
        return True
    return dumps(again.args) == wanted


class _Bare:
    """Stands for an exception in a pickle: loading makes the exception without ``__init__``."""

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
        return rebuilt, self.parts


def _try_loads(data: bytes) -> Any:
    try:
        return loads(data)
    except Exception:
        raise
    except BaseException as error:  # whatever is raised, even SystemExit, must not end the worker
        raise TypeError(f"loading it again raised {describe(error)}") from None
