"""Errors that are also errors of multiprocessing or pickle, for existing ``except`` clauses.

This module is imported when one of these errors is first needed, because it takes long to import
``multiprocessing.pool``.
"""

import pickle
from multiprocessing import TimeoutError as _TimeoutError
from multiprocessing import pool as _pool

from ._errors import PmapError, TransportError, transport_message

# typeshed lacks these two classes: they are not documented, but many programs catch them.
MaybeEncodingError: type[Exception] = getattr(_pool, "MaybeEncodingError")  # noqa: B009
RemoteTraceback: type[Exception] = getattr(_pool, "RemoteTraceback")  # noqa: B009


class ResultTimeoutError(PmapError, _TimeoutError, TimeoutError):
    """A result was not there in time.

    Either it was not there within the timeout that ``get`` was given; then the call goes on. Or the
    call was not over by its `deadline`; then its items were ended.
    """

    __module__ = "pmap"


class NotPicklableError(TransportError, pickle.PicklingError):
    """A function, argument, result or initializer could not be pickled."""

    __module__ = "pmap"


class ResultPicklingError(
    NotPicklableError,
    MaybeEncodingError,  # type: ignore[misc, valid-type]
):
    """The function returned something that cannot be pickled.

    Attributes:
        exc: the repr of the pickling error, as in ``MaybeEncodingError``.
        value: the repr of the result.
    """

    __module__ = "pmap"

    def __init__(self, exc: str, value: str, *, function: str, index: int, input: str) -> None:
        TransportError.__init__(
            self, "result", "worker", exc, function=function, index=index, input=input
        )
        self.exc = exc
        self.value = value

    def __str__(self) -> str:
        # The message is this one, because that of MaybeEncodingError names neither the function nor
        # the index.
        return (
            transport_message(self.what, self.side, self.why, self.function, self.index, self.input)
            + f". The result was {self.value}"
        )


def with_remote_traceback(error: BaseException, text: str) -> None:
    """Put the worker's traceback into the ``__cause__`` of `error`, as ``multiprocessing`` does."""
    # `BaseException.__setattr__` is called directly, because the class of the error may have a
    # `__setattr__` that raises, like that of a frozen dataclass.
    BaseException.__setattr__(error, "__cause__", RemoteTraceback(f'\n"""\n{text}"""'))
    BaseException.__setattr__(error, "__traceback__", None)
