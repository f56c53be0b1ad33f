"""The kind of verb that `pmap` is.

Most of it is what a user reads: docstrings, and overloads, of which no checker lets one be written
for all numbers of iterables.

No ``from __future__ import annotations`` here: ``help`` would show quoted strings.
"""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Self, TypeVar, Unpack, overload

from .._calls.call import Call, Streamed, each, each_async, each_streamed
from .._calls.failure import Failure
from .._calls.options import Options, Settings
from .async_result import AsyncResult
from .first_call import pools_for
from .result_stream import ResultStream
from .verb import Fail_co, Verb, same_signature_as

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
R = TypeVar("R")


class Map(Verb[Fail_co]):
    """The kind of verb that `pmap` is; made from it by ``using`` and ``collecting``.

    `Fail_co` is what stands in the result where an item failed: nothing, or a `Failure`.
    """

    _name = "pmap"

    @overload
    def __call__(
        self,
        f: Callable[[A], R],
        xs: Iterable[A],
        /,
        **options: Unpack[Options],
    ) -> list[R | Fail_co]: ...

    @overload
    def __call__(
        self,
        f: Callable[[A, B], R],
        xs: Iterable[A],
        ys: Iterable[B],
        /,
        **options: Unpack[Options],
    ) -> list[R | Fail_co]: ...

    @overload
    def __call__(
        self,
        f: Callable[[A, B, C], R],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        /,
        **options: Unpack[Options],
    ) -> list[R | Fail_co]: ...

    @overload
    def __call__(
        self,
        f: Callable[[A, B, C, D], R],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        us: Iterable[D],
        /,
        **options: Unpack[Options],
    ) -> list[R | Fail_co]: ...

    @overload
    def __call__(
        self,
        f: Callable[[A, B, C, D, E], R],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        us: Iterable[D],
        vs: Iterable[E],
        /,
        **options: Unpack[Options],
    ) -> list[R | Fail_co]: ...

    @overload
    def __call__(
        self,
        f: Callable[..., R],
        xs: Iterable[object],
        ys: Iterable[object],
        zs: Iterable[object],
        us: Iterable[object],
        vs: Iterable[object],
        ws: Iterable[object],
        /,
        *more: Iterable[object],
        **options: Unpack[Options],
    ) -> list[R | Fail_co]: ...

    def __call__(
        self,
        f: Callable[..., R],
        xs: Iterable[object],
        /,
        *more: Iterable[object],
        **options: Unpack[Options],
    ) -> list[R | Fail_co]:
        """Return ``list(map(f, xs, *more))``, computed by several workers at once.

        >>> pmap(len, ["a", "bb", "ccc"])
        [1, 2, 3]
        >>> pmap(pow, [2, 3, 4], [5, 2])
        [32, 9]

        Order: results are in the order of the input, whatever finishes first. Several iterables
        are gone through side by side, up to the end of the shortest.

        Input: read to its end before the first item starts.

        Error: the exception that the serial loop would have raised first is raised here, with
        the worker's traceback as its ``__cause__`` and a note that names function, index and
        input. Later items are stopped. `pmap.collecting` keeps failures as values instead.

        Dead worker: a worker process that dies (killed, crashed, out of memory) costs the one
        item it was running, which ends in `WorkerLost`. The pool goes on.

        The workers are shared and kept warm: the first call starts them. `f` may be a lambda, a
        closure or a function of ``__main__``, and a script needs no ``__name__`` guard.

        Args:
            f: a plain function of as many arguments as there are iterables.
            xs: its first arguments.
            *more: its other arguments, one iterable for each.
            **options: for this call only; they are listed below.

        Returns:
            A list with one result for each item.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: `f` is no plain function, or an iterable is none. Nothing has started.
            WorkerLost: the worker that ran the item died.
            WorkerStartError: no worker could start; with an initializer, look there first.
            TransportError: an argument or result cannot travel between processes.
            ControlFlowError: an item raised SystemExit, KeyboardInterrupt or the like, which
                would have ended the caller.
            Exception: whatever `f` raised for the first item that failed.
        """
        asked = self._ask(f, (xs, *more), options)
        return pools_for(*asked).run(*asked)

    @overload
    def async_(
        self,
        f: Callable[[A], R],
        xs: Iterable[A] | AsyncIterable[A],
        /,
        **options: Unpack[Options],
    ) -> AsyncResult[list[R | Fail_co]]: ...

    @overload
    def async_(
        self,
        f: Callable[[A, B], R],
        xs: Iterable[A],
        ys: Iterable[B],
        /,
        **options: Unpack[Options],
    ) -> AsyncResult[list[R | Fail_co]]: ...

    @overload
    def async_(
        self,
        f: Callable[[A, B, C], R],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        /,
        **options: Unpack[Options],
    ) -> AsyncResult[list[R | Fail_co]]: ...

    @overload
    def async_(
        self,
        f: Callable[[A, B, C, D], R],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        us: Iterable[D],
        /,
        **options: Unpack[Options],
    ) -> AsyncResult[list[R | Fail_co]]: ...

    @overload
    def async_(
        self,
        f: Callable[[A, B, C, D, E], R],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        us: Iterable[D],
        vs: Iterable[E],
        /,
        **options: Unpack[Options],
    ) -> AsyncResult[list[R | Fail_co]]: ...

    @overload
    def async_(
        self,
        f: Callable[..., R],
        xs: Iterable[object],
        ys: Iterable[object],
        zs: Iterable[object],
        us: Iterable[object],
        vs: Iterable[object],
        ws: Iterable[object],
        /,
        *more: Iterable[object],
        **options: Unpack[Options],
    ) -> AsyncResult[list[R | Fail_co]]: ...

    def async_(
        self,
        f: Callable[..., R],
        xs: Iterable[object] | AsyncIterable[object],
        /,
        *more: Iterable[object],
        **options: Unpack[Options],
    ) -> AsyncResult[list[R | Fail_co]]:
        """Return an `AsyncResult` at once: the list that `pmap` would return, still being made.

        >>> later = pmap_async(len, ["a", "bb", "ccc"])
        >>> later.get()
        [1, 2, 3]

        Like `pmap`, except that the items run while the caller does something else. An error
        comes out of ``get()`` or ``await``. The iterables are read before this returns.

        Args:
            f: as in `pmap`.
            xs: as in `pmap`; or an asynchronous iterable, which a task of the running
                event loop reads (asyncio only).
            *more: as in `pmap`.
            **options: as in `pmap`.

        Returns:
            The handle to wait on: ``get()``, or ``await``.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: `f` is no plain function, or an iterable is none. Nothing has started.
        """
        rules, settings = self._asked(f, options)
        asked = each_async(self._name, f, (xs, *more), rules), settings
        return pools_for(*asked).start(*asked)

    @overload
    def iter(
        self,
        f: Callable[[A], R],
        xs: Iterable[A] | AsyncIterable[A],
        /,
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]: ...

    @overload
    def iter(
        self,
        f: Callable[[A, B], R],
        xs: Iterable[A],
        ys: Iterable[B],
        /,
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]: ...

    @overload
    def iter(
        self,
        f: Callable[[A, B, C], R],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        /,
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]: ...

    @overload
    def iter(
        self,
        f: Callable[[A, B, C, D], R],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        us: Iterable[D],
        /,
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]: ...

    @overload
    def iter(
        self,
        f: Callable[[A, B, C, D, E], R],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        us: Iterable[D],
        vs: Iterable[E],
        /,
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]: ...

    @overload
    def iter(
        self,
        f: Callable[..., R],
        xs: Iterable[object],
        ys: Iterable[object],
        zs: Iterable[object],
        us: Iterable[object],
        vs: Iterable[object],
        ws: Iterable[object],
        /,
        *more: Iterable[object],
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]: ...

    def iter(
        self,
        f: Callable[..., R],
        xs: Iterable[object] | AsyncIterable[object],
        /,
        *more: Iterable[object],
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]:
        """Return the results of `pmap` as they come, in the order of the input.

        >>> from itertools import count
        >>> with pmap.iter(abs, count(-2)) as results:
        ...     [next(results) for _ in range(4)]
        [2, 1, 0, 1]

        For data that is long, or has no end: nothing runs before a result is asked for, and then
        the input is read in the thread that asks, and never further ahead of what was taken than
        `buffersize`. Leaving the ``with`` block, or dropping the stream, ends what runs.

        Order: each result comes as soon as it and all before it are there.

        Error: the exception of an item is raised in its place, behind the results before it, and
        ends the stream; with `pmap.collecting` it is a value, and the stream goes on. An exception
        of the input itself comes behind all results.

        Args:
            f: as in `pmap`.
            xs: as in `pmap`; or an asynchronous iterable, if the results are taken by
                ``async for``.
            *more: as in `pmap`.
            **options: as in `pmap`.

        Returns:
            The stream: for ``for``, ``async for``, ``next``, ``with`` and ``async with``.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: `f` is no plain function, or an iterable is none. Nothing has started.
        """
        asked = self._ask_streamed(f, (xs, *more), options)
        return pools_for(*asked).stream(*asked, ordered=True)

    @same_signature_as(iter)
    def iter_unordered(
        self,
        f: Callable[..., R],
        xs: Iterable[object] | AsyncIterable[object],
        /,
        *more: Iterable[object],
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]:
        """Return the results of `pmap` as they come, whatever is first.

        >>> sorted(pmap.iter_unordered(abs, [-1, 2, -3]))
        [1, 2, 3]

        Like `pmap.iter`, except that no result waits for another, and that the first failure that
        comes is the one that is raised.

        Args:
            f: as in `pmap`.
            xs: as in `pmap.iter`.
            *more: as in `pmap`.
            **options: as in `pmap`.

        Returns:
            The stream: for ``for``, ``async for``, ``next``, ``with`` and ``async with``.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: `f` is no plain function, or an iterable is none. Nothing has started.
        """
        asked = self._ask_streamed(f, (xs, *more), options)
        return pools_for(*asked).stream(*asked, ordered=False)

    @property
    def map(self) -> Self:
        """This verb itself, for programs that want a pool and call nothing but its ``map``.

        >>> from pmap import pmap
        >>> pmap.map(len, ["a", "bb"])
        [1, 2]
        """
        return self

    @property
    def collecting(self) -> "Map[Failure]":
        """This verb with failures as values: a `Failure` stands where an item failed.

        >>> bad = pmap.collecting(int, ["1", "x", "3"])[1]
        >>> bad.index, bad.error
        (1, ValueError("invalid literal for int() with base 10: 'x'"))

        Nothing stops at an error, and none is raised.
        """
        return Map[Failure](self._settings, True)

    def _ask(
        self, f: object, iterables: tuple[object, ...], options: Options
    ) -> tuple[Call, Settings]:
        rules, settings = self._asked(f, options)
        return each(self._name, f, iterables, rules), settings

    def _ask_streamed(
        self, f: object, iterables: tuple[object, ...], options: Options
    ) -> tuple[Streamed, Settings]:
        rules, settings = self._asked(f, options)
        return each_streamed(self._name, f, iterables, rules), settings
