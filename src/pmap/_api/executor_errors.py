"""The exceptions that an `Executor`'s futures raise; ``except`` for the standard ones catches them.

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

# The class of the ``__cause__`` that the standard executor gives to an item's exception. It is a
# private class, so type checkers do not know its type.
_RemoteTraceback: type[Exception] = getattr(_process, "_RemoteTraceback")  # noqa: B009


class BrokenWorkerLost(WorkerLost, _process.BrokenProcessPool):
    """A `WorkerLost` that is a ``BrokenProcessPool``, too.

    After such an error the standard executor is broken, but an `Executor` of pmap goes on.
    """


class BrokenTransportError(TransportError, _process.BrokenProcessPool):
    """A `TransportError` that is a ``BrokenProcessPool``, too, for a value that cannot be loaded.

    After such a value the standard executor is broken.
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
    """Return whether a future may raise what the item has raised, as with the standard executor.

    A future may do so if the item has raised something that is no `Exception`, such as SystemExit.
    A future must not raise a StopIteration: futures of asyncio refuse it, and a task that awaits
    the result would wait for ever.
    """
    return error is not None and not isinstance(error, Exception)


def _as(cls: type[E], error: PmapError) -> E:
    """Return `error` as an object of the class `cls`, a subclass of its own class."""
    made = rebuilt(cls, error.args, dict(vars(error)))
    made.__cause__ = error.__cause__
    return _with_its_traceback(made)


def _with_its_traceback(error: B) -> B:
    """Show the worker's traceback of `error`, if it has one, as `concurrent.futures` does."""
    cause = error.__cause__
    if isinstance(cause, RemoteTraceback):
        # `BaseException.__setattr__` is called directly, because the class of the error may have a
        # `__setattr__` that raises, like that of a frozen dataclass.
        BaseException.__setattr__(error, "__cause__", _RemoteTraceback(str(cause)))
    return error
