"""A worker's values of the caller's global names, in modules that the worker cannot import.

Such a module has a stand-in of the same name in the worker. The caller sends a value together with
its version. While the version stays the same, the worker's value stays, even if the worker's code
has changed it. Calls that were made with different values of one name may take turns in one worker.
Then the worker gives the name the right value before it runs items of a call, and keeps the other
values meanwhile.
"""

from __future__ import annotations

import sys

from .. import process_role
from ..light_pickle import BytesIO, Unpickler

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any, TypeAlias

    # A flag for a global name: whether a worker keeps a value that the worker's own code has given
    # to the name. For a forked worker, a fingerprint (a value's digest) may stand in place of True:
    # then the worker also keeps the value that it has from the fork, if the value has this
    # fingerprint.
    MayStay: TypeAlias = bool | tuple[int, int] | bytes
    # A global name that a call needs: number of its module, name, version of its value, and whether
    # a worker keeps a value that its own code has given to the name.
    Name: TypeAlias = tuple[int, str, int, MayStay]

# A script is the module `__main__`, or `__mp_main__` in a child process of multiprocessing: this
# dict has, for each of the two names, the other name.
_ALIASES = {"__main__": "__mp_main__", "__mp_main__": "__main__"}


# A name that no module has: its value is the class of the module, if the script has set that.
CLASS = "<class>"
# Another such name: its value is a tuple of the classes, for code that asks for subclasses.
SUBCLASSES = "<subclasses>"


class Absent:
    """Stands for the value of a name that the caller has deleted."""

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


class _Unit:
    """A unit (the values of several names, pickled together), which is loaded when first needed."""

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


# Functions that work only in the caller, and in workers forked from it. They find a module's
# globals by number, a function or class by version, and the fingerprint of a value. The modules
# `namespaces` and `sent_names`, which only the caller imports, put their functions into these
# lists.
find_home: list[Callable[[int], dict[str, Any] | None]] = []
find_definition: list[Callable[[int], object]] = []
find_fingerprint: list[Callable[[object], object]] = []

# Modules that this worker has made in place of those modules of the caller that the worker cannot
# import, by number.
_modules: dict[int, ModuleType] = {}
# The numbers of those modules of the caller that this worker has imported: its script. No other
# module stands for these.
_imported: set[int] = set()
# Scripts that this process has imported, or that the process from which it was forked had imported;
# by the script's file and package.
_scripts: dict[tuple[str, str | None], ModuleType] = {}
_units: dict[int, _Unit] = {}
# Values of global names that the caller has sent, by their version.
received: dict[int, object] = {}
# For each function, class and the like that the caller has sent: the version, by the id of the
# object. The dict `received` keeps the object alive.
version_of: dict[int, int] = {}
_in_place: dict[tuple[int, str], int] = {}
# The arguments with which the function `prepare` was called last: pickled values, and names.
_ready: tuple[Sequence[int], Sequence[Name]] = (), ()
# Calls may need different values of one global name. The value for one call is in place; the others
# are here, by their versions.
_saved: dict[int, object] = {}
# If this worker is a fork of the caller: the globals that the caller's modules had at the fork, by
# the numbers of the modules.
_at_fork: dict[int, dict[str, object]] = {}
# The functions in the dict `_at_fork`, by their ids. That dict keeps them alive.
_functions_at_fork: dict[int, object] = {}
_FUNCTIONS = frozenset({"function", "_lru_cache_wrapper"})  # names of the types of functions
# The values that the parent of this process, a worker, had received. They are kept alive, because a
# finaliser of one might remove a file that the parent needs.
_of_the_worker: list[object] = []


def begin() -> None:
    """Forget all names: this process may be a fork of a worker, which has received names."""
    global _ready
    _functions_at_fork.clear()
    for record in (_modules, _imported, _units, received, version_of, _in_place, _saved, _at_fork):
        if isinstance(record, dict) and record:
            # Keep alive what the parent process has received. Otherwise a finaliser might run in
            # this process, and remove a file that the parent needs.
            _of_the_worker.append([*record.values()])
        record.clear()
    _ready = (), ()


