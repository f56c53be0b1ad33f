"""The *failure record* of an item: what a worker sends to the caller when the item failed.

A failure record is a list of plain values: the kind of failure, the pickled exception (None if the
exception cannot be pickled), the repr of the exception, a text, the traceback of the exception. At
the caller, the module `item_errors` makes from the failure record the exception that the call
raises.
"""

from __future__ import annotations

from .exceptions import describe, rebuilt, safe_text
from .shadows import standard_library
from .values import dumps, loads

TYPE_CHECKING = False  # `typing` is not imported here: see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Record: TypeAlias = list[Any]

_PACKAGE = __name__.partition(".")[0]

RAISED, CONTROL, UNSENDABLE, ARGUMENT, RESULT, FUNCTION, TOO_LONG = range(7)


def is_control_flow(error: BaseException) -> bool:
    """Return whether raising `error` at the caller would change the caller's control flow."""
    return not isinstance(error, Exception) or isinstance(
        error, (StopIteration, StopAsyncIteration)
    )


def capture(error: BaseException) -> Record:
    """Return the failure record of an exception that the user's function raised in a worker."""
    return _record(CONTROL if is_control_flow(error) else RAISED, error)


def capture_transport(kind: int, error: BaseException, value: object = None) -> Record:
    """Return the failure record of an object that the worker could not load or pickle."""
    record = _record(kind, error)
    record[2] = describe(error)
    if kind == RESULT and isinstance(error, Exception):
        from .by_value.blame import where_it_fails

        record[1] = None
        record[2] += where_it_fails(value, "the result", error)
    record[3] = safe_text(repr, value)
    return record


def _record(kind: int, error: BaseException) -> Record:
    text = format_traceback(error)
    try:
        data = _sendable(error)
    except BaseException as why:
        # The exception's own methods for pickling may raise anything, SystemExit included.
        return [UNSENDABLE, None, describe(error), describe(why), text]
    return [kind, data, describe(error), "", text]


def _sendable(error: BaseException) -> bytes:
    """Return `error` pickled in a form that this process has loaded again successfully."""
    try:
        data = dumps(error)
        again = _try_loads(data)
        # Compare the `args` of the exception and of its copy. Loading the pickle calls the
        # exception's `__init__` with `args`. An `__init__` that makes a message from its arguments
        # then makes a message of the message.
        if type(again) is type(error) and _have_equal_args(again, error):
            return data
    except BaseException:
        # Pickling the exception in the second form, below, may work.
        pass
    # Second form: only class, `args` and `__dict__` are pickled. Many exceptions have an `__init__`
    # that takes other arguments than it passes to its base class, so loading pickle's own form
    # calls the `__init__` wrongly.
    bare = _Bare(type(error), error.args, dict(error.__dict__))
    try:
        data = dumps(bare)
        if _have_equal_args(_try_loads(data), error):
            return data
    except BaseException:
        # Pickling the exception in the third form, below, may work.
        pass
    from .by_value.picklers import Home, dumps_full

    role = Home()
    # Third form: by value. `skips_init` also keeps the receiver from calling the `__init__` of
    # exceptions inside this exception, such as the members of an exception group.
    role.skips_init = True
    data = dumps_full(role, bare)
    _try_loads(data)
    return data


def _have_equal_args(again: BaseException, error: BaseException) -> bool:
    try:
        wanted = dumps(error.args)
    except Exception:
        # The `args` of the exception cannot be pickled. The exception class's own pickling leaves
        # out `args`, and has just worked.
        return True
    return dumps(again.args) == wanted


class _Bare:
    """An exception's type and state; loading it does not call the exception's ``__init__``."""

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
    except BaseException as error:  # a SystemExit while loading must not end the worker
        raise TypeError(f"loading it again raised {describe(error)}") from None


def format_traceback(error: BaseException) -> str:
    """Return the traceback of `error` as text, without the frames of pmap itself at its top."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_globals):
        trace = trace.tb_next
    with standard_library:
        # Within `standard_library`, imports find the standard library and no file of the user's
        # that has the same name. The text is made here, too: from Python 3.13 on `traceback`
        # imports modules when it first makes one.
        import traceback

        try:
            return "".join(traceback.format_exception(type(error), error, trace))
        # The exception's own `__str__` may raise.
        except BaseException as why:
            name = type(why).__name__
            return f"{type(error).__name__} (its traceback could not be made: {name})\n"


def _is_ours(names: dict[str, Any]) -> bool:
    # A frame is pmap's own if the globals of its function name the package `pmap`. But code that
    # runs as `python -m pmap` is part of the package, and still a user's program: there `__name__`
    # is "__main__". Any object may stand in the globals under `__package__`.
    package: object = names.get("__package__")
    ours = isinstance(package, str) and package.partition(".")[0] == _PACKAGE
    return ours and names.get("__name__") != "__main__"
