"""The method `explain` of the verb `pmap`, in a base class of the verb's class.

Most of this module is overloads: type checkers need one for each number of iterables.

This module has no ``from __future__ import annotations``: with it, ``help`` would show each
annotation as a quoted string.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

from .._calls.options import Options
from .._jobs.own_frames import cut
from .verb import Fail_co, Verb

if TYPE_CHECKING:
    from .._explain.explanation import Explanation

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")


class ExplainsMaps(Verb[Fail_co]):
    """A verb of a function and iterables, with the method `explain`."""

    @overload
    def explain(
        self,
        f: Callable[[A], object],
        xs: Iterable[A],
        /,
        **options: Unpack[Options],
    ) -> "Explanation": ...

    @overload
    def explain(
        self,
        f: Callable[[A, B], object],
        xs: Iterable[A],
        ys: Iterable[B],
        /,
        **options: Unpack[Options],
    ) -> "Explanation": ...

    @overload
    def explain(
        self,
        f: Callable[[A, B, C], object],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        /,
        **options: Unpack[Options],
    ) -> "Explanation": ...

    @overload
    def explain(
        self,
        f: Callable[[A, B, C, D], object],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        us: Iterable[D],
        /,
        **options: Unpack[Options],
    ) -> "Explanation": ...

    @overload
    def explain(
        self,
        f: Callable[[A, B, C, D, E], object],
        xs: Iterable[A],
        ys: Iterable[B],
        zs: Iterable[C],
        us: Iterable[D],
        vs: Iterable[E],
        /,
        **options: Unpack[Options],
    ) -> "Explanation": ...

    @overload
    def explain(
        self,
        f: Callable[..., object],
        xs: Iterable[object],
        ys: Iterable[object],
        zs: Iterable[object],
        us: Iterable[object],
        vs: Iterable[object],
        ws: Iterable[object],
        /,
        *more: Iterable[object],
        **options: Unpack[Options],
    ) -> "Explanation": ...

    def explain(
        self,
        f: Callable[..., object],
        xs: Iterable[object],
        /,
        *more: Iterable[object],
        **options: Unpack[Options],
    ) -> "Explanation":
        """Return what a call with these arguments would cost, and what it would gain.

        >>> found = pmap.explain(len, ["a", "bb", "ccc"])
        >>> found.tried, found.unsent, found.failed
        (3, '', '')

        ``print(found)`` shows all that it has as a table, with a sentence that says what follows.

        Items: it runs a few items, each once, for about half a second, where the call would run
        them. With the default backend that is a worker process, so that nothing changes here. The
        first item in a worker does not count if there are others: it may import modules.

        Pool: then it measures for about half a second what the pool takes for an item without
        work, and how much faster all workers compute than one. So it tells of the machine as it is
        now, with all other work that it has.

        Input: the items are taken from all parts of a list, a tuple, a range or another sequence.
        Of any other iterable the first ones are read. An iterator does not give these again: see
        `Explanation.consumed`.

        Error: an item that fails is reported as `Explanation.failed`, and not raised.

        Workers: they stay warm for the calls to come. Where the verb has the backend "threads",
        some worker processes are started in addition, which do not run `f` and end with the
        explanation. With "serial" only the items are measured.

        Args:
            f: as in `pmap`.
            xs: as in `pmap`.
            *more: as in `pmap`.
            **options: as in `pmap`. The explanation is that of a call with these options.

        Returns:
            An `Explanation`.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: a worker cannot run `f`, or an iterable is none. No item has started.
            WorkerStartError: no worker could start.
        """
        # The module is imported only for an explanation.
        from .explaining import explain_each

        try:
            return explain_each(self._name, f, (xs, *more), *self._asked(f, options))
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise
