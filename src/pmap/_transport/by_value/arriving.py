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

    # Whether a value that the worker has set stays; of a fork also what it has from the caller, if
    # that has this fingerprint.
    MayStay: TypeAlias = bool | tuple[int, int] | bytes
    # number of the namespace, name, version
    Name: TypeAlias = tuple[int, str, int, MayStay]

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


# How a caller finds its own namespace by its number, its own definition by its version, and the
# fingerprint of a value. Set by `namespaces` and `sent_names`; a worker that was forked from the
# caller has it, too.
find_home: list[Callable[[int], dict[str, Any] | None]] = []
find_definition: list[Callable[[int], object]] = []
find_fingerprint: list[Callable[[object], object]] = []

_modules: dict[int, ModuleType] = {}  # the stand-ins
_imported: set[int] = set()  # numbers of those that are no stand-ins: they were imported
# Scripts that were imported before this process was forked, by file and package.
_scripts: dict[tuple[str, str | None], ModuleType] = {}
_units: dict[int, _Unit] = {}
told: dict[int, object] = {}  # values by version, as they came
version_of: dict[int, int] = {}  # of definitions, by their ids; `told` keeps these alive
_in_place: dict[tuple[int, str], int] = {}
_ready: tuple[Sequence[int], Sequence[Name]] = (), ()  # what was prepared last
_saved: dict[int, object] = {}  # the worker's values of versions that are not in place
_at_fork: dict[int, dict[str, object]] = {}  # namespaces as they were when this process was forked
_of_the_worker: list[object] = []  # of which this process is a fork


def begin() -> None:
    """Let nothing be told yet: this process may be a fork of a worker, which was told things."""
    global _ready
    for record in (_modules, _imported, _units, told, version_of, _in_place, _saved, _at_fork):
        if isinstance(record, dict) and record:
            # Nothing ends here that is the worker's own: a value may remove a file at its end.
            _of_the_worker.append([*record.values()])
        record.clear()
    _ready = (), ()


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
    for attribute in ("__doc__", "__package__", "__loader__"):
        del module.__dict__[attribute]  # what it is not told it has not
    module.__dict__["__builtins__"] = __builtins__
    enter(number)
    return module.__dict__


def begin_forked(numbers: Sequence[int]) -> None:
    """Take note of the namespaces that a worker has from the caller it was forked from."""
    for name in ("classes", "singles") if numbers else ():
        module: Any = sys.modules.get(f"{__package__}.{name}")
        if module is not None:
            module.begin_forked()
    for number in numbers:
        for find in find_home:
            home = find(number)
            if home is not None:
                _at_fork[number] = dict(home)


def adopt(number: int, path: str | None, package: str | None) -> None:
    """Import the script, as multiprocessing does, and let it be the namespace of this number.

    Args:
        number: of the caller's ``__main__``.
        path: of its file; None: this is a fork, and has it.
        package: in which it is, or None.
    """
    _imported.add(number)
    if path is None:
        return
    if (path, package) not in _scripts:
        import_script(path, package)
    _modules[number] = _scripts[path, package]


def import_script(path: str, package: str | None) -> None:
    """Run the script as ``__mp_main__``: for this process, or for those that are forked of it."""
    module = type(sys)("__mp_main__")
    module.__file__ = path
    module.__package__ = package
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 - the program's own script
    _scripts[path, package] = module


def has_imported(number: int) -> bool:
    """Return whether this worker has imported the script that is this namespace."""
    return number in _imported


def imported_as(obj: object) -> tuple[int, str, str] | None:
    """Return where an imported script has this very object: see `at_home`; None: nowhere."""
    for number in _imported:
        module = _modules.get(number)
        for name, value in () if module is None else [*vars(module).items()]:
            if value is obj:
                return number, "__main__", name
    return None


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


def prepare(units: Sequence[int], names: Sequence[Name]) -> None:
    """Let each name mean what it means to the call whose chunk begins; load what that takes.

    A name is in place before the values behind it are loaded: that may run code of the script.
    Raises what the loading of one raised.
    """
    global _ready
    if units is _ready[0] and names is _ready[1]:
        return
    for number in {name[0] for name in names}:
        enter(number)
    waiting = {name[2]: name for name in names}
    for name in names:
        if name[2] in told:
            _put_in_place(*waiting.pop(name[2]))
    for number in units:
        _load_unit(_units[number], waiting)
    for name in waiting.values():
        _put_in_place(*name)  # what cannot be sent: what a fork has from the caller stays
    _ready = units, names


