"""The values that the caller's global names had when a worker began.

An initializer may set a global of the script in ways that the caller cannot see. So when a worker
is sent a name for the first time, the caller's value counts only if the caller has changed the
value since that worker began.
"""

from __future__ import annotations

from types import FunctionType
from weakref import ref

from ..importable import MAIN_MODULES, is_importable
from . import arriving
from .fingerprints import sendable_form
from .handover import next_number
from .namespaces import Namespace, namespace_of_script
from .picklers import Sender, number_of
from .shares import SHARES

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .names import Needs

_PLAIN = frozenset({int, float, bool, str, bytes, complex, type(None), FunctionType, type})
# Only texts and bytes objects of at most this length are kept for later comparison.
_LONG = 1000


def _token(value: object) -> object:
    """Return a small value that shows later whether a name still has the value `value`.

    It keeps no large object alive.
    """
    kind = type(value)
    if kind in _PLAIN and not (isinstance(value, (str, bytes)) and len(value) > _LONG):
        return value
    given: Any = value
    try:
        return ref(given)
    except TypeError:
        # An object such as a list or dict allows no weak reference. It counts as the same object
        # later if its address and its length are the same.
        size = len(given) if kind in (list, dict, set, bytearray) else 0
        return "at", id(value), kind, size


def _is_same(token: object, value: object) -> bool:
    if isinstance(token, ref):
        return token() is value
    now = _token(value)
    if type(token) is tuple:
        return token == now
    return token is value or (type(token) is type(value) in _PLAIN and token == value)


def _note_definitions(values: Iterable[object]) -> None:
    from .classes import note

    for value in values:
        if isinstance(value, (FunctionType, type)):
            # The caller numbers a function or class before the fork, so that the forked worker
            # knows the same number. Digests contain such numbers, and are compared between the two
            # processes.
            number_of(value)
        if isinstance(value, type) and not is_importable(value):
            note(value, Sender())


class Baseline:
    """The caller's global names as they were when one worker began."""

    def __init__(self, inherits: bool = False) -> None:
        """Record the caller's names as they are now.

        `inherits`: the worker is a fork of this process, and has this process's classes.
        """
        self._spaces: dict[Namespace, dict[str, object]] = {}
        self._inherits = inherits
        # For each version of a value that this worker was sent: whether the worker keeps a value
        # that its own code has given to the name. The caller decides that when it sends the version
        # first.
        self._may_stay: dict[int, arriving.MayStay] = {}
        # The names of which this worker was sent a value, each with the number of its namespace.
        self._names: set[tuple[int, str]] = set()
        # The objects in the registry of `multiprocessing` have rising numbers. A forked worker has
        # inherited those with numbers below this one.
        self._next = next_number() if inherits else 0
        space = namespace_of_script()
        if space is not None and space.name in MAIN_MODULES:
            items = [*space.dict.items()]
            self._spaces[space] = {name: _token(value) for name, value in items}
            if inherits:
                _note_definitions([value for _, value in items])

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the modules whose globals were recorded."""
        return tuple(space.number for space in self._spaces)

    def names_of(self, needs: Needs) -> tuple[arriving.Name, ...]:
        """Return the names that a call needs, and for each whether the worker's own value stays."""
        may_stay = self._may_stay
        names: list[arriving.Name] = []
        for (space, name), known in needs.names.items():
            if space is SHARES:
                # This name is the name of a handle that `share` has made, and no global: no code
                # looks it up.
                continue
            version = known.version
            if version not in may_stay:
                # If code in the worker has given the name a value, the worker keeps that value when
                # the caller first sends a value of the name. If the caller sends another value
                # later, the caller has changed it, and the worker takes it.
                first = (space.number, name) not in self._names
                self._names.add((space.number, name))
                may_stay[version] = first and self._is_unchanged(space, name)
                if may_stay[version] and self._inherits and known.held is None:
                    may_stay[version] = sendable_form(known.fingerprint) or True
            names.append((space.number, name, version, may_stay[version]))
        return tuple(names)

    def lacks(self, needs: Needs) -> bool:
        """Return whether a call uses a lock or the like that was made after the worker was forked.

        Only a fork passes such an object on, so the worker does not have it.
        """
        newest = [needs.newest, *[unit.newest for unit in [*needs.units.values()]]]
        if max(newest) >= self._next:
            return True
        return any(
            known.unsent is not None and not self._is_unchanged(space, name)
            for (space, name), known in [*needs.names.items()]
        )

    def _is_unchanged(self, space: Namespace, name: str) -> bool:
        then = self._spaces.get(space)
        if then is None:
            return False
        now = space.value(name)
        if name not in then:
            return now is arriving.ABSENT
        return _is_same(then[name], now)
