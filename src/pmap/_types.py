"""The types that several packages share."""

from collections.abc import AsyncIterable, Iterable
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Literal,
    Never,
    Protocol,
    TypeAlias,
    TypeGuard,
    runtime_checkable,
)

Backend: TypeAlias = Literal["processes", "threads", "serial"]
StartMethod: TypeAlias = Literal["spawn", "forkserver", "fork"]


@runtime_checkable
class GivenPool(Protocol):
    """A `pmap.Pool`, for packages that must not import the class.

    The marker tells it from a ``multiprocessing.pool.Pool``, which has methods of the same names
    but cannot do what the verbs promise.
    """

    __pmap_pool__: ClassVar[bool]


class Frozen:
    """A value that never changes. Two of one class are equal if all their fields are equal.

    It is like a frozen dataclass; but importing that module takes half as long as importing pmap.
    """

    _names: ClassVar[tuple[str, ...]]  # the names of the fields

    def _fields(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self._names])

    if not TYPE_CHECKING:  # a type checker that saw this __setattr__ would allow any attribute

        def __setattr__(self, name: str, value: object) -> Never:
            raise AttributeError(f"cannot set {name!r}: a {type(self).__name__} does not change")

        def __delattr__(self, name: str) -> Never:
            raise AttributeError(f"cannot delete {name!r}: a {type(self).__name__} does not change")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())


def is_iterable(value: object) -> TypeGuard[Iterable[object]]:
    """Return whether ``iter`` accepts `value`; ``iter`` accepts the old sequence protocol, too."""
    return isinstance(value, Iterable) or hasattr(type(value), "__getitem__")


def is_async_iterable(value: object) -> TypeGuard[AsyncIterable[object]]:
    """Return whether ``aiter`` accepts `value`."""
    return isinstance(value, AsyncIterable)
