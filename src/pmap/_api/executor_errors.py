"""The exceptions of an `Executor`'s futures: ``except`` clauses for the standard ones catch them.

This module is imported only when a call has failed, since the import of
``concurrent.futures.process`` takes long.
"""

from concurrent.futures import process as _process
from typing import TypeGuard, TypeVar

from .._errors import ControlFlowError, PmapError, TransportError, WorkerLost, WorkerStartError
from .._multiprocessing_errors import NotPicklableError, RemoteTraceback, ResultPicklingError
from .._transport.exceptions import rebuilt

E = TypeVar("E", bound=PmapError)
B = TypeVar("B", bound=BaseException)

# The class of the ``__cause__`` that the standard executor gives an item's exception. The class is
# private, and its type is unknown to type checkers.
_RemoteTraceback: type[Exception] = getattr(_process, "_RemoteTraceback")  # noqa: B009


class BrokenWorkerLost(WorkerLost, _process.BrokenProcessPool):
    """A `WorkerLost` that is a ``BrokenProcessPool``, too.

    Unlike the standard executor, pmap's goes on after such an error.
    """


class BrokenTransportError(TransportError, _process.BrokenProcessPool):
    """A `TransportError` that is a ``BrokenProcessPool``, too: a value could not be loaded.

    The standard executor breaks at such a value.
    """


class BrokenWorkerStartError(WorkerStartError, _process.BrokenProcessPool):
    """A `WorkerStartError` that is a ``BrokenProcessPool``, too."""


def shown(error: Exception) -> BaseException:
    """Return the exception that a future raises for `error`, which ended its call."""
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
    """Return whether a future may raise what the item raised, as the standard executor does.

    It may if the item raised something that is no `Exception`, as SystemExit. It may not raise a
    StopIteration, which futures of asyncio refuse: a task that awaits it would wait for ever.
    """
    return error is not None and not isinstance(error, Exception)


def _as(cls: type[E], error: PmapError) -> E:
    """Return `error` as an instance of `cls`, a subclass of the error's own class."""
    made = rebuilt(cls, error.args, dict(vars(error)))
    made.__cause__ = error.__cause__
    return _with_its_traceback(made)


def _with_its_traceback(error: B) -> B:
    """Show the worker's traceback of `error`, if there is one, as `concurrent.futures` does."""
    cause = error.__cause__
    if isinstance(cause, RemoteTraceback):
        # This is no plain assignment, because the error's class may have a `__setattr__` that
        # refuses, as a frozen dataclass does.
        BaseException.__setattr__(error, "__cause__", _RemoteTraceback(str(cause)))
    return error
