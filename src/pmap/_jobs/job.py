"""One submitted call: the results that have come so far, and the way to ask for its end."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .._calls.call import Call
from .._calls.failure import Failure
from .._transport.failure_record import format_traceback
from .pending import NONE_YET, waits_for_itself
from .work import Work


class JobOwner(Protocol):
    """What a job needs of its driver."""

    def cancel(self, job: "Job") -> None:
        """Ask for the end of a job."""
        ...

    def withdraw(self, job: "Job") -> bool:
        """Cancel a job if nothing of it has begun; return whether it is cancelled."""
        ...

    def has_begun(self, job: "Job") -> bool:
        """Return whether anything of a job runs, or has run."""
        ...

    def holds_lock(self) -> bool:
        """Return whether this very thread holds the lock of the state."""
        ...

    def pass_on_reports(self) -> None:
        """Return when what items have printed so far is out."""
        ...

    def finished_ahead(self, job: "Job") -> int:
        """Return how many items are finished whose results have not come yet, as far as known."""
        ...

    def run_until(self, reached: Callable[[], bool]) -> None:
        """Return when `reached` if this thread leads, as no other one would; else at once."""
        ...


class Job(Work):
    """The results of one call, filled by the driver, read by the caller.

    There may be millions of them: what few of them need is made when it is needed.
    """

    __slots__ = ("_owner", "done", "failed", "failures", "tried")

    values: list[Any]

    # Whether its consumer does not wait for results at present: then no thread has to lead for it.
    resting = False

    def __init__(self, number: int, call: Call, owner: JobOwner) -> None:
        """Begin with no results."""
        super().__init__(number, call)
        self.done: int = 0
        self.failed: int = 0  # how many of them
        if not call.items:
            self.values = []  # the caller's own, as any result is
        self.failures: dict[int, Exception] | None = None
        # Items that are tried again, by how often they failed.
        self.tried: dict[int, int] | None = None
        self._owner = owner

    def fill(self, start: int, values: list[object], failures: Mapping[int, Exception]) -> None:
        """Take in the results of the items from `start` on; `failures` is by offset."""
        if len(values) == len(self.call.items):
            self.values = values
        else:
            # It grows as results come: all of it at once would keep the workers waiting.
            self._make_room(start)
            self.values[start : start + len(values)] = values
        if failures:
            for offset, error in failures.items():
                self.fail(start + offset, error)
        self._finished(len(values))

    @property
    def total(self) -> int:
        """How many items there are."""
        return len(self.call.items)

    def progress(self) -> tuple[int, int]:
        return self.done, self.total

    def _finished(self, items: int) -> None:
        self.done += items

    def _make_room(self, items: int) -> None:
        if self.values is NONE_YET:
            self.values = []
        missing = items - len(self.values)
        if missing > 0:
            self.values += [None] * missing

    def fail(self, index: int, error: Exception) -> None:
        """Note that an item has failed."""
        if self.failures is None:
            self.failures = {}
        self.failures[index] = error
        self.count_failure()

    def count_failure(self) -> None:
        """Note that one item more has failed."""
        self.failed += 1

    def lose(self, index: int, error: Exception) -> None:
        """Take in that an item has no result because of its worker."""
        self.fail(index, error)
        self._finished(1)

    def tries(self, index: int) -> int:
        """Return which try of an item is the present one."""
        return 1 if self.tried is None else self.tried.get(index, 0) + 1

    def try_again(self, index: int) -> None:
        """Note that an item has failed and is tried again."""
        if self.tried is None:
            self.tried = {}
        self.tried[index] = self.tried.get(index, 0) + 1

    @property
    def known_total(self) -> int | None:
        """How many items there are, None where that is not known yet."""
        return self.total

    def finished_ahead(self) -> int:
        """Return how many items are finished whose results have not come yet, as far as known."""
        return self._owner.finished_ahead(self)

    def _cancel(self) -> None:
        self._owner.cancel(self)

    def withdraw(self) -> bool:
        """Cancel it if nothing of it has begun; return whether it is cancelled."""
        return self._owner.withdraw(self)

    def has_begun(self) -> bool:
        """Return whether anything of it runs, or has run."""
        return self._owner.has_begun(self)

    def drive(self, enough: Callable[[], bool]) -> None:
        if self._owner.holds_lock():
            raise waits_for_itself(self.name)
        self._owner.run_until(lambda: self.over or enough())

    def _complete_values(self) -> None:
        if self.failures and self.call.rules.collect and self.error is None:
            self._make_room(self.total)
            for index, error in self.failures.items():
                self.values[index] = self.failure(index, error)
            self.failures.clear()

    def failure(self, index: int, error: Exception) -> Failure:
        """Return `error` as the value that stands where an item failed."""
        item = self.item(index)
        remote: object = getattr(error.__cause__, "tb", None)  # multiprocessing's RemoteTraceback
        text = remote if isinstance(remote, str) else ""
        if not text and error.__traceback__ is not None:
            text = format_traceback(error)
        text = text.strip().strip('"').strip()
        tries = self.tries(index)
        kept = self.call.items[index] if self.call.rules.keep_input else None
        return Failure(error, index, item.function, item.input, text, tries, kept)
