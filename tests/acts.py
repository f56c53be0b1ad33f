"""Ways for an item to end, by name: it exits, raises, or returns what cannot travel.

Workers import this, so it imports little.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Never

from tests.bad_objects import (
    Bare,
    CannotPickle,
    DiesWhileLoading,
    ExitsWhileLoading,
    HoldsLock,
    KeywordOnly,
    Loading,
    RaisesWhileLoading,
    ReduceRaises,
    TwoArguments,
    raise_lookup,
)
from tests.files import mark
from tests.limits import TIME_LIMIT
from tests.signals import KILL


def quietly(act: Callable[[], object]) -> Callable[[], object]:
    """Return `act` without the stack dump that faulthandler would write."""

    def run() -> object:
        import faulthandler  # an interpreter of a process cannot load it

        faulthandler.disable()
        return act()

    return run


def kill_me(number: int) -> None:
    """Send this process a signal, and wait for it to strike."""
    os.kill(os.getpid(), number)
    time.sleep(TIME_LIMIT)


def segfault() -> None:
    """Read where nothing is."""
    if sys.platform == "win32":
        # There ctypes makes an exception of it.
        import faulthandler

        vars(faulthandler)["_read_null"]()
    import ctypes

    ctypes.string_at(0)


def cancelled() -> Never:
    """Raise what a cancelled task raises; asyncio is only imported for that."""
    from asyncio import CancelledError

    raise CancelledError("now")


def recurse(depth: int = 0) -> int:
    """Never return."""
    return recurse(depth + 1) + 1


def deep(levels: int) -> list[object]:
    """Return a list too deep to pickle."""
    nest: list[object] = []
    for _ in range(levels):
        nest = [nest]
    return nest


def chatter(size: int) -> Iterator[int]:
    """Yield: a generator cannot be pickled."""
    yield from range(size)


def raising(kind: type[BaseException], *args: object, **kwargs: object) -> Callable[[], Never]:
    """Return a function that raises a new exception of this kind."""

    def act() -> Never:
        raise kind(*args, **kwargs)

    return act


def _caused() -> Never:
    try:
        raise_lookup("inner")
    except LookupError as error:
        raise ValueError("outer") from error


# What the item does, by name: the table travels as a module, not in the call.
ACTS: Final[dict[str, Callable[[], object]]] = {
    "exit 0": lambda: os._exit(0),
    "exit 3": lambda: os._exit(3),
    "SIGKILL": lambda: kill_me(KILL),
    "SIGTERM": lambda: kill_me(signal.SIGTERM),
    "segfault": quietly(segfault),
    "abort": quietly(os.abort),
    "sys.exit": lambda: sys.exit(3),
    "KeyboardInterrupt": raising(KeyboardInterrupt, "now"),
    "GeneratorExit": raising(GeneratorExit, "now"),
    "bare": raising(Bare, "now"),
    "StopIteration": raising(StopIteration, "now"),
    "StopAsyncIteration": raising(StopAsyncIteration, "now"),
    "cancelled": cancelled,
    "result lock": threading.Lock,
    "result generator": lambda: chatter(3),
    "result reduce": CannotPickle,
    "result deep": lambda: deep(100_000),
    "result loads": RaisesWhileLoading,
    "result exits": lambda: Loading(sys.exit, 5),
    "error lock": raising(HoldsLock),
    "error reduce": raising(ReduceRaises, "here"),
    "error exits": raising(ExitsWhileLoading, "here"),
    "error dies": raising(DiesWhileLoading, "here"),
    "two arguments": raising(TwoArguments, 404, "not found"),
    "keyword only": raising(KeywordOnly, code=7),
    "caused": _caused,
    "recursion": recurse,
    "huge": raising(ValueError, "x" * 3_000_000),
}


def perform(folder: str, item: tuple[int, object]) -> object:
    """Note that the item began; do its act, if it has one; else return the square of its index."""
    index, act = item
    mark(folder, index)
    return ACTS[act]() if isinstance(act, str) else index * index


def perform_and_wait(folder: str, item: tuple[int, object]) -> object:
    """As `perform`, but the act "wait" waits to be killed."""
    index, act = item
    if act != "wait":
        return perform(folder, item)
    mark(folder, index)
    time.sleep(2 * TIME_LIMIT)
    raise AssertionError("nobody came")


def bad_start(act: str, folder: str) -> None:
    """Go wrong, unless the file says that all is well now."""
    mark(folder, act)
    if not os.path.exists(os.path.join(folder, "well")):
        ACTS[act]()