# --- globals of the caller's modules -------------------------------------------------------------


def namespace(number: int, name: str) -> dict[str, Any]:
    """Return the globals that the functions of a module of the caller have in this process.

    Args:
        number: the number that the caller has given to the module's globals.
        name: the name of the module.
    """
    if number in _modules:
        return _modules[number].__dict__
    for find in find_home:
        home = find(number)
        if home is not None:
            return home
    if find_definition and not process_role.in_worker:
        # A function comes back from a worker to its caller, and the caller's program has dropped
        # the function's module meanwhile.
        return vars(sys.modules[name]) if name in sys.modules else {"__name__": name}
    module = type(sys)(name)
    _modules[number] = module
    for attribute in ("__doc__", "__package__", "__loader__"):
        # Python gives a new module some attributes. They are deleted, because this module is to
        # have only the attributes that the caller sends.
        del module.__dict__[attribute]
    module.__dict__["__builtins__"] = __builtins__
    enter(number)
    return module.__dict__


def begin_forked(numbers: Sequence[int]) -> None:
    """Record which globals this worker, a fork of its caller, has from the caller."""
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
    """Import the script, as multiprocessing does, and use its module as the namespace `number`.

    Args:
        number: the number of the namespace of the caller's ``__main__``.
        path: path of the script's file; None: this process is a fork and has the script already.
        package: the package that the script is in, or None.
    """
    _imported.add(number)
    if path is None:
        return
    if (path, package) not in _scripts:
        import_script(path, package)
    _modules[number] = _scripts[path, package]


def import_script(path: str, package: str | None) -> None:
    """Run the script as ``__mp_main__``, for this process or for later forks of this process."""
    module = type(sys)("__mp_main__")
    module.__file__ = path
    module.__package__ = package
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 - the program's own script
    _scripts[path, package] = module


def has_imported(number: int) -> bool:
    """Return whether this worker has imported the script, whose globals have this number."""
    return number in _imported


def imported_as(obj: object) -> tuple[int, str, str] | None:
    """Find `obj` in the globals of a script that this worker has imported; return its place.

    The result is what `at_home` takes: the number of the script's namespace, module and name; or
    None if the globals do not have `obj`.
    """
    for number in _imported:
        module = _modules.get(number)
        for name, value in () if module is None else [*vars(module).items()]:
            if value is obj:
                return number, "__main__", name
    return None


def enter(number: int) -> None:
    """Put the module that stands for the caller's module `number` into ``sys.modules``."""
    module = _modules.get(number)
    if module is not None:
        name = module.__name__
        if sys.modules.get(name) is not module:
            sys.modules[name] = module
            if name in _ALIASES:
                sys.modules[_ALIASES[name]] = module


# --- units, and the values of names --------------------------------------------------------------


def take_unit(
    number: int,
    load: Callable[[], tuple[Any, Any]],
    versions: Sequence[int],
    definitions: Sequence[int],
    primed: Sequence[int],
) -> None:
    """Keep a unit (the pickled values of several names), to be loaded when a call needs it.

    Args:
        number: the number of the unit.
        load: returns the pickles of the values, one behind the other, and their large buffers.
        versions: versions of the values in the unit, in the order of their pickles.
        definitions: the versions of the values that are functions, classes and the like; later
            pickles refer to these values by version.
        primed: versions of values from earlier units to which the pickles of this unit refer.
    """
    if number not in _units:
        _units[number] = _Unit(load, versions, definitions, primed)


