"""What the caller has told its workers: values of names, their versions, the units they went in."""

from __future__ import annotations

import sys
from weakref import WeakValueDictionary

from ..importable import MAIN_MODULES
from ..payload import Payload
from . import arriving
from .fingerprints import fingerprint_of, in_words, is_identity
from .namespaces import Namespace, namespace_of
from .numbers import Numbers
from .picklers import digest
from .role import is_handle
from .shares import SHARES

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any, TypeAlias

    Key: TypeAlias = tuple[Namespace, str]

# The types of values, besides classes, to which later pickles refer by the version.
_DEFINITIONS = frozenset(
    {
        *("function", "_lru_cache_wrapper"),
        *("TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "TypeAliasType"),
    }
)
# Where an equal value is the same one, whichever object it is.
_CONSTANT = frozenset(
    map(id, (int, bool, str, bytes, type(None), float, complex, tuple, frozenset))
)
_MOST_NAMESPACES = 8
MOST_TRIES = 50  # where another thread changes what is looked at

_versions = Numbers()
_units = Numbers()


class Unit:
    """Values of names, pickled together."""

    def __init__(self, dead: list[int]) -> None:
        """Make an empty one, whose number will be in `dead` when nobody refers to it any more."""
        self.number: int = next(_units)
        self.payload: Payload = Payload(b"")  # pickles, one behind the other
        self.versions: list[int] = []  # of the values, in their order
        self.definitions: list[int] = []  # those of functions, classes and the like
        self.primed: list[int] = []  # of values told before, to which the pickles may refer
        self.before: set[Unit] = set()  # in which these are
        self.chain: int = 1
        self.newest: int = -1  # the highest number of what only forks have: see `handover`
        self._dead = dead

    def __del__(self) -> None:
        self._dead.append(self.number)


class Known:
    """What was last told of one name."""

    __slots__ = (
        *("__weakref__", "fingerprint", "fixed", "has_generator", "held", "key", "met", "needs"),
        *("place", "size"),
        *("strict", "unit", "unsent", "version"),
    )

    def __init__(self, key: Key, value: object, unit: Unit) -> None:
        self.key = key
        self.version: int = next(_versions)
        self.unit = unit
        self.needs: set[Key] = set()  # the names that the value uses
        self.strict: set[Key] = set()  # those of them that functions use
        self.unsent: Exception | None = None  # why the value cannot be pickled
        self.size = 0  # bytes of its pickle, with its large buffers
        self.has_generator = False  # there is a random generator in the value
        self.met: list[tuple[dict[str, Any], str]] = []  # the definitions in the value
        self.fingerprint: object
        try:
            # Before it is pickled: a change meanwhile is seen the next time.
            self.fingerprint = _steadily(
                lambda: fingerprint_of(value, lambda part: digest(part, self.met))
            )
        except Exception as error:
            self.fingerprint = _identity(value)
            self.unsent = error
        self.fixed: bool = is_identity(self.fingerprint)
        # What is compared by its identity before all else; it lives as long as this.
        # But for a handle, which goes when its program drops it.
        keeps = (self.fixed or is_definition(value)) and not is_handle(type(value))
        self.held: object = value if keeps else None
        # Another object is another value, but of what cannot be changed in place.
        self.place: int | None = None if id(type(value)) in _CONSTANT else id(value)

    def is_current(self, value: object) -> bool:
        """Return whether `value`, which the name has now, is what was told."""
        if self.held is not None:
            if self.held is not value:
                return False
            if self.fixed:
                return True
        elif self.place is not None and self.place != id(value):
            return False
        try:
            return self.fingerprint == fingerprint_of(value, digest, self.fingerprint)
        except Exception:
            return self.fingerprint == _identity(value)


def _steadily(look: Callable[[], object]) -> object:
    """Return what `look` does, tried again where another thread changes what it looks at."""
    for _ in range(MOST_TRIES):
        try:
            return look()
        except RuntimeError as error:
            if not is_restless(error):
                raise
    return look()


def is_restless(error: Exception) -> bool:
    """Return whether something was changed while it was looked through."""
    return isinstance(error, RuntimeError) and "changed size during iteration" in str(error)


def _identity(value: object) -> object:
    return "unsent", id(value), type(value)


def is_definition(value: object) -> bool:
    """Return whether pickles refer to `value` by the version of its name."""
    kind = type(value)
    return isinstance(value, type) or kind.__name__ in _DEFINITIONS or kind is object


_by_version: WeakValueDictionary[int, Known] = WeakValueDictionary()


def _definition(version: int) -> object:
    known = _by_version.get(version)
    if known is not None and known.key[0] is SHARES:
        handle: object = SHARES.dict.get(known.key[1])
        if handle is not None:
            return handle
    if known is None or known.held is None:
        raise LookupError("the caller has dropped this object meanwhile")
    return known.held


def _fingerprint(value: object) -> object:
    try:
        return in_words(fingerprint_of(value, digest))
    except Exception:  # it cannot be pickled here
        return None


arriving.find_definition.append(_definition)
arriving.find_fingerprint.append(_fingerprint)


class SentNames:
    """What is known of names, for all workers of one pool."""

    def __init__(self, inherits: bool = False, imports: bool = False) -> None:
        """Make an empty one.

        Args:
            inherits: workers have from their caller what cannot be pickled.
            imports: workers have imported the script, and what it defines goes by name.
        """
        self.inherits = inherits
        self.imports = imports
        # As long as this is here, the script has one number.
        self.main = namespace_of(vars(sys.modules["__main__"]))
        self.known: dict[Key, Known] = {}
        self.dead: list[int] = []  # numbers of units that nothing refers to any more
        self._spaces: dict[Namespace, None] = {}  # the one that was told last is the last

    def clear(self) -> None:
        """Forget what was told: there are no workers any more."""
        self.known = {}
        self._spaces = {}
        self.dead.clear()

    def has(self, where: Namespace) -> bool:
        """Return whether workers have imported a namespace, with the script."""
        return self.imports and where.name in MAIN_MODULES

    def by_name(self, obj: object, where: Namespace | None) -> Any:
        """Return what is to be written for what workers have imported with the script, or None."""
        if where is None or not self.has(where):
            return None
        name = arriving.found_as(obj, where.dict)
        return None if name is None else (arriving.at_home, (where.number, where.name, name))

    def drop(self) -> None:
        """Forget the handles that are gone."""
        for name in [key[1] for key in self.known if key[0] is SHARES]:
            if name not in SHARES.dict:
                self.known.pop((SHARES, name), None)

    def note(self, made: dict[Key, Known]) -> None:
        """Take in what is told from now on; of many namespaces the oldest are forgotten."""
        self.known.update(made)
        for known in made.values():
            _by_version[known.version] = known
        for space, _ in made:
            self._spaces.pop(space, None)
            self._spaces[space] = None
        if len(self._spaces) > _MOST_NAMESPACES:
            oldest = next(iter(self._spaces))
            del self._spaces[oldest]
            self.known = {key: known for key, known in self.known.items() if key[0] is not oldest}

    def forget(self, units: Container[int]) -> None:
        """Forget what was told in these units: it did not load."""
        self.known = {
            key: known for key, known in self.known.items() if known.unit.number not in units
        }
