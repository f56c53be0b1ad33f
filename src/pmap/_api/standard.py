"""``isinstance`` with the classes of ``multiprocessing.pool``, which is not imported for it.

A program that asks ``isinstance(pool, multiprocessing.pool.Pool)`` has imported that module, and
the others are spared an import that takes longer than that of pmap and its pool. ``isinstance``
looks at an object's type, and if that is not enough at its ``__class__``: so there we are asked.

Pools become subclasses of the standard classes when these are there, for good; whatever they
inherit stands behind what they have themselves. Handles and streams do not: a handle has no room
for the attributes of the standard class, and which one it stands for depends on the call. Their
``__class__`` is a subclass of both, of which no instance is ever made.
"""

import sys
from typing import TYPE_CHECKING

_MODULE = "multiprocessing.pool"


def standard_class(name: str) -> type | None:
    """Return a class of ``multiprocessing.pool``, or None: that is not imported (to its end)."""
    found: object = getattr(sys.modules.get(_MODULE), name, None)
    return found if isinstance(found, type) else None


# --- pools ---------------------------------------------------------------------------------------

_pools: list[tuple[type, str]] = []  # our classes, each before those that derive from it


class PoolBase:
    """The base of our pools until the standard class takes its place."""

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            kind = type(self)
            if not derive() or not vars(self):  # nobody has a pool that is still being made
                return kind
            # This property is gone with that. But the type was looked at already for this question.
            return next(one for one in kind.__mro__ if one.__module__ == _MODULE)


def stands_for(cls: type, name: str) -> None:
    """Let `cls` be a subclass of the class `name` of ``multiprocessing.pool``, once that is there.

    Those it derives from itself come before.
    """
    _pools.append((cls, name))
    derive()


def derive() -> bool:
    """Make our pools subclasses of the standard ones, if these are there; return whether.

    Two threads may be here at once: both do the same.
    """
    pairs = [(cls, standard_class(name)) for cls, name in _pools]
    try:
        for cls, theirs in pairs:
            if theirs is None:
                return False
            if not issubclass(cls, theirs):
                others = [base for base in cls.__bases__ if base is not PoolBase]
                type.__setattr__(cls, "__bases__", (*others, theirs))
    except TypeError:  # the program has put something else in their place, our own class perhaps
        return False
    return True


# --- handles and streams -------------------------------------------------------------------------

_both: dict[tuple[type, type], type] = {}


def class_of_both(kind: type, name: str) -> type:
    """Return a subclass of `kind` and of the class `name` of ``multiprocessing.pool``.

    It is `kind` itself where that is not imported.
    """
    theirs = standard_class(name)
    if theirs is None:
        return kind
    found = _both.get((kind, theirs))
    if found is None:
        body = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__slots__": ()}
        found = _both.setdefault((kind, theirs), type(kind)(kind.__name__, (kind, theirs), body))
    return found
