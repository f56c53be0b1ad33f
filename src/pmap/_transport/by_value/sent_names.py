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
    """Raised while values of names are pickled, if the value of one name cannot be pickled."""

    def __init__(self, key: Key, why: Exception) -> None:
        super().__init__(key, why)
        self.key = key
        self.why = why


class Unit:
    """The values of several global names, pickled together and sent together."""

    def __init__(self, dead: list[int]) -> None:
        """Begin without values.

        When nothing refers to this object any more, its number is added to the list `dead`.
        """
        self.number: int = next(_units)
        # The pickles of all the values, one behind the other.
        self.payload: Payload = Payload(b"")
        # The versions of the values, in the order of their pickles. (A version is a number for one
        # value of a name.)
        self.versions: list[int] = []
        # The versions of those values that are functions, classes and the like.
        self.definitions: list[int] = []
        # The versions of values that were sent before, to which these pickles may refer.
        self.primed: list[int] = []
        # The earlier pickled data to which these pickles refer.
        self.before: set[Unit] = set()
        self.chain: int = 1
        # Only a fork passes on some locks to a worker: see the module `handover`. This is the
        # highest number that such a lock in the pickles has in the registry of `multiprocessing`;
        # -1: there is none.
        self.newest: int = -1
        self._dead = dead

    def __del__(self) -> None:
        self._dead.append(self.number)


class Known:
    """What was last sent for one global name."""

    __slots__ = (
        *("__weakref__", "constant", "fingerprint", "fixed", "has_generator", "held", "key", "met"),
        *("needs", "place", "shape", "size"),
        *("strict", "unit", "unsent", "version"),
    )

    def __init__(self, key: Key, value: object, unit: Unit) -> None:
        self.key = key
        self.version: int = next(_versions)
        self.unit = unit
        # The global names that the sent value uses, such as those in a function's code.
        self.needs: set[Key] = set()
        # The names in `needs` whose values must be sent: the call fails if one cannot be pickled.
        self.strict: set[Key] = set()
        # The error, if the value of the name cannot be pickled.
        self.unsent: Exception | None = None
        # The size of the value's pickle in bytes, with its large buffers.
        self.size = 0
        # Whether the value contains a random generator.
        self.has_generator = False
        # The functions, classes and the like in the value: for each the globals of its module, and
        # its name in them.
        self.met: list[tuple[dict[str, Any], str]] = []
        self.fingerprint: object
        try:
            # The fingerprint, which shows changes, is taken before the value is pickled. So if the
            # value changes in between, the next call notices it.
            self.fingerprint = _steadily(
                lambda: fingerprint_of(value, lambda part: digest(part, self.met))
            )
        except Exception as error:
            self.fingerprint = _identity(value)
            self.unsent = error
        self.fixed: bool = is_identity(self.fingerprint)
        # The value, if it is compared by its identity: as long as it is kept alive here, no other
        # object gets its id. A handle that `share` has made is not kept alive, because its end
        # releases the shared value.
        keeps = (self.fixed or is_definition(value)) and not is_handle(type(value))
        self.held: object = value if keeps else None
        # The id of the value: another id shows that the name has another value now. None if the
        # value is of a class whose objects cannot change, so that an equal object counts as the
        # same value.
        self.place: int | None = None if id(type(value)) in _CONSTANT else id(value)
        # These two show quickly that the value is unchanged: `constant` is a value that can never
        # change (else `_VARIES`); `shape` has all that can change of a simple function.
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
    """Return whether `error` says that another thread changed a container being read."""
    return isinstance(error, RuntimeError) and "changed size during iteration" in str(error)


def _identity(value: object) -> object:
    return "unsent", id(value), type(value)


def is_definition(value: object) -> bool:
    """Return whether `value` is a definition (a class, a function), to which pickles refer."""
    kind = type(value)
    return isinstance(value, type) or kind.__name__ in _DEFINITIONS or kind is object


_by_version: WeakValueDictionary[int, Known] = WeakValueDictionary()
# The functions and classes that were sent, by version. Pickles may refer to them when the record of
# the name is gone already: one function may have two names.
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
    except Exception:  # this process cannot pickle the value, so no fingerprint can be made
        return None


def _are_equal(one: object, other: object) -> bool:
    try:
        return fingerprint_of(one, digest) == fingerprint_of(other, digest)
    except Exception:  # one of the two values cannot be pickled, so they count as different
        return False


functions.compare_values.append(_are_equal)
arriving.find_definition.append(_definition)
arriving.find_fingerprint.append(_fingerprint)


class SentNames:
    """What a caller has sent to the workers of one pool, name by name."""

    def __init__(self, inherits: bool = False, imports: bool = False) -> None:
        """Begin a record in which nothing was sent.

        Args:
            inherits: whether workers are forks of the caller, and so have its objects that cannot
                be pickled.
            imports: whether workers have imported the script, so that they find its contents by
                name.
        """
        self.inherits = inherits
        self.imports = imports
        # Keeps alive the record of the script's globals, so that they keep their number.
        self.main: Namespace | None = namespace_of_script()
        self.known: dict[Key, Known] = {}
        self.has_shared: bool = False  # whether any handle that `share` has made was sent
        # The numbers of pickled values that no call needs any more, so that workers can forget
        # them.
        self.dead: list[int] = []
        # The modules whose values were sent; the one whose values were sent last comes last.
        self._spaces: dict[Namespace, None] = {}

    def clear(self) -> None:
        """Forget all that was sent, because the pool has no workers any more."""
        self.known = {}
        self._spaces = {}
        self.dead.clear()

    def has(self, where: Namespace) -> bool:
        """Return whether `where` is the script's globals, and workers have imported the script."""
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
        """Record the values that were sent.

        Forget the values of the oldest module if there are too many.
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
            # If another thread adds names to the old dict at this moment, they are lost, and sent
            # once more at the next call.
            present = self.known.copy()
            self.known = {key: known for key, known in present.items() if key[0] is not oldest}

    def forget(self, units: Container[int]) -> None:
        """Forget that these values were sent, because a worker could not load them."""
        present = self.known.copy()  # copied in one step: another thread may add names to `known`
        self.known = {
            key: known for key, known in present.items() if known.unit.number not in units
        }
