"""Objects that cannot travel, or do harm where they are pickled, loaded or shown.

Workers import this, so it imports little.
"""

import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Never

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
