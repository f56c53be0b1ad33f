"""The types that several packages of pmap share."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Never,
    Protocol,
    TypeAlias,
    TypeGuard,
    runtime_checkable,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

Backend: TypeAlias = Literal["processes", "threads", "interpreters", "serial"]


class Engine(Protocol):
    """What the option ``backend`` takes besides a word: an object that runs tasks somewhere.

    Every ``concurrent.futures.Executor`` is an engine. pmap submits chunks of items to it, and
    never shuts it down. An engine may have more methods than `submit`, for which pmap looks by
    name:

    - ``slots() -> int``: how many tasks the engine runs at the same time. Without it pmap reads
      the attribute ``_max_workers`` or ``max_workers``; without those, the option ``processes``
      must be given.
    - ``kill(future) -> None``: ends a task that runs, soon; its future must then end, too. With
      it, a call that is cancelled ends the items that run.
    - ``watch() -> Callable[[], bool]``: a function that can be pickled, as a static method is. It
      is called where a task begins, in the thread of the task. What it returns is called each
      tenth of a second while the task runs; if that returns False, pmap ends the task.
    - ``claim(name: str) -> bool``: a function that can be pickled. It is called where a task
      begins, with a name that no other task has, and returns whether it is the first call with
      this name anywhere. It is for an engine that by itself runs a task again: if it returns
      False, no item runs again, and those of the task fail with `WorkerLost`.
    - ``once: bool``: whether the engine never runs a task again by itself. If it is True, pmap does
      not call `claim`. Default: False.
    - ``share(data: bytes) -> object``: a handle for data that many tasks need. pmap gives it to
      `submit` as an argument, in the place of the data, and the engine gives the task the data.
      With it, a function of more than 64 KiB travels once, and not with each of many chunks.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from pmap import Engine, pmap
    >>> def twice_as_long(engine: Engine, words: list[str]) -> list[int]:
    ...     return pmap(lambda word: 2 * len(word), words, backend=engine)
    >>> with ThreadPoolExecutor(2) as executor:
    ...     twice_as_long(executor, ["a", "bb"])
    [2, 4]
    """

    def submit(self, f: Callable[..., bytes], /, *args: Any, **kwargs: Any) -> "Future[bytes]":
        """Run ``f(*args)`` somewhere, and at once return a future of its result.

        pmap gives `f` an argument of type `bytes`. If the engine has `share`, or for a call with
        the option ``ship``, two more may follow: each is `bytes`, None, or a handle of `share`.
        """
        ...


class AppliesAsync(Protocol):
    """A pool with the method ``apply_async`` of ``multiprocessing.pool.Pool``."""

    def apply_async(
        self,
        func: Callable[..., bytes],
        args: tuple[object, ...],
        kwds: Mapping[str, object],
        callback: Callable[[bytes], object],
        error_callback: Callable[[BaseException], object],
        /,
    ) -> object:
        """Run ``func(*args, **kwds)`` in a worker; at its end call one of the two callbacks."""
        ...


# The type of the values that the option ``backend`` may have.
Place: TypeAlias = Backend | Engine | AppliesAsync
StartMethod: TypeAlias = Literal["spawn", "forkserver", "fork"]


@runtime_checkable
class GivenPool(Protocol):
    """The type of a `pmap.Pool`, for modules of pmap that must not import that class.

    The marker distinguishes it from a ``multiprocessing.pool.Pool``, which has methods of the same
    names and cannot do what the verbs promise.
    """

    __pmap_pool__: ClassVar[bool]


@runtime_checkable
class GivenCheckpoint(Protocol):
    """The type of a `pmap.Checkpoint`, for modules of pmap that must not import that class."""

    __pmap_checkpoint__: ClassVar[bool]

    def __fspath__(self) -> str: ...


class Progress(NamedTuple):
    """How far a call is: the argument of the function that the option ``progress`` gives.

    >>> from pmap import Progress, pmap
    >>> told: list[Progress] = []
    >>> pmap(abs, [-1, 2, -3], progress=told.append)
    [1, 2, 3]
    >>> told[-1].done, told[-1].total, told[-1].finished
    (3, 3, True)

    Attributes:
        done: how many items are finished, those that failed among them. It never falls.
        total: how many items there are; None if that is not known yet, as for a stream of a
            generator.
        failed: how many items have failed.
        retried: how often an item that had failed was tried again.
        elapsed: seconds since the call began.
        label: the name of the function.
        finished: whether this is the last update, because the call has ended in whatever way.
    """

    done: int
    total: int | None
    failed: int
    retried: int
    elapsed: float
    label: str
    finished: bool


# The type of the values that the option ``progress`` may have.
Show: TypeAlias = bool | str | Callable[[Progress], object]


class Frozen:
    """A value that never changes; two are equal if they have the same class and equal fields.

    It is like a frozen dataclass, but to import `dataclasses` takes half as long as to import pmap.
    """

    _names: ClassVar[tuple[str, ...]]  # the names of the fields, as the constructor takes them

    def _fields(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self._names])

    # Type checkers must not see this method: they would allow any attribute then.
    if not TYPE_CHECKING:

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
    """Return whether ``iter`` accepts `value`, which may also have the old sequence protocol."""
    return isinstance(value, Iterable) or hasattr(type(value), "__getitem__")


def is_async_iterable(value: object) -> TypeGuard[AsyncIterable[object]]:
    """Return whether ``aiter`` accepts `value`."""
    return isinstance(value, AsyncIterable)
