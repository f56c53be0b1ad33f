"""Sending locks, queues and other shared objects of `multiprocessing` to workers and back.

Locks, arrays, queues and connections of `multiprocessing` refuse to be pickled, except for a
process that is being spawned. A `Handover` makes the pickling for a worker look like the pickling
for a spawned process. Semaphores are sent as their names, file descriptors beside the pickle (see
the module `descriptors`), and proxies of managers with their manager's key.

A semaphore that was made for processes of the start method fork has no name. Only a process that
was forked later has the semaphore. The forked process finds the semaphore by its number in the
registry of objects that `multiprocessing` keeps for forks.
"""

from __future__ import annotations

import os
import sys

from ..descriptors import mark
from ..light_pickle import PickleBuffer
from ..registered import registered

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .role import Role

_LIBRARY = "multiprocessing."
_NAMELESS = (
    "the {kind} was made for processes that are forked (start method fork), and has no name by "
    "which another one could find it"
)
_TOO_NEW = (
    "a lock that was made for forks (start method fork) is newer than this worker, so that it is "
    "not here: make it before the pool, or of a context whose locks have names: "
    'multiprocessing.get_context("spawn")'
)


class NamelessError(TypeError):
    """Raised for a semaphore that has no name, and that the receiver has not inherited."""


class Handover:
    """Makes `multiprocessing` pickle its objects as if a process were being spawned."""

    def __init__(self, role: Role, carries: bool) -> None:
        """Prepare for one pickle; `carries` says whether file descriptors can be sent with it."""
        self._role = role
        self._carries = carries
        self._before: Any = None

    def __enter__(self) -> None:
        context = sys.modules.get("multiprocessing.context")
        if context is not None and hasattr(context, "set_spawning_popen"):
            self._before = context.get_spawning_popen()
            context.set_spawning_popen(self)

    def __exit__(self, *_: object) -> None:
        context = sys.modules.get("multiprocessing.context")
        if context is not None and hasattr(context, "set_spawning_popen"):
            context.set_spawning_popen(self._before)

    def duplicate_for_child(self, fd: int) -> int:
        """Return `fd` unchanged.

        `multiprocessing` calls this method, and then passes the result to `DupFd`, which duplicates
        the descriptor.
        """
        return fd

    def DupFd(self, fd: int) -> object:  # noqa: N802 - the name that multiprocessing calls
        """Return an object that is pickled in place of the descriptor `fd`.

        The receiver gets a `Descriptor`.
        """
        if not self._role.sends:
            return os.fstat(fd)[:3]
        if not self._carries:
            raise TypeError("a descriptor cannot travel in this place")
        return PickleBuffer(mark(fd))


def reduce_shared(role: Role, obj: object, kind: type) -> Any:
    """Return what pickle is to write for an object of `multiprocessing` that processes share.

    None means that `obj` is not a shared object. NotImplemented means that pickle itself can write
    the object while a `Handover` is active.
    """
    reducer = registered().get(kind)
    if reducer is not None:
        home: object = getattr(reducer, "__module__", None)
        if isinstance(home, str) and home.startswith(_LIBRARY):
            return _by_the_library(role, obj, home.removeprefix(_LIBRARY), reducer)
        return reducer(obj)
    if is_semaphore(obj):
        return role.identity(obj) or _semaphore(role, obj)
    if kind.__module__ in _WITH_NUMBERS or kind.__name__ in _BARE:
        _refuse_numbers(kind)
    return NotImplemented if kind.__module__.startswith(_LIBRARY) else None


# Modules with classes whose objects keep file descriptors as plain ints. Such objects cannot be
# sent.
_WITH_NUMBERS = frozenset(
    {
        *("multiprocessing.popen_fork", "multiprocessing.popen_spawn_posix"),
        *("multiprocessing.popen_forkserver", "selectors"),
    }
)
_BARE = frozenset({"Finalize", "_ParentProcess"})


def _refuse_numbers(kind: type) -> None:
    if kind.__module__ == "selectors" and not kind.__name__.endswith("Selector"):
        return
    if kind.__module__ in _WITH_NUMBERS or kind.__module__.startswith(_LIBRARY):
        raise TypeError(
            f"cannot pickle a {kind.__name__}: it knows open files by their numbers, which mean "
            "others in another process"
        )


