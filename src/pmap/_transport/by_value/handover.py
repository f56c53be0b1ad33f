"""What `multiprocessing` makes for several processes, as it is handed to a worker, and back.

Locks, arrays, queues, connections refuse to be pickled but for a process that is just being
spawned. A pickle for a worker is such a one (`Handover`): semaphores go by their names, descriptors
beside the pickle (see `descriptors`), proxies of managers with the key by which they are let in.

A semaphore that was made for forks has no name. Only a process that was forked later has it, and
finds it by the number under which `multiprocessing` keeps what is to be told of forks.
"""

from __future__ import annotations

import os
import sys

from ..descriptors import mark
from ..light_pickle import PickleBuffer
from ..registered import registered

TYPE_CHECKING = False  # see `light_stdlib`
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
    """A semaphore has no name, and its receiver is no fork."""


class Handover:
    """Stands for the process that is being spawned, as ``multiprocessing`` sees it."""

    def __init__(self, role: Role, carries: bool) -> None:
        """Make it for one pickle; `carries`: descriptors can go with it."""
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
        """Return what `DupFd` is given; it makes the copy."""
        return fd

    def DupFd(self, fd: int) -> object:  # noqa: N802 - as it is called there
        """Return what stands for `fd` in the pickle, and has ``detach`` where that is loaded."""
        if not self._role.sends:
            return os.fstat(fd)[:3]
        if not self._carries:
            raise TypeError("a descriptor cannot travel in this place")
        return PickleBuffer(mark(fd))


def reduce_shared(role: Role, obj: object, kind: type) -> Any:
    """Return what pickle is to write for what processes share; None: it is nothing of that kind.

    NotImplemented: what it would by itself, which takes a `Handover`.
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


# What has the numbers of descriptors among its attributes, where they cannot be told from others.
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
    """Return what is written for what a reducer of ``multiprocessing`` is for; None: nothing."""
    if home == "managers":
        return reducer(given)
    if home == "reduction" and not hasattr(given, "fileno"):
        return None  # a partial or a method: pickle writes them as well
    if home == "sharedctypes" and not hasattr(given, "_wrapper"):
        return None  # a number of its own, not in shared memory
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
    """Return what stands for a descriptor in this pickle: see `Handover`."""
    return sys.modules["multiprocessing.reduction"].DupFd(fd)


def connected(descriptor: Any, family: int, kind: int, proto: int, timeout: float | None) -> Any:
    """Return the socket that has a descriptor; it waits for as long as the one that was sent."""
    import socket

    made = socket.socket(family, kind, proto, descriptor.detach())
    made.settimeout(timeout)
    return made


# --- semaphores ----------------------------------------------------------------------------------


def is_semaphore(obj: object) -> bool:
    """Return whether `obj` is a lock or semaphore of ``multiprocessing``."""
    synchronize = sys.modules.get("multiprocessing.synchronize")
    return synchronize is not None and isinstance(obj, getattr(synchronize, "SemLock", ()))


def is_nameless(error: BaseException | None) -> bool:
    """Return whether a pickling has failed, as far as is known, for a lock that has no name."""
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
    """Return what `multiprocessing` tells of forks, by number, id and function."""
    util: Any = sys.modules["multiprocessing.util"]
    return dict(util._afterfork_registry)


def _number_of(given: object) -> int | None:
    for (number, _, _), one in _registry().items():
        if one is given:
            return number
    return None


def next_number() -> int:
    """Return a number that is greater than those of all that there is now, and of nothing else."""
    util: Any = sys.modules.get("multiprocessing.util")
    return 0 if util is None else next(util._afterfork_counter)


class _Forks:
    """What a worker has from the caller of which it was forked."""

    newest = 0  # what has a number below this

    def begin(self) -> None:
        """Take note of it."""
        self.newest = next_number()


forks = _Forks()


def inherited(number: int) -> object:
    """Return the object that has this number here and in the process that forks are made of."""
    if "multiprocessing.util" in sys.modules:
        for (one, _, _), value in _registry().items():
            if one == number:
                return value
    raise LookupError(_TOO_NEW)


# --- shared memory -------------------------------------------------------------------------------

# By device and inode: what came twice is mapped once, and what comes home is what it was.
_arenas: dict[tuple[int, int], Any] = {}


def arena(size: int, descriptor: Any) -> Any:
    """Return the memory behind a descriptor, as ``multiprocessing`` holds it."""
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
        # It does not close what it has not opened.
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
