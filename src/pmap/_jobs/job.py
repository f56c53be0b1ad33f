"""A job, which is one call in progress as its caller sees it, with its results."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .._calls.call import Call
from .._calls.failure import Failure
from .._errors import CheckpointError
from .pending import NONE_YET, waits_for_itself
from .work import Work

if TYPE_CHECKING:
    from .._calls.kept import Found, Keeping


class _NotDone:
    """The type of `_NOT_DONE`, which is the only object of this type."""


# A place in the list of results has this value until its result comes.
_NOT_DONE = _NotDone()


class JobOwner(Protocol):
    """The methods of a pool's engine (the class `Driver`) that a job uses."""

    def cancel(self, job: "Job") -> None:
        """Cancel a job.

        If another thread holds the engine's lock, that thread cancels the job later.
        """
        ...

    def withdraw(self, job: "Job") -> bool:
        """Cancel a job if none of its items has begun; return whether the job is cancelled."""
        ...

    def has_begun(self, job: "Job") -> bool:
        """Return whether the job is over, or a worker has begun a chunk of the job."""
        ...

    def holds_lock(self) -> bool:
        """Return whether this thread holds the lock of the engine's state."""
        ...

    def pass_on_reports(self) -> None:
        """Wait until the caller's streams and loggers have what items have printed and logged."""
        ...

    def finished_ahead(self, job: "Job") -> int:
        """Return how many items of a job have ended whose results are not here: a lower bound."""
        ...

    def run_until(self, reached: Callable[[], bool]) -> None:
        """If this thread is in the engine's loop, run the loop until `reached` returns true.

        Any other thread returns at once.
        """
        ...


class Job(Work):
    """The job of one call: the engine stores results in it, and the caller reads them.

    There may be millions of jobs, so collections that few jobs need are made only when needed.
    """

    __slots__ = ("_owner", "done", "failed", "failures", "keeping", "tried", "unkept")

    values: list[Any]

    # True while the consumer of a stream does not ask for results. If items run in the consumer's
    # own thread, as with the serial backend, no thread has to run the engine's loop meanwhile.
    resting = False

    def __init__(self, number: int, call: Call, owner: JobOwner) -> None:
        super().__init__(number, call)
        self.done: int = 0  # how many items of the call are finished, including those that failed
        self.failed: int = 0  # how many items have failed
        if not call.items:
            # Each job has a list of its own, because the caller may change the list that it gets.
            self.values = []
        self.failures: dict[int, Exception] | None = None
        # For each failed item that is tried again: how often it has failed, by its index. None if
        # there is no such item.
        self.tried: dict[int, int] | None = None
        # The object that keeps the results in the call's checkpoint file while the call is in
        # progress; None if the call has no checkpoint.
        self.keeping: Keeping | None = None
        # The error of writing, if results could not be written to the checkpoint file.
        self.unkept: Exception | None = None
        self._owner = owner

    def fill(self, start: int, values: list[object], failures: Mapping[int, Exception]) -> None:
        """Store the results of the items from `start` on.

        `failures` has the errors of failed items, by their offset from `start`.
        """
        if len(values) == len(self.call.items):
            self.values = values
        else:
            # The list of results grows as results come. To make it in full length at once would
            # take time, and the workers would wait meanwhile.
            self._make_room(start)
            self.values[start : start + len(values)] = values
        if failures:
            for offset, error in failures.items():
                self.fail(start + offset, error)
        self._finished(len(values))

    def fill_only(self, value: object) -> None:
        """Store the result of a job of one item, which is not the job of a stream."""
        self.values = [value]
        self.done = 1

    @property
    def total(self) -> int:
        """The number of items of the call."""
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
            self.values += [_NOT_DONE] * missing

    def fail(self, index: int, error: Exception) -> None:
        """Record that an item has failed."""
        if self.failures is None:
            self.failures = {}
        self.failures[index] = error
        self.count_failure()

    def count_failure(self) -> None:
        """Count one more failed item."""
        self.failed += 1

    def lose(self, index: int, error: Exception) -> None:
        """Record that an item has no result, because its worker has ended while it had the item."""
        self.fail(index, error)
        self._finished(1)

    def run_out_of_time(self, error: Exception) -> None:
        """End the job with `error`, because its deadline has come.

        If failures are collected, the call does not fail: each item that is not done fails with
        `error` instead.

        Finished items keep their results in any case.
        """
        # The last results came while the workers were being killed, so the call has all its
        # results.
        if self.done == self.total:
            self.error = self.failures[min(self.failures)] if self.failures else None
        elif not self.call.rules.collect:
            self.error = error
        else:
            self._make_room(self.total)
            failed = self.failures or ()
            late = [i for i, v in enumerate(self.values) if v is _NOT_DONE and i not in failed]
            for index in late:
                self.lose(index, error)

    def tries(self, index: int) -> int:
        """Return which try of an item the present one is; 1 is the first try."""
        return 1 if self.tried is None else self.tried.get(index, 0) + 1

    def try_again(self, index: int) -> None:
        """Record that an item has failed and will be tried again."""
        if self.tried is None:
            self.tried = {}
        self.tried[index] = self.tried.get(index, 0) + 1

    @property
    def known_total(self) -> int | None:
        """The number of items; None as long as more input may come."""
        return self.total

    def finished_ahead(self) -> int:
        """Return how many items have ended whose results have not come yet: a lower bound."""
        return self._owner.finished_ahead(self)

    def _cancel(self) -> None:
        self._owner.cancel(self)

    def withdraw(self) -> bool:
        """Cancel the job if none of its items has begun; return whether the job is cancelled."""
        return self._owner.withdraw(self)

    def has_begun(self) -> bool:
        """Return whether the job is over, or a worker has begun a chunk of the job."""
        return self._owner.has_begun(self)

    def drive(self, enough: Callable[[], bool]) -> None:
        if self._owner.holds_lock():
            raise waits_for_itself(self.name)
        self._owner.run_until(lambda: self.over or enough())

    def take_found(self, found: "Found") -> None:
        """Store the results that the checkpoint file has from an earlier run."""
        for offset, attempts in found.attempts.items():
            if attempts > 1:
                self.tried = self.tried or {}
                self.tried[found.start + offset] = attempts - 1
        self.fill(found.start, found.values, found.failures)

    def keep(self, start: int, values: Sequence[object], failures: Mapping[int, Exception]) -> None:
        """Give the results of the items from `start` on to the call's checkpoint, if it has one."""
        if self.keeping is not None:
            self.keeping.add(start, values, failures, self.tries)

    def _complete_values(self) -> None:
        if self.failures:
            self._collect_failures()
        if self.error is None and self.unkept is not None:
            self.error = self.unkept
            if isinstance(self.unkept, CheckpointError):
                self.unkept.results = self.results_of_unkept()

    def results_of_unkept(self) -> object:
        """Return the results, for the error that says that the checkpoint file lacks some."""
        return self.values

    def _collect_failures(self) -> None:
        if self.failures and self.call.rules.collect and self.error is None:
            self._make_room(self.total)
            for index, error in self.failures.items():
                self.values[index] = self.failure(index, error)
            self.failures.clear()

    def failure(self, index: int, error: Exception) -> Failure:
        """Return the `Failure` object that stands in place of a failed item's result."""
        item = self.item(index)
        tries = self.tries(index)
        kept = self.call.items[index] if self.call.rules.keep_input else None
        return Failure.of(error, index, item.function, item.input, tries, kept)
