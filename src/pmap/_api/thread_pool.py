"""ThreadPool: the methods of `Pool`, for threads of this process."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVarTuple, overload

from .pool import AnyNumber, Pool
from .standard import stands_for

Ts = TypeVarTuple("Ts")


class ThreadPool(Pool):
    """A pool of threads of this process, with the methods of `Pool`.

    A drop-in for ``multiprocessing.pool.ThreadPool``: for functions that wait, or that release the
    GIL. Nothing is pickled, and all items share the objects of this process. A thread cannot be
    ended: `terminate` returns while the items that run go on to their end.

    >>> from pmap import ThreadPool
    >>> with ThreadPool(2) as pool:
    ...     pool.map(abs, [-1, 2, -3])
    [1, 2, 3]

    Args:
        processes: how many threads; None: one for each CPU that this process may use.
        initializer: called once in each thread before its first item; None: nothing.
        initargs: the arguments of `initializer`.

    Raises:
        OptionError: an argument is not possible. `OptionError` is a ValueError and a TypeError.
    """

    __module__ = "pmap"
    _workers = ("thread", "threads")

    @overload
    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[[], object] | None = None,
        initargs: tuple[()] | AnyNumber = (),
    ) -> None: ...
    @overload
    def __init__(
        self,
        processes: int | None,
        initializer: Callable[[*Ts], object] | None,
        initargs: tuple[*Ts] | AnyNumber,
    ) -> None: ...
    @overload
    def __init__(
        self,
        processes: int | None = None,
        *,
        initializer: Callable[[*Ts], object] | None,
        initargs: tuple[*Ts] | AnyNumber,
    ) -> None: ...
    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        self._begin(
            {
                "backend": "threads",
                "processes": processes,
                "initializer": initializer,
                "initargs": initargs,
            }
        )


stands_for(ThreadPool, "ThreadPool")
