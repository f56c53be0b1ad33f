"""Objects that cannot travel, and ways for an item to end.

Workers import this, so it imports little.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, Never

from tests.files import mark
from tests.limits import TIME_LIMIT

_exiting: list[None] = []


@contextmanager
def showing_exits() -> Generator[None]:
    """Let `text_or_exit` exit for a while.

    Only then: where a test fails pytest shows its objects, and a SystemExit would end the run.
    """
    _exiting.append(None)
    try:
        yield
    finally:
        _exiting.pop()


def text_or_exit(text: str) -> str:
    """Return what an object shows, or raise SystemExit instead; for its ``__repr__``."""
    if _exiting:
        raise SystemExit(text)
    return text


class Bare(BaseException):
    """Neither an error nor anything that the interpreter knows."""


class TwoArguments(Exception):
    """Its __init__ takes other arguments than it passes on."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class KeywordOnly(Exception):
    """Its __init__ wants keywords, which pickle does not give."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class HoldsLock(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class ReduceRaises(Exception):
    """Its own pickling fails."""

    def __reduce__(self) -> Never:
        raise RuntimeError("no reduce")


class ExitsWhileLoading(Exception):
    """Loading it raises SystemExit, everywhere."""

    def __reduce__(self) -> tuple[object, ...]:
        return sys.exit, (5,)


class DiesWhileLoading(Exception):
    """Loading it ends the process, everywhere but at home."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (6,)


class Loading:
    """An object that calls a function of one argument when it is loaded."""

    def __init__(self, function: Callable[[Any], object], argument: object) -> None:
        self.parts = function, (argument,)

    def __reduce__(self) -> tuple[Callable[[Any], object], tuple[object, ...]]:
        return self.parts

    def __repr__(self) -> str:
        return f"Loading({self.parts[0].__name__})"


class CannotPickle:
    """An argument or result whose pickling raises."""

    def __reduce__(self) -> Never:
        raise RuntimeError("no reduce")

    def __repr__(self) -> str:
        return "CannotPickle()"


class RaisesWhileLoading:
    """An object that raises when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return raise_lookup, ("cannot load",)

    def __repr__(self) -> str:
        return "RaisesWhileLoading()"


def raise_lookup(text: str) -> Never:
    """Raise a LookupError."""
    raise LookupError(text)


def quietly(act: Callable[[], object]) -> Callable[[], object]:
    """Return `act` without the stack dump that faulthandler would write."""

    def run() -> object:
        faulthandler.disable()
        return act()

    return run


def kill_me(number: int) -> None:
    """Send this process a signal, and wait for it to strike."""
    os.kill(os.getpid(), number)
    time.sleep(TIME_LIMIT)


def segfault() -> None:
    """Read where nothing is."""
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
    "SIGKILL": lambda: kill_me(signal.SIGKILL),
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


class BadFunction:
    """A function that cannot travel, or dies when it arrives."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, x: int) -> int:
        return x

    def __reduce__(self) -> tuple[object, ...]:
        if self.how == "pickling":
            raise RuntimeError("no reduce")
        return {"raising": int, "dying": os._exit}[self.how], (
            {"raising": "no number", "dying": 9}[self.how],
        )
