"""The types that several packages share."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Literal,
    NamedTuple,
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


@runtime_checkable
class GivenCheckpoint(Protocol):
    """A `pmap.Checkpoint`, for packages that must not import the class."""

    __pmap_checkpoint__: ClassVar[bool]

    def __fspath__(self) -> str: ...


class Progress(NamedTuple):
    """How far a call is: what the function given as the option ``progress`` is called with.

    >>> from pmap import Progress, pmap
    >>> told: list[Progress] = []
    >>> pmap(abs, [-1, 2, -3], progress=told.append)
    [1, 2, 3]
    >>> told[-1].done, told[-1].total, told[-1].finished
    (3, 3, True)

    Attributes:
        done: how many items are finished, those that failed among them. It never falls.
        total: how many items there are; None: that is not known yet, as of a stream of a generator.
        failed: how many items have failed.
        retried: how often an item that had failed was tried again.
        elapsed: seconds since the call began.
        label: the name of the function.
        finished: whether this is the last one: the call has ended, in whatever way.
    """

    done: int
    total: int | None
    failed: int
    retried: int
    elapsed: float
    label: str
    finished: bool


# What the option ``progress`` may be.
Show: TypeAlias = bool | str | Callable[[Progress], object]


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
