"""What the futures of an `Executor` raise, such that clauses for ``concurrent.futures`` catch it.

Imported only when a call has failed, since ``concurrent.futures.process`` is heavy.
"""

from concurrent.futures import process as _process
from typing import TypeGuard, TypeVar

from .._errors import ControlFlowError, PmapError, TransportError, WorkerLost, WorkerStartError
from .._multiprocessing_errors import NotPicklableError, RemoteTraceback, ResultPicklingError
from .._transport.exceptions import rebuilt

E = TypeVar("E", bound=PmapError)
B = TypeVar("B", bound=BaseException)

# Typeshed does not know it: what the standard executor gives an error as its cause.
_RemoteTraceback: type[Exception] = getattr(_process, "_RemoteTraceback")  # noqa: B009


class BrokenWorkerLost(WorkerLost, _process.BrokenProcessPool):
    """A `WorkerLost` that is a ``BrokenProcessPool``, too; the executor goes on all the same."""


class BrokenTransportError(TransportError, _process.BrokenProcessPool):
    """A `TransportError` of what could not be loaded, which breaks the standard executor."""


class BrokenWorkerStartError(WorkerStartError, _process.BrokenProcessPool):
    """A `WorkerStartError` that is a ``BrokenProcessPool``, too."""


def shown(error: Exception) -> BaseException:
    """Return what a future raises for the error that its call ended with."""
    cause = error.__cause__
    if isinstance(error, ControlFlowError | ResultPicklingError) and _may_be_raised(cause):
        return _with_its_traceback(cause)
    if isinstance(error, WorkerLost):
        return _as(BrokenWorkerLost, error)
    if isinstance(error, WorkerStartError):
        return _as(BrokenWorkerStartError, error)
    if isinstance(error, TransportError) and not isinstance(error, NotPicklableError):
        return _as(BrokenTransportError, error)
    return _with_its_traceback(error)


def _may_be_raised(error: BaseException | None) -> TypeGuard[BaseException]:
    """Return whether the standard executor would raise it, and an event loop could.

    A StopIteration is taken by no future of asyncio: who awaits one would wait for ever.
    """
    return error is not None and not isinstance(error, Exception)


def _as(cls: type[E], error: PmapError) -> E:
    """Return an error as one of a class that derives from its own."""
    made = rebuilt(cls, error.args, dict(vars(error)))
    made.__cause__ = error.__cause__
    return _with_its_traceback(made)


def _with_its_traceback(error: B) -> B:
    """Give an error the standard executor's form of the worker's traceback."""
    cause = error.__cause__
    if isinstance(cause, RemoteTraceback):
        # Past a __setattr__ of its own, which may refuse: a frozen dataclass's does.
        BaseException.__setattr__(error, "__cause__", _RemoteTraceback(str(cause)))
    return error