def _load_unit(unit: _Unit, waiting: dict[int, Name]) -> None:
    if unit.error is not None:
        raise unit.error
    if unit.load is None:
        return
    load, unit.load = unit.load, None
    try:
        data, buffers = load()
        unpickler = _loader(data, buffers, unit.primed)
        for version in unit.versions:
            told[version] = value = unpickler.load()
            if version in unit.definitions:
                version_of[id(value)] = version
            if version in waiting:
                _put_in_place(*waiting.pop(version))
    except BaseException as error:
        unit.error = error  # what is behind it in the unit cannot be read any more
        raise


class _Noting(Unpickler):
    """Gives a pickle the objects that it asks for by their number."""

    def __init__(self, data: bytes, buffers: Any, values: list[object]) -> None:
        super().__init__(BytesIO(data), buffers=buffers)
        self._values = values

    def persistent_load(self, pid: Any) -> object:
        return self._values[pid]


def _loader(data: Any, buffers: Any, primed: Sequence[int]) -> Unpickler:
    """Return an unpickler of `data` that knows the values of these versions as its first objects.

    The pickler that made `data` had them as its first objects as well, so they are written as
    references: a list that two names share at the caller is one list here.
    """
    if not primed:
        return Unpickler(BytesIO(data), buffers=buffers)
    # A pickle that comes before and does no more than to note them. (The unpickler's own `memo`
    # loses what it is given as a dict.)
    notes = [b"J" + at.to_bytes(4, "little") + _NOTE for at in range(len(primed))]
    values = [told[version] for version in primed]
    unpickler = _Noting(b"".join([*notes, _NOTHING, data]), buffers, values)
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
    # A module of which nothing is told any more: its caller has dropped it, too.
    used = {number for (number, _), version in _in_place.items() if version in told}
    for number in [number for number in _modules if number not in used]:
        if sys.modules.get(_modules[number].__name__) is not _modules[number] and (
            number not in _imported
        ):
            del _modules[number]
            for key in [key for key in _in_place if key[0] == number]:
                del _in_place[key]


def _put_in_place(number: int, name: str, version: int, may_stay: MayStay) -> None:
    """Let a name have the value of a version, or what this worker has made of it."""
    key = number, name
    before = _in_place.get(key)
    if before == version:
        return
    space = namespace(number, "__main__")
    _in_place[key] = version
    if before is not None:
        if before in told:  # else it is forgotten: no call will ask for it
            _saved[before] = space.get(name, ABSENT)
    elif may_stay and name in space and _stays(number, name, space, may_stay):
        return
    value = _saved.pop(version, told.get(version, space))
    if value is ABSENT:
        space.pop(name, None)
    elif value is not space:
        space[name] = value


def _stays(number: int, name: str, space: dict[str, Any], may_stay: MayStay) -> bool:
    """Return whether a value stays that the caller never told, and has not changed since."""
    return _was_set_here(number, name, space) or _is_as_forked(space[name], may_stay)


def _was_set_here(number: int, name: str, space: dict[str, Any]) -> bool:
    """Return whether this worker itself has given a name its value: an initializer, an item."""
    return number not in _at_fork or _at_fork[number].get(name, ABSENT) is not space[name]


def _is_as_forked(value: object, fingerprint: MayStay) -> bool:
    """Return whether a fork still has what its caller has."""
    if isinstance(fingerprint, bool):
        return False
    return any(find(value) == fingerprint for find in find_fingerprint)


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


def as_forked(number: int, name: str) -> object:
    """Return what the caller had under this name when this worker was forked from it, or None."""
    return _at_fork.get(number, {}).get(name)


def is_forked() -> bool:
    """Return whether this worker was forked from its caller."""
    return bool(_at_fork)


def at_home(number: int, module: str, name: str) -> object:
    """Return what a namespace has under this name, which may have dots in it."""
    first, *rest = name.split(".")
    found: object = namespace(number, module)[first]
    for part in rest:
        found = getattr(found, part)
    return found


def found_as(obj: Any, space: dict[str, Any]) -> str | None:
    """Return the name, which may have dots in it, that leads to `obj`; None: none does."""
    name: object = getattr(obj, "__qualname__", None)
    if not isinstance(name, str) or "<" in name:
        return None
    first, *rest = name.split(".")
    found: object = space.get(first)
    for part in rest:
        found = getattr(found, part, None)
    return name if found is obj else None


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
