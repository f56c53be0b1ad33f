"""Stand-ins of modules that cannot be imported here, and the names that the caller tells.

In a worker, what a name means is decided name by name. The caller tells a value together with its
version. While the version stays the same, the worker's own value stays, whoever has set it. When
calls that were made with different values of one name take turns in one worker, the value of each
is put in place before its chunk begins, and that of the other is kept meanwhile.
"""

from __future__ import annotations

import marshal
import sys
from types import FunctionType

from .. import process_role
from ..light_pickle import BytesIO, Unpickler

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CellType, ModuleType
    from typing import Any, TypeAlias

    # number of the namespace, name, version, whether a value that the worker has set stays
    Name: TypeAlias = tuple[int, str, int, bool]

# Under which a script that a child process of multiprocessing runs is known as well.
_ALIASES = {"__main__": "__mp_main__", "__mp_main__": "__main__"}


class Absent:
    """Stands for the value of a name that the caller has deleted."""

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


class _Unit:
    """A unit as it came; loaded when a call first needs it."""

    def __init__(
        self,
        load: Callable[[], tuple[Any, Any]],
        versions: Sequence[int],
        definitions: Sequence[int],
        primed: Sequence[int],
    ) -> None:
        self.load: Callable[[], tuple[Any, Any]] | None = load
        self.versions = versions
        self.definitions = definitions
        self.primed = primed
        self.error: BaseException | None = None


# How a caller finds its own namespace by its number, and its own definition by its version. Set by
# `names`; a worker that was forked from the caller has it, too.
find_home: list[Callable[[int], dict[str, Any] | None]] = []
find_definition: list[Callable[[int], object]] = []

_modules: dict[int, ModuleType] = {}  # the stand-ins
_units: dict[int, _Unit] = {}
told: dict[int, object] = {}  # values by version: definitions, and what was not put in place yet
version_of: dict[int, int] = {}  # of definitions, by their ids; `told` keeps these alive
_in_place: dict[tuple[int, str], int] = {}
_names: Sequence[Name] = ()  # which were put in place last
_saved: dict[int, object] = {}  # the worker's values of versions that are not in place
_at_fork: dict[int, dict[str, object]] = {}  # namespaces as they were when this process was forked


# --- namespaces ----------------------------------------------------------------------------------


def namespace(number: int, name: str) -> dict[str, Any]:
    """Return the globals that functions of a module have here; `name` is the module's."""
    if number in _modules:
        return _modules[number].__dict__
    for find in find_home:
        home = find(number)
        if home is not None:
            return home
    if find_definition and not process_role.in_worker:
        # The caller has dropped that module; or its own functions came back late.
        return vars(sys.modules[name]) if name in sys.modules else {"__name__": name}
    module = type(sys)(name)
    _modules[number] = module
    module.__dict__["__builtins__"] = __builtins__
    enter(number)
    return module.__dict__


def begin_forked(numbers: Sequence[int]) -> None:
    """Take note of the namespaces that a worker has from the caller it was forked from."""
    classes: Any = sys.modules.get(f"{__package__}.classes")
    if numbers and classes is not None:
        classes.begin_forked()
    for number in numbers:
        for find in find_home:
            home = find(number)
            if home is not None:
                _at_fork[number] = dict(home)


def enter(number: int) -> None:
    """Let the stand-in be what its module's name means, as for ``import __main__``."""
    module = _modules.get(number)
    if module is not None:
        name = module.__name__
        if sys.modules.get(name) is not module:
            sys.modules[name] = module
            if name in _ALIASES:
                sys.modules[_ALIASES[name]] = module


# --- units and names -----------------------------------------------------------------------------


def take_unit(
    number: int,
    load: Callable[[], tuple[Any, Any]],
    versions: Sequence[int],
    definitions: Sequence[int],
    primed: Sequence[int],
) -> None:
    """Take in a unit, which is loaded when needed.

    Args:
        number: of the unit.
        load: returns its pickles, one behind the other, and their large buffers.
        versions: of the values in it, in their order.
        definitions: those of them that are functions, classes and the like: pickles that come
            later refer to them by their versions.
        primed: versions of values of earlier units, to which its pickles refer.
    """
    if number not in _units:
        _units[number] = _Unit(load, versions, definitions, primed)


def load_units(numbers: Sequence[int]) -> None:
    """Load those that are not loaded yet; raises what the loading of one raised."""
    for number in numbers:
        unit = _units[number]
        if unit.load is not None:
            try:
                data, buffers = unit.load()
                unpickler = loader(data, buffers, unit.primed)
                for version in unit.versions:
                    told[version] = unpickler.load()
                for version in unit.definitions:
                    version_of[id(told[version])] = version
            except BaseException as error:
                unit.error = error
            unit.load = None
        if unit.error is not None:
            raise unit.error


def loader(data: Any, buffers: Any, primed: Sequence[int]) -> Any:
    """Return an unpickler of `data` that knows the values of these versions as its first objects.

    The pickler that made `data` had them as its first objects as well, so they are written as
    references: a list that two names share at the caller is one list here.
    """
    if not primed:
        return Unpickler(BytesIO(data), buffers=buffers)
    # A pickle that comes before and does no more than to note them. (The unpickler's own `memo`
    # loses what it is given as a dict.)
    notes = [b"J" + at.to_bytes(4, "little") + _NOTE for at in range(len(primed))]
    unpickler: Any = Unpickler(BytesIO(b"".join([*notes, _NOTHING, data])), buffers=buffers)
    values = [value_of(version) for version in primed]
    unpickler.persistent_load = values.__getitem__
    unpickler.load()
    return unpickler


