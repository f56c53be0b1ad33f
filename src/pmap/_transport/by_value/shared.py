"""Handles of values that many calls use: a value is pickled once, and each worker has one copy."""

from __future__ import annotations

from itertools import count
from typing import Generic, NoReturn, TypeVar

from .shares import handles

T = TypeVar("T")

_numbers = count(1)


class Shared(Generic[T]):
    """A handle of a value that many calls use, made by `share`.

    >>> from pmap import pmap, share
    >>> table = share({"a": 1, "b": 2})
    >>> def look(key: str) -> int:
    ...     return table.value[key]
    >>> pmap(look, ["b", "a"])
    [2, 1]
    """

    __slots__ = ("__weakref__", "_name", "_value")

    def __init__(self, value: T) -> None:
        """Make a handle of `value`; users call the function `share`."""
        self._value = value
        self._name = f"share-{next(_numbers)}"
        handles[self._name] = self

    @property
    def value(self) -> T:
        """The shared value: at the caller the object itself; in a worker the worker's copy."""
        return self._value

    @property
    def name(self) -> str:
        """The name of this handle, which no other handle of this process has."""
        return self._name

    def __repr__(self) -> str:
        return f"<Shared {type(self._value).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Shared is sent to the workers of pmap only, with a call")


def share(value: T) -> Shared[T]:
    """Return a handle of `value`, for a large value that many calls use.

    The handle goes to the workers as a global of the function, in its closure, or as an argument.
    In a worker, its `value` is the one copy that the worker has. The value is pickled once, when it
    is first sent. Large buffers in it (arrays, tables, bytes) are in memory that all workers share
    until they write to it. Workers do not see changes that you make to the value after it was sent.
    When you drop the handle, the memory is released: in the workers with the next call. With the
    threads and the serial backend `value` is the object itself.

    >>> from pmap import pmap, share
    >>> words = share(["a", "bb", "ccc"])
    >>> pmap(lambda index: len(words.value[index]), range(3))
    [1, 2, 3]
    """
    return Shared(value)
