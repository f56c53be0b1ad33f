"""What the caller's names were when a worker began.

An initializer may set a global of the script in other ways than the caller can see. So the first
time that a worker is told a name, the caller's value counts only if the caller has changed it since
that worker began.
"""

from __future__ import annotations

import sys
from types import FunctionType
from weakref import ref

from ..importable import MAIN_MODULES, is_importable
from . import arriving
from .fingerprints import in_words
from .handover import next_number
from .namespaces import Namespace, namespace_of
from .picklers import Sender
from .shares import SHARES

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .names import Needs

_PLAIN = frozenset({int, float, bool, str, bytes, complex, type(None), FunctionType, type})
_LONG = 1000  # characters, or bytes


def _token(value: object) -> object:
    """Return what tells whether a name has another value later; it keeps nothing large alive."""
    kind = type(value)
    if kind in _PLAIN and not (isinstance(value, (str, bytes)) and len(value) > _LONG):
        return value
    given: Any = value
    try:
        return ref(given)
    except TypeError:  # a list, a dict: those of a size at one place are taken to be the same
        size = len(given) if kind in (list, dict, set, bytearray) else 0
        return "at", id(value), kind, size


def _is_same(token: object, value: object) -> bool:
    if isinstance(token, ref):
        return token() is value
    now = _token(value)
    if type(token) is tuple:
        return token == now
    return token is value or (type(token) is type(value) in _PLAIN and token == value)


def _note_classes(values: Iterable[object]) -> None:
    from .classes import note

    for value in values:
        if isinstance(value, type) and not is_importable(value):
            note(value, Sender())


class Baseline:
    """The names of one worker's caller as they were when the worker began."""

    def __init__(self, inherits: bool = False) -> None:
        """Take it; `inherits`: the worker is a fork of this process, and has its classes."""
        self._spaces: dict[Namespace, dict[str, object]] = {}
        self._inherits = inherits
        # By version, what the worker was told with it the first time.
        self._told: dict[int, arriving.MayStay] = {}
        self._names: set[tuple[int, str]] = set()  # that it was told
        self._next = next_number() if inherits else 0  # what has a lower one, this worker has
        main = sys.modules.get("__main__")
        space = None if main is None else namespace_of(vars(main))
        if space is not None and space.name in MAIN_MODULES:
            items = [*space.dict.items()]
            self._spaces[space] = {name: _token(value) for name, value in items}
            if inherits:
                _note_classes([value for _, value in items])

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the namespaces."""
        return tuple(space.number for space in self._spaces)

    def names_of(self, needs: Needs) -> tuple[arriving.Name, ...]:
        """Return the names that a call needs, and of each whether a worker's own value stays."""
        told = self._told
        names: list[arriving.Name] = []
        for (space, name), known in needs.names.items():
            if space is SHARES:
                continue  # pickles refer to them, and no code does by name
            version = known.version
            if version not in told:
                # Only what was never told: else the caller has changed it since.
                first = (space.number, name) not in self._names
                self._names.add((space.number, name))
                told[version] = first and self._is_unchanged(space, name)
                if told[version] and self._inherits and known.held is None:
                    told[version] = in_words(known.fingerprint) or True
            names.append((space.number, name, version, told[version]))
        return tuple(names)

    def lacks(self, needs: Needs) -> bool:
        """Return whether a fork lacks what a call uses: it cannot be sent, and is newer."""
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
