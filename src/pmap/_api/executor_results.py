"""What an `Executor` returns: the future of a call, and the iterator over the results of `map`."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent import futures
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeAlias, TypeVar

from .._errors import CancelledError
from .._jobs.job import Job
from .future import PendingFuture

R = TypeVar("R")

_program_ends = False


def program_ends() -> bool:
    """Return whether the interpreter is ending; executors then finish what was submitted."""
    return _program_ends


def note_end_of_program() -> None:
    """Record that the interpreter is ending; `program_ends` returns true from now on."""
    global _program_ends
    _program_ends = True


class Future(PendingFuture[R], Generic[R]):
    """The future of one call. It can be cancelled only before the call has begun."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._job: Job | None = job
        job.when_over(self._end)

    def cancel(self) -> bool:
        """Cancel the call if it has not begun; return whether the future is cancelled."""
        job = self._job
        if job is not None and not self.done() and job.withdraw():
            self._become_cancelled()
        return self.cancelled()

    def running(self) -> bool:
        """Return whether the call has begun and is not over."""
        job = self._job
        if job is not None and not self.done() and job.has_begun() and not job.over:
            self._become_running()
        return super().running()

    def _drive(self, timeout: float | None) -> None:
        job = self._job
        if job is not None and job.over:
            # In a forked process, calls of the parent end without running their callbacks. So the
            # future checks here whether its call has ended.
            self._end()
        super()._drive(timeout)

    def _end(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            self.take(partial(_only, job))

    def _shown(self, error: Exception) -> BaseException:
        return shown(error)

    def __repr__(self) -> str:
        self.running()
        return super().__repr__()


def shown(error: Exception) -> BaseException:
    """Return the exception that a future raises for `error`, which ended its call."""
    name = f"{__package__}.executor_errors"
    if name not in sys.modules and program_ends():
        # The interpreter is ending, so the module with the standard classes cannot be imported any
        # more.
        return error
    from . import executor_errors

    return executor_errors.shown(error)


def _only(job: Job) -> Any:
    return job.values[0]


# One chunk of calls. It is a job; or, if a subclass or the program has replaced `submit`, the
# future that the new `submit` has returned for the whole chunk.
Chunk: TypeAlias = "Job | futures.Future[list[Any]]"


def call_each(function: Callable[..., R], rows: list[tuple[Any, ...]]) -> list[R]:
    """Return a list of the results of `function`, one for each row of arguments."""
    return [function(*row) for row in rows]


def results(jobs: deque[Chunk], more: Iterator[Chunk] | None, end: float | None) -> Iterator[Any]:
    """Yield the results of chunks in the order of the chunks, up to the first failure.

    Args:
        jobs: the chunks of calls that were submitted.
        more: an iterator that submits a further chunk at each step. None: there are no more.
        end: the time, by ``time.monotonic``, at which waiting ends. None: there is no limit.

    Raises:
        TimeoutError: a result was not there by the time `end`.
    """
    broken: Exception | None = None
    try:
        while jobs:
            if not _wait(jobs[0], None if end is None else end - time.monotonic()):
                raise TimeoutError
            job = jobs.popleft()
            if more is not None:
                try:
                    jobs.extend(islice(more, 1))
                except Exception as error:
                    # The error is raised further below, after the results of earlier chunks.
                    broken, more = error, None
            values, failure = _outcome(job)
            del job
            while values:
                yield values.pop()
            if failure is not None:
                raise failure
        if broken is not None:
            raise broken
    finally:
        # The variables are cleared, because the traceback of each exception refers to this frame.
        # If the frame also referred to the exception, there would be a reference cycle.
        broken = failure = None
        for job in jobs:
            job.cancel()


def _wait(job: Chunk, timeout: float | None) -> bool:
    """Wait until a chunk is over, or for `timeout` seconds; return whether it is over."""
    if isinstance(job, futures.Future):
        return bool(futures.wait([job], timeout).done)
    return job.wait(timeout)


def _outcome(job: Chunk) -> tuple[list[Any], BaseException | None]:
    """Return the results of a chunk in reverse order, and the error of its first failed item.

    Only results of items before the failed one are returned. The error is None if no item has
    failed.
    """
    if isinstance(job, futures.Future):
        failure = futures.CancelledError() if job.cancelled() else job.exception()
        return ([], failure) if failure is not None else (job.result()[::-1], None)
    error = job.error
    if error is None:
        return job.values[::-1], None
    if isinstance(error, CancelledError):
        return [], futures.CancelledError()
    good = min(job.failures) if job.failures else 0
    return job.values[:good][::-1], shown(error)
