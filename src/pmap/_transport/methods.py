"""Bound methods of which pickle would write a name that does not lead back to them.

Pickle writes a bound method as an object and the method's name. That is wrong for a function that
the program has bound to an object itself, as in ``robot.go = MethodType(run, robot)``: the object
has no attribute of that name, or has a method of its class there.
"""

from __future__ import annotations

from types import MethodType

from . import light_pickle

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any


class _FoundError(Exception):
    """Raised by a trial pickler at a bound method whose name does not lead back to the method."""


def has_own_method(value: object) -> bool:
    """Return whether `value` has a bound method in it that its name does not lead back to.

    `value` is an object that can be pickled.
    """
    import copyreg

    pickler = light_pickle.Pickler(light_pickle.BytesIO(), 5, buffer_callback=_leave_out)
    pickler.dispatch_table = {**copyreg.dispatch_table, MethodType: _reduce}
    try:
        pickler.dump(value)
    except _FoundError:
        return True
    return False


def _leave_out(_: object) -> None:
    """Let a pickler leave a buffer out of the pickle."""


def _reduce(method: Any) -> Any:
    """Return what pickle writes for a method; raise `_FoundError` if that is not the method."""
    owner, name = method.__self__, method.__name__
    # When a receiver looks up the method by its name, the attributes of the object are not set yet.
    own = not isinstance(owner, type) and name in getattr(owner, "__dict__", ())
    if own or getattr(owner, name, None) != method:
        raise _FoundError
    return getattr, (owner, name)
