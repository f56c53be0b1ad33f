"""Pickling objects whose classes derive from `property`, `classmethod` or another descriptor."""

from __future__ import annotations

import functools

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any

# For each of Python's descriptor classes: the names of the attributes in which an instance keeps
# the arguments from which it was made, in the order of the arguments.
_DESCRIPTORS: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel", "__doc__"),
    classmethod: ("__func__",),
    staticmethod: ("__func__",),
    functools.cached_property: ("func",),
}
# From Python 3.15 on, objects of these classes have to get their argument when they are made.
_AT_ONCE: frozenset[type] = frozenset((classmethod, staticmethod))


def reduce_descriptor(obj: object, base: type) -> tuple[object, ...]:
    """Return what pickle is to write for an instance of a subclass of the descriptor `base`."""
    state: dict[str, object] = dict(vars(obj))
    if base is functools.cached_property:
        state.pop("lock", None)  # in Python 3.11 it has a lock, which cannot be pickled
    arguments = tuple([getattr(obj, name) for name in _DESCRIPTORS[base]])
    return make_descriptor, (type(obj), base, arguments), state or None


def make_descriptor(kind: Any, base: Any, arguments: tuple[object, ...]) -> object:
    """Return an instance of a subclass of `property` or the like; run no code of the subclass."""
    given = arguments if base in _AT_ONCE else ()
    made: Any = base.__new__(kind, *given)
    base.__init__(made, *arguments)
    return made