def _by_the_library(role: Role, given: Any, home: str, reducer: Callable[[Any], Any]) -> Any:
    """Return what pickle is to write for an object that `multiprocessing` has a reducer for.

    None means that pickle itself can write the object.

    A reducer is the function that `multiprocessing` has registered for the object's class.
    """
    if home == "managers":
        return reducer(given)
    if home == "reduction" and not hasattr(given, "fileno"):
        # The object is a `functools.partial` or a method, which pickle itself can write.
        return None
    if home == "sharedctypes" and not hasattr(given, "_wrapper"):
        return None  # `multiprocessing` pickles only those objects of ctypes in shared memory
    same = role.identity(given)
    if same is not None:
        return same
    if home == "heap":
        _note_arena(given)
        return arena, (given.size, _copy_of(given.fd))
    if home == "reduction":
        about = given.family, given.type, given.proto, given.gettimeout()
        return connected, (_copy_of(given.fileno()), *about)
    return reducer(given)


def _copy_of(fd: int) -> object:
    """Return what is pickled in place of a copy of the descriptor `fd`."""
    return sys.modules["multiprocessing.reduction"].DupFd(fd)


def connected(descriptor: Any, family: int, kind: int, proto: int, timeout: float | None) -> Any:
    """Return a socket for a descriptor that has arrived, with the timeout of the sent socket."""
    import socket

    made = socket.socket(family, kind, proto, descriptor.detach())
    made.settimeout(timeout)
    return made


# --- semaphores of multiprocessing ---------------------------------------------------------------


def is_semaphore(obj: object) -> bool:
    """Return whether `obj` is a lock or semaphore of ``multiprocessing``."""
    synchronize = sys.modules.get("multiprocessing.synchronize")
    return synchronize is not None and isinstance(obj, getattr(synchronize, "SemLock", ()))


def is_nameless(error: BaseException | None) -> bool:
    """Return whether `error` says that pickling failed because a lock has no name.

    Return True if `error` is None.
    """
    return error is None or isinstance(error, NamelessError)


def _semaphore(role: Role, given: Any) -> Any:
    if sys.platform == "win32" or given._semlock.name is not None:
        return NotImplemented
    number = _number_of(given)
    found = None if number is None else role.inherited(number)
    if found is None:
        raise NamelessError(_NAMELESS.format(kind=type(given).__name__))
    return found


def _registry() -> dict[tuple[int, int, object], object]:
    """Return `multiprocessing`'s registry of the objects that forked processes inherit.

    The key of an object is its number in the registry, its id, and a function.
    """
    util: Any = sys.modules["multiprocessing.util"]
    return dict(util._afterfork_registry)


def _number_of(given: object) -> int | None:
    for (number, _, _), one in _registry().items():
        if one is given:
            return number
    return None


def next_number() -> int:
    """Return a number above those of all objects now in the registry of `multiprocessing`.

    Later objects get this number or higher ones.
    """
    util: Any = sys.modules.get("multiprocessing.util")
    return 0 if util is None else next(util._afterfork_counter)


class _Forks:
    """Tells which objects in the registry of `multiprocessing` this worker has from its fork."""

    # A forked worker has inherited the objects with lower numbers than this from the registry of
    # `multiprocessing`. In other processes this is 0.
    newest = 0

    def begin(self) -> None:
        """Record that this worker has inherited all objects now in `multiprocessing`'s registry."""
        self.newest = next_number()


forks = _Forks()


def inherited(number: int) -> object:
    """Return the inherited object that has this number in the registry of `multiprocessing`."""
    if "multiprocessing.util" in sys.modules:
        for (one, _, _), value in _registry().items():
            if one == number:
                return value
    raise LookupError(_TOO_NEW)


# --- shared memory of multiprocessing ------------------------------------------------------------

# Shared memory of `multiprocessing` that this process has mapped, by device and inode. So memory
# that arrives twice is mapped once, and memory that comes back is the object that was sent.
_arenas: dict[tuple[int, int], Any] = {}


def arena(size: int, descriptor: Any) -> Any:
    """Return the `multiprocessing.heap.Arena` of the memory behind a descriptor."""
    import weakref
    from multiprocessing import heap

    fd: int = descriptor.detach()
    status = os.fstat(fd)
    place = status.st_dev, status.st_ino
    known = _arenas.get(place)
    found = None if known is None else known()
    if found is None:
        make: Any = heap.Arena
        found = make(size, fd)
        # An `Arena` does not close the descriptor that it is given, so a finaliser closes it.
        weakref.finalize(found, _forget_arena, place, fd).atexit = False
        _arenas[place] = weakref.ref(found)
    else:
        os.close(fd)
    return found


def _note_arena(given: Any) -> None:
    import weakref

    status = os.fstat(given.fd)
    place = status.st_dev, status.st_ino
    if place not in _arenas:
        weakref.finalize(given, _arenas.pop, place, None).atexit = False
        _arenas[place] = weakref.ref(given)


def _forget_arena(place: tuple[int, int], fd: int) -> None:
    _arenas.pop(place, None)
    os.close(fd)
