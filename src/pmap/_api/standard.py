"""``isinstance`` with classes of ``multiprocessing.pool``, without an import of that module.

A program that asks ``isinstance(pool, multiprocessing.pool.Pool)`` has imported that module itself.
Other programs do not pay for the import, which takes longer than that of pmap and its pool.
``isinstance`` looks at the type of an object, and then at its ``__class__``. So ``__class__`` is a
property here, which checks whether the program has imported the module.

pmap's pools become subclasses of the standard classes as soon as these exist, and stay so. The
standard class is the last base, so that pmap's methods come first. Handles and streams do not
become subclasses: a handle has slots, and no slot for the attributes of the standard class. And
which standard class stands for a handle depends on the call. The ``__class__`` of a handle or a
stream is a class without instances, which derives from its own class and from the standard one.
"""

import sys
from typing import TYPE_CHECKING

_MODULE = "multiprocessing.pool"


def standard_class(name: str) -> type | None:
    """Return a class of ``multiprocessing.pool``; None if the module is not completely imported."""
    found: object = getattr(sys.modules.get(_MODULE), name, None)
    return found if isinstance(found, type) else None


# --- pools that are also pools of multiprocessing ------------------------------------------------

# The pool classes of pmap, each with the name of its standard class; a class comes before its
# subclasses.
_pools: list[tuple[type, str]] = []


class PoolBase:
    """The base class of pmap's pools, until `derive` replaces this base by the standard class."""

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            kind = type(self)
            # An object without attributes has not run its `__init__` yet: its `__class__` is its
            # own type.
            if not derive() or not vars(self):
                return kind
            # `derive` has removed this class, and so this property, from the bases of the pool
            # classes. From now on `isinstance` needs only the type of an object. But the present
            # call of `isinstance` has looked at the type before that, so it gets the standard class
            # here.
            return next(one for one in kind.__mro__ if one.__module__ == _MODULE)


def stands_for(cls: type, name: str) -> None:
    """Make `cls` a subclass of the class `name` of ``multiprocessing.pool``, once that exists.

    This function must be called for a class before it is called for subclasses of that class.
    """
    _pools.append((cls, name))
    derive()


def derive() -> bool:
    """Make pmap's pools subclasses of the standard classes, if these are imported.

    Return whether they are subclasses now. Two threads may call this function at the same time:
    both make the same change.
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
        # The program has replaced the standard class by another object, perhaps by a class of pmap.
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
