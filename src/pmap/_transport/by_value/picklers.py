"""Picklers that write functions and classes with their contents.

A pickler asks an object, its role, what the receiver of the pickle has already.
"""

from __future__ import annotations

import sys
from weakref import ref

from ..light_pickle import BytesIO
from . import arriving, namespaces
from .fingerprints import digest_of
from .globals_of import found_as
from .handover import Handover, forks, inherited
from .numbers import Numbers
from .role import Role
from .shares import SHARES

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from pickle import PickleBuffer
    from typing import Any

    Buffers = Callable[[PickleBuffer], bool]

_PROTOCOL = 5


def pickler(role: Role, file: BytesIO, buffers: Buffers | None, light: bool) -> Any:
    """Return a pickler that writes into `file`; if `light` is true, one without cloudpickle."""
    # The reducers are imported here, because many calls pickle nothing by value.
    if light:
        from .reducers import LightPickler

        return LightPickler(role, file, _PROTOCOL, buffers)
    from .full_pickler import FullPickler

    return FullPickler(role, file, _PROTOCOL, buffers)


def is_light_enough() -> bool:
    """Return whether to try pickling without cloudpickle: if the program has not imported it.

    A program that has imported cloudpickle may have registered reducers or modules with it.
    """
    return "cloudpickle" not in sys.modules


def dumps_light(role: Role, value: object, buffers: Buffers | None = None) -> bytes | None:
    """Return `value` pickled with its functions, without cloudpickle; None if it fails."""
    if not is_light_enough():
        return None
    file = BytesIO()
    try:
        with Handover(role, buffers is not None):
            pickler(role, file, buffers, light=True).dump(value)
    except RecursionError:
        raise
    # Cloudpickle either pickles the value or raises an error that says why it cannot.
    except Exception:
        return None
    return file.getvalue()


def dumps_full(role: Role, value: object, buffers: Buffers | None = None) -> bytes:
    """Return `value` pickled with its functions, and with cloudpickle for what needs it."""
    file = BytesIO()
    with Handover(role, buffers is not None):
        pickler(role, file, buffers, light=False).dump(value)
    return file.getvalue()


def digest(value: object, met: list[tuple[dict[str, Any], str]] | None = None) -> bytes:
    """Return the digest of the pickle of `value`.

    A definition (a function, class or the like) in `value` counts by its identity only.

    Args:
        value: the value.
        met: a list to which a pair is added for each function, class and the like in `value`: the
            globals of its module, and its name in these globals.
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
    """Tells a pickler which modules other processes lack, so that it writes their contents."""

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Return number and name of the module with these globals, if others cannot import it."""
        found = namespaces.namespace_of(space)
        return None if found is None else (found.number, found.name)

    def digest(self, value: object) -> bytes:
        """Return bytes that are different for different values."""
        return digest(value)


class _Digest(Sender):
    def __init__(self, met: list[tuple[dict[str, Any], str]] | None) -> None:
        super().__init__()
        self._met = met
        self.sends = False

    def identity(self, obj: object) -> Any:
        return arriving.definition, (number_of(obj),)

    def shared(self, handle: Any) -> Any:
        if self._met is not None:
            self._met.append((SHARES.dict, handle.name))
        return arriving.definition, (handle.name,)

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        if name is None or self.space_of(space) is None:
            return None
        if self._met is not None:
            self._met.append((space, name))
        # The pickle of which a digest is made has a number in place of the function or class. If
        # the program defines it anew, the new one has another number.
        return arriving.definition, (number_of(obj),)


_numbers: dict[int, tuple[ref[object], int]] = {}
_next = Numbers()


def number_of(obj: object) -> int:
    """Return the number of `obj`, which no other object has or will have.

    A forked worker knows the numbers from before the fork. After the fork the two processes never
    give the same number.
    """
    known = _numbers.get(id(obj))
    if known is None or known[0]() is not obj:
        place = id(obj)
        try:
            reference = ref(obj, lambda _: _numbers.pop(place, None))
        except TypeError:
            # The object is a type alias, which allows no weak reference. If it goes, and another
            # object gets its address, that change is not noticed; this is rare.
            return -place
        known = _numbers[place] = reference, next(_next)
    return known[1]


class Whole(Sender):
    """Tells a pickler that the receiver has nothing, so that the pickle has to be complete."""

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Return None: the pickle contains the globals that functions need, of any module."""
        return None


class Home(Sender):
    """Tells a worker's pickler what the caller, which receives the pickle, has already."""

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Return number and name of the module with these globals, if others cannot import it."""
        return arriving.number_of(space) or namespaces.number_of(space)

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Return a reference to a function or class that came from the caller, or None."""
        version = arriving.version_of.get(id(obj))
        if version is not None:
            return arriving.definition, (version,)
        where = self.space_of(space)
        if where is not None and arriving.has_imported(where[0]):
            name = found_as(obj, space)
            return None if name is None else (arriving.at_home, (*where, name))
        return None

    def sentinel(self, obj: object) -> Any:
        """Return a reference to a bare ``object()`` of the imported script, or None."""
        found = arriving.imported_as(obj)
        return None if found is None else (arriving.at_home, found)

    def shared(self, handle: Any) -> Any:
        """Return a reference to the handle of a shared value that came from the caller."""
        version = arriving.version_of.get(id(handle))
        return super().shared(handle) if version is None else (arriving.definition, (version,))

    def inherited(self, number: int) -> Any:
        """Return a reference to a lock that this forked worker has from the caller, or None."""
        return (inherited, (number,)) if number < forks.newest else None
