"""``isinstance`` with the classes of ``multiprocessing.pool``, without importing that module.

A program that asks ``isinstance(pool, multiprocessing.pool.Pool)`` has imported the module itself.
Other programs are spared the import, which takes longer than that of pmap and its pool.
``isinstance`` looks at the type of an object, and then at its ``__class__``. So ``__class__`` is a
property here, which looks whether the module has been imported.

Pools become subclasses of the standard classes as soon as these exist, and stay so. The standard
class is the last base, so the methods of pmap come first. Handles and streams do not become
subclasses: a handle has slots, and none for the attributes of the standard class; and which
standard class it corresponds to depends on the call. Their ``__class__`` is a class that derives
from their own class and from the standard one, and has no instances.
"""

import sys
from typing import TYPE_CHECKING

_MODULE = "multiprocessing.pool"


def standard_class(name: str) -> type | None:
    """Return a class of ``multiprocessing.pool``. None: the module is not (completely) imported."""
    found: object = getattr(sys.modules.get(_MODULE), name, None)
    return found if isinstance(found, type) else None


# --- pools that are also pools of multiprocessing ------------------------------------------------

# Pool classes of pmap, each before its subclasses, and the names of the standard classes for them.
_pools: list[tuple[type, str]] = []


class PoolBase:
    """The base class of pmap's pools, until `derive` replaces it by the standard class."""

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            kind = type(self)
            # The object has no attributes yet, as its `__init__` has not run.
            if not derive() or not vars(self):
                return kind
            # `derive` has taken this class, and so this property, out of the bases. From now on the
            # type answers `isinstance`. But the call of `isinstance` that led here looked at the
            # type before that, so it gets the standard class itself.
            return next(one for one in kind.__mro__ if one.__module__ == _MODULE)


def stands_for(cls: type, name: str) -> None:
    """Make `cls` a subclass of the class `name` of ``multiprocessing.pool`` once that exists.

    It has to be called for a class before it is called for subclasses of that class.
    """
    _pools.append((cls, name))
    derive()


def derive() -> bool:
    """Make pmap's pools subclasses of the standard ones, if these are imported.

    Return whether they are subclasses. Two threads may call this at the same time: both make the
    same change.
    """
    pairs = [(cls, standard_class(name)) for cls, name in _pools]
    try:
        for cls, theirs in pairs:
            if theirs is None:
                return False
            if not issubclass(cls, theirs):
                others = [base for base in cls.__bases__ if base is not PoolBase]
                type.__setattr__(cls, "__bases__", (*others, theirs))
    except TypeError:
        # the program has replaced the standard class by another object, perhaps by pmap's own class
        return False
    return True


# --- handles and streams that are also those of multiprocessing ----------------------------------

_both: dict[tuple[type, type], type] = {}


def class_of_both(kind: type, name: str) -> type:
    """Return a subclass of `kind` and of the class `name` of ``multiprocessing.pool``.

    If ``multiprocessing.pool`` is not imported, return `kind` itself.
    """
    theirs = standard_class(name)
    if theirs is None:
        return kind
    found = _both.get((kind, theirs))
    if found is None:
        body = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__slots__": ()}
        found = _both.setdefault((kind, theirs), type(kind)(kind.__name__, (kind, theirs), body))
    return found
