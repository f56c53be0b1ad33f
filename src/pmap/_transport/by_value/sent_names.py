"""The caller's record of what its workers were sent: values of global names, and versions."""

from __future__ import annotations

from types import FunctionType
from weakref import WeakValueDictionary

from ..importable import MAIN_MODULES
from ..payload import Payload
from . import arriving, functions
from .fingerprints import fingerprint_of, is_identity, is_scalar, sendable_form, shape_of
from .globals_of import found_as
from .namespaces import Namespace, namespace_of_script
from .numbers import Numbers
from .picklers import digest
from .role import is_handle
from .shares import SHARES

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any, TypeAlias

    Key: TypeAlias = tuple[Namespace, str]

# The names of types whose objects count as definitions, as classes do. A definition is sent once,
# with a number, its version; later pickles contain this number in place of the definition.
_DEFINITIONS = frozenset(
    {
        *("function", "_lru_cache_wrapper"),
        *("TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "TypeAliasType"),
    }
)
# The ids of types whose objects cannot change: another, equal object counts as the same value.
_CONSTANT = frozenset(
    map(id, (int, bool, str, bytes, type(None), float, complex, tuple, frozenset))
)
_VARIES = object()
_MOST_NAMESPACES = 8
# How often a value is examined again if another thread changes it meanwhile.
MOST_TRIES = 50

_versions = Numbers()
_units = Numbers()


class UnsentNameError(Exception):
    """Raised for a global name that a function uses and whose value cannot be pickled."""

    def __init__(self, name: str, why: Exception) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why


class UnsentError(Exception):
    """Raised while a unit is written: the value of a name cannot be pickled."""

    def __init__(self, key: Key, why: Exception) -> None:
        super().__init__(key, why)
        self.key = key
        self.why = why


class Unit:
    """A unit: the values of several global names, pickled together."""

    def __init__(self, dead: list[int]) -> None:
        """Make an empty unit.

        When no object refers to the unit any more, its number is added to `dead`.
        """
        self.number: int = next(_units)
        # The pickles of all values of the unit, one behind the other.
        self.payload: Payload = Payload(b"")
        # The versions of the unit's values, in the order of the values' pickles. (A version is a
        # number for one value of a name.)
        self.versions: list[int] = []
        # The versions of those values of the unit that are functions, classes and the like.
        self.definitions: list[int] = []
        # The versions of values in earlier units to which the pickles of this unit may refer.
        self.primed: list[int] = []
        # The units (values of names) sent earlier to which the pickles of this unit refer.
        self.before: set[Unit] = set()
        self.chain: int = 1
        # Some locks in the pickles exist only in forked processes: see the module `handover`. This
        # is the highest number that one of these locks has in the registry of `multiprocessing`;
        # -1: there are none.
        self.newest: int = -1
        self._dead = dead

    def __del__(self) -> None:
        self._dead.append(self.number)


class Known:
    """The record of what was last sent for one global name."""

    __slots__ = (
        *("__weakref__", "constant", "fingerprint", "fixed", "has_generator", "held", "key", "met"),
        *("needs", "place", "shape", "size"),
        *("strict", "unit", "unsent", "version"),
    )

    def __init__(self, key: Key, value: object, unit: Unit) -> None:
        self.key = key
        self.version: int = next(_versions)
        self.unit = unit
        # The global names that the value uses, such as those in a function's code.
        self.needs: set[Key] = set()
        # The names in `needs` that functions use: a call fails if the value of one of these names
        # cannot be pickled.
        self.strict: set[Key] = set()
        # The error, if the value cannot be pickled.
        self.unsent: Exception | None = None
        # How many bytes the value's pickle has, with its large buffers.
        self.size = 0
        # Whether the value contains a random generator.
        self.has_generator = False
        # The definitions (functions, classes and the like) in the value: for each definition the
        # globals of its module, and its name in these globals.
        self.met: list[tuple[dict[str, Any], str]] = []
        self.fingerprint: object
        try:
            # The fingerprint, by which a change is seen, is taken before the value is pickled: a
            # change in between is found at the next call.
            self.fingerprint = _steadily(
                lambda: fingerprint_of(value, lambda part: digest(part, self.met))
            )
        except Exception as error:
            self.fingerprint = _identity(value)
            self.unsent = error
        self.fixed: bool = is_identity(self.fingerprint)
        # If the value is compared by its identity, `held` is the value, and so this record keeps
        # the value alive. A handle that `share` has made is not kept alive: the handle goes when
        # the program drops it.
        keeps = (self.fixed or is_definition(value)) and not is_handle(type(value))
        self.held: object = value if keeps else None
        # `place` is the id (address) of the value: if the name refers to another object later, that
        # counts as another value. `place` is None if objects of the value's class cannot change.
        self.place: int | None = None if id(type(value)) in _CONSTANT else id(value)
        # Two ways to see without a fingerprint that the value has not changed: `constant` is the
        # value itself if the value can never change, else `_VARIES`; `shape` is all that can change
        # of a simple function.
        self.constant: object = value if is_scalar(value) else _VARIES
        self.shape: tuple[object, ...] | None = None
        if self.held is not None and isinstance(value, FunctionType):
            self.shape = shape_of(value)

    def is_current(self, value: object) -> bool:
        """Return whether `value`, which the name has now, is still the value that was sent."""
        if self.constant is value:
            return True
        if self.held is not None:
            if self.held is not value:
                return False
            if self.fixed:
                return True
            if self.shape is not None and self.shape == shape_of(value):
                return True
        elif self.place is not None and self.place != id(value):
            return False
        try:
            return self.fingerprint == fingerprint_of(value, digest, self.fingerprint)
        except Exception:
            return self.fingerprint == _identity(value)


def _steadily(look: Callable[[], object]) -> object:
    """Return what `look()` returns; call `look` again if another thread has interfered.

    `look` examines a value; another thread may change the value meanwhile.
    """
    for _ in range(MOST_TRIES):
        try:
            return look()
        except RuntimeError as error:
            if not is_restless(error):
                raise
    return look()


def is_restless(error: Exception) -> bool:
    """Return whether `error` says that a container has changed while it was being read."""
    return isinstance(error, RuntimeError) and "changed size during iteration" in str(error)


def _identity(value: object) -> object:
    return "unsent", id(value), type(value)


def is_definition(value: object) -> bool:
    """Return whether `value` is a definition (a class, a function), to which pickles refer."""
    kind = type(value)
    return isinstance(value, type) or kind.__name__ in _DEFINITIONS or kind is object


_by_version: WeakValueDictionary[int, Known] = WeakValueDictionary()
# The functions and classes that were sent, by version. A function that was sent under two names may
# still be needed when the record of one of these names is gone.
_defined: WeakValueDictionary[int, Any] = WeakValueDictionary()


def _definition(version: int) -> object:
    known = _by_version.get(version)
    if known is not None and known.key[0] is SHARES:
        handle: object = SHARES.dict.get(known.key[1])
        if handle is not None:
            return handle
    held: object = _defined.get(version) if known is None else known.held
    if held is None:
        raise LookupError("the caller has dropped this object meanwhile")
    return held


def _fingerprint(value: object) -> object:
    try:
        return sendable_form(fingerprint_of(value, digest))
    except Exception:  # this process cannot pickle the value, so there is no fingerprint
        return None


def _are_equal(one: object, other: object) -> bool:
    try:
        return fingerprint_of(one, digest) == fingerprint_of(other, digest)
    except Exception:  # one of the two values cannot be pickled here, so they count as different
        return False


functions.compare_values.append(_are_equal)
arriving.find_definition.append(_definition)
arriving.find_fingerprint.append(_fingerprint)


class SentNames:
    """What the caller has sent to the workers of one pool, name by name."""

    def __init__(self, inherits: bool = False, imports: bool = False) -> None:
        """Start with nothing sent.

        Args:
            inherits: whether workers are forks of the caller, and so have its objects that cannot
                be pickled.
            imports: whether workers have imported the script, so that they find its contents by
                name.
        """
        self.inherits = inherits
        self.imports = imports
        # This attribute keeps the script's namespace alive: a new namespace would get a new number.
        self.main: Namespace | None = namespace_of_script()
        self.known: dict[Key, Known] = {}
        self.has_shared: bool = False  # whether any handle that `share` has made was sent
        # The numbers of units to which nothing refers any more, so that workers can forget them.
        self.dead: list[int] = []
        # Modules' globals, in the order in which values of their names were last sent.
        self._spaces: dict[Namespace, None] = {}

    def clear(self) -> None:
        """Forget all that was sent, because the pool has no workers any more."""
        self.known = {}
        self._spaces = {}
        self.dead.clear()

    def has(self, where: Namespace) -> bool:
        """Return whether `where` has the script's globals, and workers have imported the script."""
        return self.imports and where.name in MAIN_MODULES

    def by_name(self, obj: object, where: Namespace | None) -> Any:
        """Return what pickle is to write for an object that workers have by importing the script.

        None means that workers do not have the object in this way.
        """
        if where is None or not self.has(where):
            return None
        name = found_as(obj, where.dict)
        return None if name is None else (arriving.at_home, (where.number, where.name, name))

    def drop(self) -> None:
        """Forget the handles of shared values that the program has dropped."""
        self.has_shared = False
        # The names are copied in one step, because another thread may add names at the same time.
        for name in [key[1] for key in [*self.known] if key[0] is SHARES]:
            if name in SHARES.dict:
                self.has_shared = True
            else:
                self.known.pop((SHARES, name), None)

    def note(self, made: dict[Key, Known]) -> None:
        """Record what was sent with a new unit.

        If there are too many namespaces, forget the oldest.
        """
        self.known.update(made)
        for known in made.values():
            _by_version[known.version] = known
            self.has_shared = self.has_shared or known.key[0] is SHARES
            if known.held is not None:
                try:
                    _defined[known.version] = known.held
                except TypeError:
                    pass  # the object allows no weak reference, so the object is not remembered
        for space, _ in made:
            self._spaces.pop(space, None)
            self._spaces[space] = None
        if len(self._spaces) > _MOST_NAMESPACES:
            oldest = [*self._spaces][0]  # noqa: RUF015  # a copy: other threads may add namespaces
            self._spaces.pop(oldest, None)
            # If another thread adds names to the old dict now, they are forgotten with that dict,
            # and sent once more later.
            present = self.known.copy()
            self.known = {key: known for key, known in present.items() if key[0] is not oldest}

    def forget(self, units: Container[int]) -> None:
        """Forget what was sent with these units, because a worker could not load them."""
        present = self.known.copy()  # copied in one step: another thread may add names to `known`
        self.known = {
            key: known for key, known in present.items() if known.unit.number not in units
        }
