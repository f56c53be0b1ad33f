"""Picklers for values that travel by value, and the roles that keep no record of names.

The role of a pickler knows what the receiver of the pickles has already.
"""

from __future__ import annotations

import sys
from itertools import count
from weakref import ref

from ..light_pickle import BytesIO
from . import arriving, namespaces
from .fingerprints import digest_of
from .globals_of import found_as
from .handover import Handover, forks, inherited
from .reducers import LightPickler
from .role import Role
from .shares import SHARES

TYPE_CHECKING = False  # a worker starts faster without `typing`; type checkers assume True
if TYPE_CHECKING:
    from collections.abc import Callable
    from pickle import PickleBuffer
    from typing import Any

    Buffers = Callable[[PickleBuffer], bool]

_PROTOCOL = 5


def pickler(role: Role, file: BytesIO, buffers: Buffers | None, light: bool) -> Any:
    """Return a pickler that writes into `file`; `light`: whether it works without cloudpickle."""
    if light:
        return LightPickler(role, file, _PROTOCOL, buffers)
    from .full_pickler import FullPickler

    return FullPickler(role, file, _PROTOCOL, buffers)


def is_light_enough() -> bool:
    """Return whether pmap should try without cloudpickle: the program has not imported cloudpickle.

    A program that has imported cloudpickle may have registered reducers or modules with it.
    """
    return "cloudpickle" not in sys.modules


def dumps_light(role: Role, value: object, buffers: Buffers | None = None) -> bytes | None:
    """Return `value` pickled by value; None if `value` needs cloudpickle."""
    if not is_light_enough():
        return None
    file = BytesIO()
    try:
        with Handover(role, buffers is not None):
            pickler(role, file, buffers, light=True).dump(value)
    except RecursionError:
        raise
    # Cloudpickle can pickle the value, or raises an error that says why the value cannot be
    # pickled.
    except Exception:
        return None
    return file.getvalue()


def dumps_full(role: Role, value: object, buffers: Buffers | None = None) -> bytes:
    """Return `value` pickled by value, with cloudpickle for the objects that need it."""
    file = BytesIO()
    with Handover(role, buffers is not None):
        pickler(role, file, buffers, light=False).dump(value)
    return file.getvalue()


def digest(value: object, met: list[tuple[dict[str, Any], str]] | None = None) -> bytes:
    """Return the digest of the pickle of `value`.

    A definition (a function, class or the like) in `value` counts by its identity only.

    Args:
        value: the value.
        met: a list to which the definitions in `value` are added: the globals of each, and its name
            there.
    """
    parts: list[Any] = []

    def callback(buffer: PickleBuffer) -> bool:
        parts.append(buffer.raw())
        return False

    data = dumps_light(_Digest(met), value, callback)
    if data is None:
        parts.clear()
        data = dumps_full(_Digest(met), value, callback)
    return digest_of([data, *parts])


class Sender(Role):
    """The role of a pickler in a process that has namespaces of its own."""

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Override the method `Role.space_of` of a pickler's role."""
        found = namespaces.namespace_of(space)
        return None if found is None else (found.number, found.name)

    def digest(self, value: object) -> bytes:
        """Override the method `Role.digest` of a pickler's role."""
        return digest(value)


class _Digest(Sender):
    def __init__(self, met: list[tuple[dict[str, Any], str]] | None) -> None:
        super().__init__()
        self._met = met
        self.sends = False

    def identity(self, obj: object) -> Any:
        return arriving.definition, (_number_of(obj),)

    def shared(self, handle: Any) -> Any:
        if self._met is not None:
            self._met.append((SHARES.dict, handle.name))
        return arriving.definition, (handle.name,)

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        if name is None or self.space_of(space) is None:
            return None
        if self._met is not None:
            self._met.append((space, name))
        # The pickle of the digest gets a number in place of the definition. A new definition under
        # this name gets another number.
        return arriving.definition, (_number_of(obj),)


_numbers: dict[int, tuple[ref[object], int]] = {}
_next = count(1)


def _number_of(obj: object) -> int:
    """Return the number of `obj`, which no other object has or will have."""
    known = _numbers.get(id(obj))
    if known is None or known[0]() is not obj:
        place = id(obj)
        try:
            reference = ref(obj, lambda _: _numbers.pop(place, None))
        except TypeError:
            # The object is a type alias, which allows no weak reference. If another object gets its
            # address, which is rare, a change is missed.
            return -place
        known = _numbers[place] = reference, next(_next)
    return known[1]


class Whole(Sender):
    """The role for a receiver that has nothing yet: each pickle has all that it needs."""

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Override the method `Role.space_of` of a pickler's role."""
        return None


class Home(Sender):
    """The role for pickles from a worker to its caller: what the caller has is a reference."""

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Override the method `Role.space_of` of a pickler's role."""
        return arriving.number_of(space) or namespaces.number_of(space)

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Override the method `Role.definition` of a pickler's role."""
        version = arriving.version_of.get(id(obj))
        if version is not None:
            return arriving.definition, (version,)
        where = self.space_of(space)
        if where is not None and arriving.has_imported(where[0]):
            name = found_as(obj, space)
            return None if name is None else (arriving.at_home, (*where, name))
        return None

    def sentinel(self, obj: object) -> Any:
        """Override the method `Role.sentinel` of a pickler's role."""
        found = arriving.imported_as(obj)
        return None if found is None else (arriving.at_home, found)

    def shared(self, handle: Any) -> Any:
        """Override the method `Role.shared` of a pickler's role."""
        version = arriving.version_of.get(id(handle))
        return super().shared(handle) if version is None else (arriving.definition, (version,))

    def inherited(self, number: int) -> Any:
        """Override the method `Role.inherited` of a pickler's role."""
        return (inherited, (number,)) if number < forks.newest else None
