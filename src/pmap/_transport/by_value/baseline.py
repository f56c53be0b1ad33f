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
    """Return something small that tells later whether a name still has the value `value`.

    The result keeps no large object alive.
    """
    kind = type(value)
    if kind in _PLAIN and not (isinstance(value, (str, bytes)) and len(value) > _LONG):
        return value
    given: Any = value
    try:
        return ref(given)
    except TypeError:
        # The value, a list or dict for example, allows no weak reference. If address and length are
        # the same later, the value counts as the same object.
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
            # The number is given before the fork, so that the forked worker has the same number for
            # the function or class. So digests that contain the number are equal in both processes.
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
        # For each version of a name's value: whether the worker keeps its own value of the name.
        # The caller decides this when it first sends the version to the worker.
        self._may_stay: dict[int, arriving.MayStay] = {}
        # The names of which this worker was sent a value, each with the number of its namespace.
        self._names: set[tuple[int, str]] = set()
        # A forked worker has all objects in the registry of `multiprocessing` whose numbers are
        # lower than this: see the module `handover`.
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
                # `name` is not a global, but the name of a handle that `share` has made. Pickles
                # refer to the handle by its version, and no code looks up the name.
                continue
            version = known.version
            if version not in may_stay:
                # A worker may keep its own value of a name while the caller has sent only one
                # version of the caller's value. A second version shows that the caller has changed
                # the value, and then the worker takes the caller's value.
                first = (space.number, name) not in self._names
                self._names.add((space.number, name))
                may_stay[version] = first and self._is_unchanged(space, name)
                if may_stay[version] and self._inherits and known.held is None:
                    may_stay[version] = sendable_form(known.fingerprint) or True
            names.append((space.number, name, version, may_stay[version]))
        return tuple(names)

    def lacks(self, needs: Needs) -> bool:
        """Return whether a call uses an object that cannot be sent and that the worker lacks.

        The worker is a fork of the caller, and the object is newer than the fork.
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
        now = space.dict.get(name, arriving.ABSENT)
        if name not in then:
            return now is arriving.ABSENT
        return _is_same(then[name], now)
