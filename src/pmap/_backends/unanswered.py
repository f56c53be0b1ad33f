"""Processes that were started and have not answered: for how long that may go on."""

from __future__ import annotations

from time import monotonic
from typing import Generic, Protocol, TypeVar

# Seconds in which a process that was started has to say that it is a Python. One that surely is one
# gets more: it may be slow to begin where many do, or where its files are far away.
_ANSWER = 10.0
_SLOW_ANSWER = 60.0


class Awaited(Protocol):
    """Something that was started and is to answer."""

    @property
    def answered(self) -> bool:
        """Whether it has answered."""
        ...

    def is_surely_python(self) -> bool:
        """Return whether it is known to be the interpreter that runs this program."""
        ...

    def give_up(self, why: str) -> None:
        """End it: it does not answer."""
        ...


Started = TypeVar("Started", bound=Awaited)


class Unanswered(Generic[Started]):
    """What was started and has not answered, as far as it was noticed.

    Attributes:
        since: when each of them was started; a true value while there are any.
    """

    def __init__(self) -> None:
        """Make an empty one."""
        self.since: dict[Started, float] = {}

    @property
    def limit(self) -> float:
        """Seconds in which an answer is expected."""
        return _ANSWER

    def add(self, started: Started) -> None:
        """Note that something was started just now."""
        self.since[started] = monotonic()

    def discard(self, started: Started) -> None:
        """Forget something, if it is here."""
        self.since.pop(started, None)

    def seconds_left(self, timeout: float | None) -> float:
        """Return `timeout` seconds, or less: until the first of them is overdue."""
        # A copy: this thread does not hold the lock of the state, and another one may start more.
        left = [_left(started, since) for started, since in [*self.since.items()]]
        left += [] if timeout is None else [timeout]
        return max(0.0, min(left, default=_ANSWER))

    def take_overdue(self) -> list[Started]:
        """Forget those that have answered or are overdue; return the overdue ones."""
        overdue: list[Started] = []
        for started, since in [*self.since.items()]:
            if started.answered:
                del self.since[started]
            elif _left(started, since) <= 0:
                del self.since[started]
                overdue.append(started)
        return overdue


def _left(started: Awaited, since: float) -> float:
    """Return for how many seconds something may go on without an answer."""
    passed = monotonic() - since
    if passed < _ANSWER:
        return _ANSWER - passed
    return (_SLOW_ANSWER if started.is_surely_python() else _ANSWER) - passed