_NOTE = b"Q\x940"  # BINPERSID, MEMOIZE, POP
_NOTHING = b"N."


def forget(numbers: Sequence[int]) -> None:
    """Forget units that no call refers to any more."""
    for number in numbers:
        unit = _units.pop(number, None)
        for version in () if unit is None else unit.versions:
            _saved.pop(version, None)
            value = told.pop(version, None)
            if version_of.get(id(value)) == version:
                del version_of[id(value)]


def value_of(version: int) -> object:
    """Return what the name of a version is here, whether it is in place or not."""
    if version in _saved:
        return _saved[version]
    if version in told:
        return told[version]
    for (number, name), here in _in_place.items():
        if here == version:
            return namespace(number, "")[name]
    raise LookupError(f"version {version} was not told")


def put_in_place(names: Sequence[Name]) -> None:
    """Let each name mean what it means to the call whose chunk begins."""
    global _names
    if names is _names:
        return
    _names = names
    for number in {name[0] for name in names}:
        enter(number)
    for number, name, version, may_stay in names:
        key = number, name
        before = _in_place.get(key)
        if before == version:
            continue
        space = namespace(number, "__main__")
        _in_place[key] = version
        if before is not None:
            _saved[before] = space.get(name, ABSENT)
        elif may_stay and name in space and _was_set_here(number, name, space):
            continue
        value = _saved.pop(version, told.get(version, space))
        if value is ABSENT:
            space.pop(name, None)
        elif value is not space:  # else it cannot be sent: what a fork has from the caller stays
            space[name] = value
        if version in told and id(told[version]) not in version_of:
            del told[version]  # the namespace has it, or what the worker has put in its place


def _was_set_here(number: int, name: str, space: dict[str, Any]) -> bool:
    """Return whether this worker itself has given a name its value: an initializer, an item."""
    return number not in _at_fork or _at_fork[number].get(name, ABSENT) is not space[name]


# --- making things again: pickles refer to these -------------------------------------------------


def definition(version: int) -> object:
    """Return the function or class that was told with this version, or was it at the caller."""
    if version in told:
        return told[version]
    for find in find_definition:
        return find(version)
    raise LookupError(f"version {version} was not told")


def module(name: str) -> object:
    """Return a module by its name."""
    __import__(name)
    return sys.modules[name]


def the_stand_in(number: int, name: str) -> object:
    """Return the module that stands for the caller's."""
    space = namespace(number, name)
    if number in _modules:
        return _modules[number]
    found = sys.modules.get(name)
    return found if found is not None and vars(found) is space else type(sys)(name)


def make_function(
    data: Any, number: int, name: str, closure: tuple[CellType, ...] | None
) -> FunctionType:
    """Return a function without anything but its code, in the globals of its namespace."""
    code = marshal.loads(data) if type(data) is bytes else data
    return FunctionType(code, namespace(number, name), code.co_name, None, closure)


def make_function_alone(
    data: Any, space: dict[str, Any], closure: tuple[CellType, ...] | None
) -> FunctionType:
    """Return such a function, in globals of no module, which travel with it."""
    space.setdefault("__builtins__", __builtins__)
    code = marshal.loads(data) if type(data) is bytes else data
    return FunctionType(code, space, code.co_name, None, closure)


def fill_function(function: FunctionType, state: tuple[Any, ...]) -> None:
    """Give a function its attributes; the modules in `state` have been imported by now."""
    slots, attributes, own, _ = state
    function.__dict__.update(attributes)
    if own:  # of globals that are no module's
        function.__globals__.update(own)
    for name, value in slots.items():
        setattr(function, name, value)


def make_cell() -> CellType:
    """Return an empty cell."""
    return type(_cell_of(None))()


def _cell_of(value: object) -> CellType:
    closure = (lambda: value).__closure__
    assert closure is not None
    return closure[0]


def fill_cell(cell: CellType, contents: tuple[object]) -> None:
    """Give a cell its contents."""
    (cell.cell_contents,) = contents


# --- forks, and the way back ---------------------------------------------------------------------


def is_forked(number: int) -> bool:
    """Return whether this worker has a namespace from the caller that it was forked from."""
    return number in _at_fork


def was_forked(number: int, name: str, obj: object) -> bool:
    """Return whether the caller had `obj` under this name when this worker was forked from it."""
    return _at_fork.get(number, {}).get(name) is obj


def at_home(number: int, module: str, name: str) -> object:
    """Return what the caller has under this name."""
    return namespace(number, module)[name]


def number_of(space: dict[str, Any]) -> tuple[int, str] | None:
    """Return number and module's name of the stand-in whose ``__dict__`` is `space`."""
    for number, module in _modules.items():
        if module.__dict__ is space:
            return number, module.__name__
    return None


class Unsent:
    """Stands for an attribute of a class that could not be sent."""

    def __init__(self, name: str, why: str) -> None:
        self._name = name
        self._why = why

    def __get__(self, instance: object, owner: object = None) -> object:
        raise AttributeError(f"{self._name} is not in this worker: it cannot be sent ({self._why})")
