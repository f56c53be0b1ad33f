"""The class of the verb `pstarmap`.

This module has no ``from __future__ import annotations``: with it, ``help`` would show each
annotation as a quoted string.
"""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

from .._calls.call import Call, star, star_async, star_streamed
from .._calls.failure import Failure
from .._calls.options import Options, Settings
from .._jobs.own_frames import cut
from .async_result import AsyncResult
from .first_call import pools_for
from .result_stream import ResultStream
from .verb import Fail_co, Verb, refusing_more

if TYPE_CHECKING:
    from .._explain.explanation import Explanation

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class StarMap(Verb[Fail_co]):
    """The class of `pstarmap`, and of what its ``using`` and ``collecting`` return.

    `Fail_co` is the type of what stands in the result for an item that failed: `Failure` with
    ``collecting``; otherwise `Never`, since the call raises the failure.
    """

    _name = "pstarmap"

    def __call__(
        self,
        f: Callable[[*Ts], R],
        rows: Iterable[tuple[*Ts]],
        /,
        **options: Unpack[Options],
    ) -> list[R | Fail_co]:
        """Return ``list(starmap(f, rows))``, computed by several workers at once.

        >>> pstarmap(pow, [(2, 5), (3, 2)])
        [32, 9]

        Like `pmap`, except that each item is a row: a tuple of all the arguments of one call.
        An item whose row has the wrong length fails with a TypeError.

        Args:
            f: a function; no coroutine or generator function.
            rows: an iterable of tuples, each with the arguments of one call. If the rows are
                lists, give ``map(tuple, rows)``, since type checkers want tuples.
            **options: options for this call only; they are listed below.

        Returns:
            A list with one result for each row.

        Raises:
            Exception: the exceptions that `pmap` raises.
        """
        asked = self._ask(f, rows, options)
        return pools_for(*asked).run(*asked)

    def async_(
        self,
        f: Callable[[*Ts], R],
        rows: Iterable[tuple[*Ts]] | AsyncIterable[tuple[*Ts]],
        /,
        **options: Unpack[Options],
    ) -> AsyncResult[list[R | Fail_co]]:
        """Return an `AsyncResult` at once; its result is the list that `pstarmap` would return.

        >>> pstarmap_async(pow, [(2, 5), (3, 2)]).get()
        [32, 9]

        Like `pmap_async`, except that each item is a row, as in `pstarmap`.

        Args:
            f: as in `pstarmap`.
            rows: as in `pstarmap`, and read to the end before this call returns; or an
                asynchronous iterable, as in `pmap_async`.
            **options: as in `pstarmap`.

        Returns:
            The handle of the call. Wait for the result with ``get()`` or ``await``.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: a worker cannot run `f`, or `rows` is no iterable. No item has started.
        """
        rules, settings = self._asked(f, options)
        asked = star_async(self._name, f, rows, rules), settings
        return pools_for(*asked).start(*asked)

    def iter(
        self,
        f: Callable[[*Ts], R],
        rows: Iterable[tuple[*Ts]] | AsyncIterable[tuple[*Ts]],
        /,
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]:
        """Return a stream of the results of `pstarmap`, in the order of the input.

        >>> list(pstarmap.iter(pow, [(2, 5), (3, 2)]))
        [32, 9]

        Like `pmap.iter`, except that each item is a row, as in `pstarmap`.

        Args:
            f: as in `pstarmap`.
            rows: as in `pstarmap`; or an asynchronous iterable, as in `pmap.iter`.
            **options: as in `pmap`.

        Returns:
            The stream, as in `pmap.iter`.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: a worker cannot run `f`, or `rows` is no iterable. No item has started.
        """
        rules, settings = self._asked(f, options)
        asked = star_streamed(self._name, f, rows, rules), settings
        return pools_for(*asked).stream(*asked, ordered=True)

    def iter_unordered(
        self,
        f: Callable[[*Ts], R],
        rows: Iterable[tuple[*Ts]] | AsyncIterable[tuple[*Ts]],
        /,
        **options: Unpack[Options],
    ) -> ResultStream[R | Fail_co]:
        """Return a stream of the results of `pstarmap`, in the order in which the items finish.

        >>> sorted(pstarmap.iter_unordered(pow, [(2, 5), (3, 2)]))
        [9, 32]

        Like `pmap.iter_unordered`, except that each item is a row, as in `pstarmap`.

        Args:
            f: as in `pstarmap`.
            rows: as in `pstarmap.iter`.
            **options: as in `pmap`.

        Returns:
            The stream, as in `pmap.iter`.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: a worker cannot run `f`, or `rows` is no iterable. No item has started.
        """
        rules, settings = self._asked(f, options)
        asked = star_streamed(self._name, f, rows, rules), settings
        return pools_for(*asked).stream(*asked, ordered=False)

    def explain(
        self,
        f: Callable[[*Ts], object],
        rows: Iterable[tuple[*Ts]],
        /,
        **options: Unpack[Options],
    ) -> "Explanation":
        """Return what a call with these arguments would cost, and what it would gain.

        >>> pstarmap.explain(pow, [(2, 5), (3, 2)]).items
        2

        Like `pmap.explain`, except that each item is a row, as in `pstarmap`.

        Args:
            f: as in `pstarmap`.
            rows: as in `pstarmap`.
            **options: as in `pmap`.

        Returns:
            An `Explanation`, as from `pmap.explain`.

        Raises:
            Exception: the exceptions that `pmap.explain` raises.
        """
        # The module is imported only for an explanation.
        from .explaining import explain_star

        try:
            return explain_star(self._name, f, rows, *self._asked(f, options))
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    @property
    def collecting(self) -> "StarMap[Failure]":
        """This verb, but it returns failures as values: a `Failure` stands where an item failed.

        >>> pstarmap.collecting(divmod, [(7, 2), (1, 0)])[0]
        (3, 1)

        All items run, also after one has failed, and no item's exception is raised.
        """
        return StarMap[Failure](self._settings, True)

    if not TYPE_CHECKING:  # at run time, further arguments raise an error that says what to do
        __call__ = refusing_more(__call__)
        async_ = refusing_more(async_)
        explain = refusing_more(explain)
        iter = refusing_more(iter)
        iter_unordered = refusing_more(iter_unordered)

    def _ask(self, f: object, rows: object, options: Options) -> tuple[Call, Settings]:
        rules, settings = self._asked(f, options)
        return star(self._name, f, rows, rules), settings
