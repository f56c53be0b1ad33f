"""Worker processes and fork servers that have not answered yet, and how long each may take."""

from __future__ import annotations

from time import monotonic
from typing import Generic, Protocol, TypeVar

# A new process has to answer within this many seconds. If it does not, it may not be a Python at
# all.
_ANSWER = 10.0
# A new process that certainly runs the same Python as this program has this many seconds to answer.
# It may be slow if many processes start at once, or if its files are on a network.
_SLOW_ANSWER = 60.0


class Awaited(Protocol):
    """A process that was started and has to answer: a worker, or the fork server."""

    @property
    def answered(self) -> bool:
        """Whether the process has answered."""
        ...

    def is_surely_python(self) -> bool:
        """Return whether the process certainly runs the same Python as this program."""
        ...

    def give_up(self, why: str) -> None:
        """Stop waiting for the process, which does not answer; `why` is the reason in words."""
        ...


Started = TypeVar("Started", bound=Awaited)


class Unanswered(Generic[Started]):
    """The processes that were started and have not answered, as far as the caller knows.

    Attributes:
        since: the processes, each with the time at which it was started.
    """

    def __init__(self) -> None:
        self.since: dict[Started, float] = {}

    @property
    def limit(self) -> float:
        """The number of seconds in which a new process has to answer."""
        return _ANSWER

    def add(self, started: Started) -> None:
        """Record that a process was started just now; the time for its answer begins."""
        self.since[started] = monotonic()

    def discard(self, started: Started) -> None:
        """Forget a process, if it was added."""
        self.since.pop(started, None)

    def seconds_left(self, timeout: float | None) -> float:
        """Return the seconds until the first process is overdue, but at most `timeout`."""
        # The dict is copied, because this thread does not hold the engine's lock, and another
        # thread may add a process meanwhile.
        left = [_left(started, since) for started, since in [*self.since.items()]]
        left += [] if timeout is None else [timeout]
        return max(0.0, min(left, default=_ANSWER))

    def take_overdue(self) -> list[Started]:
        """Return the processes whose time to answer is over.

        They are forgotten, and so are the processes that have answered.
        """
        overdue: list[Started] = []
        for started, since in [*self.since.items()]:
            if started.answered:
                del self.since[started]
            elif _left(started, since) <= 0:
                del self.since[started]
                overdue.append(started)
        return overdue


def _left(started: Awaited, since: float) -> float:
    """Return for how many more seconds a process may stay without an answer."""
    passed = monotonic() - since
    if passed < _ANSWER:
        return _ANSWER - passed
    return (_SLOW_ANSWER if started.is_surely_python() else _ANSWER) - passed