def prepare(units: Sequence[int], names: Sequence[Name]) -> None:
    """Give each global name its value for the call that is about to run; load what is missing.

    If the value of a name is in this worker already, the name gets the value before anything is
    loaded, because loading may run code of the script. The function raises what the loading of a
    value raised.
    """
    global _ready
    if units is _ready[0] and names is _ready[1]:
        return
    for number in {name[0] for name in names}:
        enter(number)
    waiting = {name[2]: name for name in names}
    for name in names:
        if name[2] in received:
            _put_in_place(*waiting.pop(name[2]))
    for number in units:
        _load_unit(_units[number], waiting)
    for name in waiting.values():
        # The caller could not send the value. A worker that was forked from the caller may have it
        # already.
        _put_in_place(*name)
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
            received[version] = value = unpickler.load()
            if version in unit.definitions:
                version_of[id(value)] = version
            if version in waiting:
                _put_in_place(*waiting.pop(version))
    except BaseException as error:
        # The rest of the pickled data cannot be read, so the other names whose values are in it get
        # this error, too.
        unit.error = error
        raise


class _Noting(Unpickler):
    """An unpickler that replaces each persistent id by the object with this index in a list."""

    def __init__(self, data: bytes, buffers: Any, values: list[object]) -> None:
        super().__init__(BytesIO(data), buffers=buffers)
        self._values = values

    def persistent_load(self, pid: Any) -> object:
        return self._values[pid]


def _loader(data: Any, buffers: Any, primed: Sequence[int]) -> Unpickler:
    """Return an unpickler of `data` to which the values with the versions `primed` are known.

    The pickler that made `data` had these values in its memo, so the pickle refers to them. Thus a
    list that two names share at the caller is one list in this process.
    """
    if not primed:
        return Unpickler(BytesIO(data), buffers=buffers)
    # In front of `data`, a short pickle puts the `primed` values into the unpickler's memo. Setting
    # the attribute `memo` of the unpickler to a dict does not work: the unpickler loses the values.
    notes = [b"J" + at.to_bytes(4, "little") + _NOTE for at in range(len(primed))]
    values = [received[version] for version in primed]
    unpickler = _Noting(b"".join([*notes, _NOTHING, data]), buffers, values)
    unpickler.load()
    return unpickler


# The pickle opcodes BINPERSID, MEMOIZE and POP: load an object by its persistent id, put it into
# the memo, drop it from the stack.
_NOTE = b"Q\x940"
_NOTHING = b"N."


def forget(numbers: Sequence[int]) -> None:
    """Forget units (values of names) that no call refers to any more."""
    for number in numbers:
        unit = _units.pop(number, None)
        for version in () if unit is None else unit.versions:
            _saved.pop(version, None)
            value = received.pop(version, None)
            if version_of.get(id(value)) == version:
                del version_of[id(value)]
    # Delete the module that stands for a module of the caller if no value from the caller is left
    # in it: then the caller has dropped its module.
    used = {number for (number, _), version in _in_place.items() if version in received}
    for number in [number for number in _modules if number not in used]:
        if sys.modules.get(_modules[number].__name__) is not _modules[number] and (
            number not in _imported
        ):
            del _modules[number]
            for key in [key for key in _in_place if key[0] == number]:
                del _in_place[key]


def _put_in_place(number: int, name: str, version: int, may_stay: MayStay) -> None:
    """Give a global name its value with the number `version`, as this worker has changed it."""
    key = number, name
    before = _in_place.get(key)
    if before == version:
        return
    space = namespace(number, "__main__")
    _in_place[key] = version
    if name in (CLASS, SUBCLASSES):
        _set_unnamed(number, name, space, received.get(version, ABSENT))
        return
    if before is not None:
        if before in received:
            # The name gets another value now. Its present value is saved only if a later call may
            # need it: if the version of that value is still in `received`.
            _saved[before] = space.get(name, ABSENT)
    elif may_stay and name in space:
        if _was_set_here(number, name, space):
            return
        if _is_as_forked(space[name], may_stay):
            # The forked worker keeps the object that it has from the fork. Later pickles refer to
            # this object by the number `version`.
            received[version] = space[name]
            return
    value = _saved.pop(version, received.get(version, space))
    if value is ABSENT:
        space.pop(name, None)
    elif value is not space:
        space[name] = value


