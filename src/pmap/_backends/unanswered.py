"""Worker and template processes that have not answered yet, and how long they may take."""

from __future__ import annotations

from time import monotonic
from typing import Generic, Protocol, TypeVar

# Seconds in which a process that was started has to answer that it is a Python.
_ANSWER = 10.0
# Seconds in which a process has to answer that is known to run the interpreter of this program. The
# process may be slow to begin if many processes begin at once, or if its files are on a network.
_SLOW_ANSWER = 60.0


class Awaited(Protocol):
    """A process that was started and is to answer: a worker, or the template process."""

    @property
    def answered(self) -> bool:
        """Whether the process has answered."""
        ...

    def is_surely_python(self) -> bool:
        """Return whether the process is known to run the interpreter of this program."""
        ...

    def give_up(self, why: str) -> None:
        """Stop waiting for the process, which does not answer; `why`: the reason in words."""
        ...


Started = TypeVar("Started", bound=Awaited)


class Unanswered(Generic[Started]):
    """The processes that were started and from which no answer has been noticed.

    Attributes:
        since: the processes, each with the time at which it was started.
    """

    def __init__(self) -> None:
        """Start with no process."""
        self.since: dict[Started, float] = {}

    @property
    def limit(self) -> float:
        """Seconds in which a process has to answer."""
        return _ANSWER

    def add(self, started: Started) -> None:
        """Record that a process was started just now."""
        self.since[started] = monotonic()

    def discard(self, started: Started) -> None:
        """Forget a process, if it was noted."""
        self.since.pop(started, None)

    def seconds_left(self, timeout: float | None) -> float:
        """Return the seconds until the first process is overdue, or `timeout` if that is less."""
        # The items are copied, because this thread does not hold the lock of the engine's state:
        # another thread may add a process meanwhile.
        left = [_left(started, since) for started, since in [*self.since.items()]]
        left += [] if timeout is None else [timeout]
        return max(0.0, min(left, default=_ANSWER))

    def take_overdue(self) -> list[Started]:
        """Forget the processes that have answered or are overdue; return the overdue ones."""
        overdue: list[Started] = []
        for started, since in [*self.since.items()]:
            if started.answered:
                del self.since[started]
            elif _left(started, since) <= 0:
                del self.since[started]
                overdue.append(started)
        return overdue


def _left(started: Awaited, since: float) -> float:
    """Return for how many more seconds a process may go on without an answer."""
    passed = monotonic() - since
    if passed < _ANSWER:
        return _ANSWER - passed
    return (_SLOW_ANSWER if started.is_surely_python() else _ANSWER) - passed
