"""The class of the verb `pmap`.

Most of this module is docstrings and overloads. Type checkers need one overload for each number of
iterables.

This module has no ``from __future__ import annotations``: with it, ``help`` would show each
annotation as a quoted string.
"""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Self, TypeVar, Unpack, overload

from .._calls.call import Call, Streamed, each, each_async, each_streamed
from .._calls.failure import Failure
from .._calls.options import Options, Settings
from .._jobs.own_frames import cut
from .async_result import AsyncResult
from .explaining_maps import ExplainsMaps
from .first_call import pools_for
from .result_stream import ResultStream
from .verb import Fail_co, same_signature_as

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
R = TypeVar("R")


class Map(ExplainsMaps[Fail_co]):
    """The class of `pmap`, and of what its ``using`` and ``collecting`` return.

    `Fail_co` is the type of what stands in the result for an item that failed: `Failure` with
    ``collecting``; otherwise `Never`, since the call raises the failure.
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

        Order: the results are in the order of the input, whichever item finishes first. With
        several iterables, each call takes one element of each, up to the end of the shortest.

        Input: pmap reads the iterables to their end before the first item starts.

        Error: pmap raises the exception that a serial loop would have raised first. Its traceback
        goes on into the functions that ran in the worker, and a note names the function, the index
        and the input.
        The items behind the failed one are stopped. `pmap.collecting` returns failures as values.

        Dead worker: if a worker process dies (killed, crashed, out of memory), the one item that
        it was running fails with `WorkerLost`. The pool goes on with all other items.

        Workers: the first call starts them, and later calls use them again. `f` may be a lambda,
        a closure or a function of ``__main__``; a script needs no ``__name__`` guard.

        Args:
            f: a function of one argument for each iterable. It may be no generator function; a
                coroutine function is given as ``sync(f)``.
            xs: an iterable of the first argument of each call.
            *more: iterables of the second argument of each call, of the third, and so on.
            **options: options for this call only; they are listed below.

        Returns:
            A list with one result for each item.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: a worker cannot run `f`, or an iterable is none. No item has started.
            WorkerLost: a worker process died while it ran an item.
            TaskTimeout: an item ran for longer than `timeout`.
            WorkerStartError: no worker could start, for example because the initializer failed.
            TransportError: an argument or result cannot be sent from one process to another.
            ControlFlowError: an item raised SystemExit, KeyboardInterrupt or the like. Raised
                as it was, that would have ended the caller.
            Exception: what `f` raised for the first item (in input order) that failed.
        """
        try:
            asked = self._ask(f, (xs, *more), options)
            return pools_for(*asked).run(*asked)
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

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
        """Return an `AsyncResult` at once; its result is the list that `pmap` would return.

        >>> later = pmap_async(len, ["a", "bb", "ccc"])
        >>> later.get()
        [1, 2, 3]

        Like `pmap`, except that the items run in the background. ``get()`` and ``await`` return
        the list, or raise the error. The iterables are read to their end before this call returns.

        Args:
            f: as in `pmap`.
            xs: as in `pmap`; or an asynchronous iterable. A task of the running event loop then
                reads it in the background (asyncio only).
            *more: as in `pmap`.
            **options: as in `pmap`.

        Returns:
            The handle of the call. Wait for the result with ``get()`` or ``await``.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: a worker cannot run `f`, or an iterable is none. No item has started.
        """
        try:
            rules, settings = self._asked(f, options)
            asked = each_async(self._name, f, (xs, *more), rules), settings
            return pools_for(*asked).start(*asked)
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

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
        """Return a stream of the results of `pmap`, in the order of the input.

        >>> from itertools import count
        >>> with pmap.iter(abs, count(-2)) as results:
        ...     [next(results) for _ in range(4)]
        [2, 1, 0, 1]

        It is for input that is long or has no end. No item is read or run before the consumer of
        the stream asks for a result. The thread that asks then reads the input, at most
        `buffersize` items ahead of the results that the consumer has taken. Leaving the ``with``
        block, or dropping the stream, ends the items that still run.

        Order: the stream gives each result as soon as it and all results before it are there.

        Error: the stream raises the exception of an item in the place of the item's result, after
        all results before it, and ends. With `pmap.collecting` it gives a `Failure` there and goes
        on. If the input itself raises, the stream raises that exception after all results.

        Args:
            f: as in `pmap`.
            xs: as in `pmap`; or an asynchronous iterable, if the consumer uses ``async for``.
            *more: as in `pmap`.
            **options: as in `pmap`.

        Returns:
            The stream, for use by ``for``, ``async for``, ``next``, ``with`` and ``async with``.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: a worker cannot run `f`, or an iterable is none. No item has started.
        """
        try:
            asked = self._ask_streamed(f, (xs, *more), options)
            return pools_for(*asked).stream(*asked, ordered=True)
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    @same_signature_as(iter)
    def iter_unordered(
        self,
        f: Callable[..., R],
        xs: Iterable[object] | AsyncIterable[object],
        /,
        *more: Iterable[object],
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]:
        """Return a stream of the results of `pmap`, in the order in which the items finish.

        >>> sorted(pmap.iter_unordered(abs, [-1, 2, -3]))
        [1, 2, 3]

        Like `pmap.iter`, except that no result waits for an earlier one, and that the stream
        raises the failure that comes first in time.

        Args:
            f: as in `pmap`.
            xs: as in `pmap.iter`.
            *more: as in `pmap`.
            **options: as in `pmap`.

        Returns:
            The stream, for use by ``for``, ``async for``, ``next``, ``with`` and ``async with``.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: a worker cannot run `f`, or an iterable is none. No item has started.
        """
        try:
            asked = self._ask_streamed(f, (xs, *more), options)
            return pools_for(*asked).stream(*asked, ordered=False)
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    @property
    def map(self) -> Self:
        """This verb itself: so `pmap` can stand for a pool in code that calls only ``pool.map``.

        >>> from pmap import pmap
        >>> pmap.map(len, ["a", "bb"])
        [1, 2]
        """
        return self

    @property
    def collecting(self) -> "Map[Failure]":
        """This verb, but it returns failures as values: a `Failure` stands where an item failed.

        >>> bad = pmap.collecting(int, ["1", "x", "3"])[1]
        >>> bad.index, bad.error
        (1, ValueError("invalid literal for int() with base 10: 'x'"))

        All items run, also after one has failed, and no item's exception is raised.
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
