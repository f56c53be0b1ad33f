"""The errors that stand in place of results: for items that are lost or late, and for calls."""

from .._backends.protocol import WorkerEnded
from .._errors import CancelledError, PmapError, WorkerLost, WorkerStartError
from .._jobs.item_errors import readable_stack, too_late, with_stack
from .._jobs.job import Job
from .._jobs.work import Work
from .._scheduling.workers import MAX_START_FAILURES
from .._transport.exceptions import describe


def overdue(job: Job, index: int, gone: WorkerEnded | None) -> Exception:
    """Return the error of an item that ran for too long.

    `gone` tells how the worker that ran the item has ended.
    """
    rules = job.call.rules
    stack = readable_stack(gone.stack if gone else "")
    return too_late(job.item(index), rules.timeout, stack, rules.trace_as_text)


def lost(job: Job, index: int, gone: WorkerEnded | None) -> Exception:
    """Return the error of an item whose worker process has ended.

    `gone` tells how the worker has ended.
    """
    item = job.item(index)
    error = WorkerLost(
        pid=(gone.pid if gone else None) or 0,
        exitcode=gone.exitcode if gone else None,
        begun=gone is None or gone.begun > 0,
        reason=gone.reason if gone and gone.begun else "",
        function=item.function,
        index=index,
        input=item.input,
    )
    if gone and gone.begun:
        error.__cause__ = gone.cause
    stack = readable_stack(gone.stack if gone else "")
    return with_stack(error, stack, job.call.rules.trace_as_text)


def cancelled(job: Job, is_closed: bool) -> Exception:
    """Return the error of a call that was cancelled, alone or together with its pool."""
    why = "its pool was terminated" if is_closed else "it was cancelled"
    return CancelledError(f"{job.name} has no result: {why} after {job.done} of {job.total} items")


def late(job: Job) -> Exception:
    """Return the error of a call that was not over when its deadline came."""
    from .._multiprocessing_errors import ResultTimeoutError

    if job.known_total is None:
        done = f"{job.done} items are done, of {job.total} that were read"
    else:
        done = f"{job.done} of {job.known_total} items are done"
    limit = job.call.rules.deadline or 0.0
    return ResultTimeoutError(f"{job.name} was not over within its deadline of {limit:g} s: {done}")


def unstarted(failure: WorkerEnded | None) -> Exception:
    """Return the error of a call for which no worker could be started.

    `failure` tells how the worker that was tried last has ended.
    """
    attempts = 1 if failure is not None and failure.hopeless else MAX_START_FAILURES
    error = WorkerStartError(attempts, failure.reason if failure else "not known")
    error.__cause__ = failure.cause if failure else None
    return error


def unsent_function(work: Work, error: BaseException) -> PmapError:
    """Return the error of a call whose function could not be pickled.

    `error` is the exception that the pickling has raised.
    """
    from .._multiprocessing_errors import NotPicklableError
    from .._transport.by_value.blame import where_it_fails
    from .._transport.by_value.sent_names import UnsentNameError

    why = error.why if isinstance(error, UnsentNameError) else error
    where = where_it_fails(work.call.function, work.function_name, why)
    wrapped = NotPicklableError(
        "function",
        "caller",
        f"it could not be pickled: {describe(why)}{where}",
        function=work.function_name,
        index=None,
        input="",
    )
    wrapped.__cause__ = why
    return wrapped
