"""The few types that several floors share."""

from collections.abc import AsyncIterable, Iterable
from typing import ClassVar, Literal, Protocol, TypeAlias, TypeGuard, runtime_checkable

__all__ = ["Backend", "GivenPool", "StartMethod", "is_async_iterable", "is_iterable"]

Backend: TypeAlias = Literal["processes", "threads", "serial"]
StartMethod: TypeAlias = Literal["spawn", "forkserver", "fork"]


@runtime_checkable
class GivenPool(Protocol):
    """A `pmap.Pool`, as the floors below it can name it.

    The marker keeps a ``multiprocessing.pool.Pool`` out, whose methods have the same names but
    which cannot run what the verbs promise.
    """

    __pmap_pool__: ClassVar[bool]


def is_iterable(value: object) -> TypeGuard[Iterable[object]]:
    """Return whether ``iter`` would take `value`; it takes the old sequence protocol, too."""
    return isinstance(value, Iterable) or hasattr(type(value), "__getitem__")


def is_async_iterable(value: object) -> TypeGuard[AsyncIterable[object]]:
    """Return whether ``aiter`` would take `value`."""
    return isinstance(value, AsyncIterable)