def _set_unnamed(number: int, name: str, space: dict[str, Any], value: Any) -> None:
    """Give a module its class; or, for `SUBCLASSES`, put the module's classes in order."""
    if name == SUBCLASSES:
        for cls in () if value is ABSENT else value:
            # A class whose bases are set becomes the last in the `__subclasses__` of each base.
            type.__setattr__(cls, "__bases__", cls.__bases__)
        return
    module = _modules.get(number) or sys.modules.get(space.get("__name__", ""))
    if module is not None and module.__dict__ is space:
        module.__class__ = type(sys) if value is ABSENT else value


def _was_set_here(number: int, name: str, space: dict[str, Any]) -> bool:
    """Return whether this worker's own code (initializer, item) has set the value of a name."""
    return number not in _at_fork or _at_fork[number].get(name, ABSENT) is not space[name]


def _is_as_forked(value: object, fingerprint: MayStay) -> bool:
    """Return whether a forked worker's value has the fingerprint (digest) of the caller's value."""
    if isinstance(fingerprint, bool):
        return False
    return any(find(value) == fingerprint for find in find_fingerprint)


# --- functions that pickles refer to: they make objects again ------------------------------------


def definition(version: int) -> object:
    """Return the function or class that has this version; in the caller, the original object."""
    if version in received:
        return received[version]
    for find in find_definition:
        return find(version)
    raise LookupError(f"version {version} was not told")


def module(name: str) -> object:
    """Import the module with this name, and return it."""
    __import__(name)
    return sys.modules[name]


def the_stand_in(number: int, name: str) -> object:
    """Return the module in this worker that stands for the caller's module with this number."""
    space = namespace(number, name)
    if number in _modules:
        return _modules[number]
    found = sys.modules.get(name)
    return found if found is not None and vars(found) is space else type(sys)(name)


# --- forked workers ------------------------------------------------------------------------------


def as_forked(number: int, name: str) -> object:
    """Return the value that a name had in the caller when this worker was forked, or None."""
    return _at_fork.get(number, {}).get(name)


def function_at_fork(address: int) -> object:
    """Return the function that had this address at the caller when this worker was forked.

    The result is a plain function or a function with a cache; None if no function had this address.
    """
    if _at_fork and not _functions_at_fork:
        for space in _at_fork.values():
            for value in space.values():
                inner = value
                while type(inner).__name__ in _FUNCTIONS and id(inner) not in _functions_at_fork:
                    _functions_at_fork[id(inner)] = inner
                    inner = getattr(inner, "__wrapped__", None)
    return _functions_at_fork.get(address)


def had_at_fork(module: str, name: str) -> object:
    """Return the value that a name of a module had in the caller when this worker was forked.

    The result is None for a module that other processes can import.
    """
    for space in _at_fork.values():
        if space.get("__name__") == module:
            return space.get(name)
    return None


def is_forked() -> bool:
    """Return whether this worker was forked from its caller."""
    return bool(_at_fork)


def at_home(number: int, module: str, name: str) -> object:
    """Return what a module's globals have under `name`; a name with dots leads to attributes."""
    first, *rest = name.split(".")
    found: object = namespace(number, module)[first]
    for part in rest:
        found = getattr(found, part)
    return found


def number_of(space: dict[str, Any]) -> tuple[int, str] | None:
    """Return number and name of the caller's module that `space`, a module's globals, stands for.

    None if `space` does not stand for a module of the caller.
    """
    for number, module in _modules.items():
        if module.__dict__ is space:
            return number, module.__name__
    return None


class Unsent:
    """Takes the place of a class attribute that could not be sent; raises an error when read."""

    def __init__(self, name: str, why: str) -> None:
        self._name = name
        self._why = why

    def __get__(self, instance: object, owner: object = None) -> object:
        raise AttributeError(f"{self._name} is not in this worker: it cannot be sent ({self._why})")
