"""The options `retries` and `retry_on` in the form that the engine uses."""

from collections.abc import Iterable

from .._errors import TaskTimeout, WorkerLost


def delays(retries: int | Iterable[float]) -> tuple[float, ...]:
    """Return how many seconds to wait before each further try.

    >>> delays(2), delays([0.5, 1])
    ((0.0, 0.0), (0.5, 1.0))
    """
    if isinstance(retries, int):
        return (0.0,) * retries
    return tuple([float(delay) for delay in retries])


def errors(
    retry_on: type[Exception] | tuple[type[Exception], ...] | None,
) -> tuple[type[Exception], ...]:
    """Return the classes of errors after which an item is tried again."""
    if retry_on is None:
        return WorkerLost, TaskTimeout
    return retry_on if isinstance(retry_on, tuple) else (retry_on,)
