"""Different functions in parallel: `call` says what is to be called, and `pcall` calls it.

No ``from __future__ import annotations`` here: ``help`` would show quoted strings.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Generic, Never, ParamSpec, TypeVar, overload

from .._calls.call import Call, apply, calls
from .._calls.describe import name_of, short_repr
from .._calls.failure import Failure
from .._calls.options import Settings
from .._errors import OptionError
from .async_result import AsyncResult
from .first_call import pools_for
from .verb import Fail_co, Verb

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
P = ParamSpec("P")


class Deferred(Generic[R_co]):
    """A call that is still to be made; made by `call`."""

    def __init__(
        self, f: Callable[..., R_co], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._f = f
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> R_co:
        """Make the call."""
        return self._f(*self._args, **self._kwargs)

    def __reduce__(self) -> str | tuple[Any, ...]:
        # As what it amounts to: a worker need not know this class.
        return functools.partial(self._f, *self._args, **self._kwargs).__reduce__()

    def __repr__(self) -> str:
        shown = [short_repr(value) for value in self._args]
        shown += [f"{name}={short_repr(value)}" for name, value in self._kwargs.items()]
        return f"{name_of(self._f)}({', '.join(shown)})"


def call(f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Deferred[R]:
    """Return the call ``f(*args, **kwargs)``, not made yet: for `pcall`.

    >>> from pmap import call
    >>> call(int, "ff", base=16)
    int('ff', base=16)
    >>> call(int, "ff", base=16)()
    255

    Args:
        f: a function.
        *args: its arguments.
        **kwargs: its keyword arguments.

    Returns:
        A function of no arguments.

    Raises:
        TypeError: `f` is no function that can run in a worker.
    """
    apply("call", f, args, kwargs)  # the checks: a mistake shows here, where it is
    return Deferred(f, args, kwargs)


class Calls(Verb[Fail_co]):
    """The kind of verb that `pcall` is; made from it by ``using`` and ``collecting``.

    `Fail_co` is what may stand in the place of a result: nothing, or a `Failure`.
    """

    _name = "pcall"
    _takes_options = False

    @overload
    def __call__(self, a: Callable[[], A], /) -> tuple[A | Fail_co]: ...

    @overload
    def __call__(
        self, a: Callable[[], A], b: Callable[[], B], /
    ) -> tuple[A | Fail_co, B | Fail_co]: ...

    @overload
    def __call__(
        self, a: Callable[[], A], b: Callable[[], B], c: Callable[[], C], /
    ) -> tuple[A | Fail_co, B | Fail_co, C | Fail_co]: ...

    @overload
    def __call__(
        self, a: Callable[[], A], b: Callable[[], B], c: Callable[[], C], d: Callable[[], D], /
    ) -> tuple[A | Fail_co, B | Fail_co, C | Fail_co, D | Fail_co]: ...

    @overload
    def __call__(
        self,
        a: Callable[[], A],
        b: Callable[[], B],
        c: Callable[[], C],
        d: Callable[[], D],
        e: Callable[[], E],
        /,
    ) -> tuple[A | Fail_co, B | Fail_co, C | Fail_co, D | Fail_co, E | Fail_co]: ...

    @overload
    def __call__(self, *calls: Callable[[], A]) -> tuple[A | Fail_co, ...]: ...

    def __call__(  # noqa: D417 - none of these exists
        self, *calls: Callable[[], Any], **options: Never
    ) -> tuple[Any, ...]:
        """Return the results of different calls, made by several workers at once.

        >>> from pmap import call, pcall
        >>> pcall(call(abs, -1), call(int, "ff", base=16), call(sorted, "cab"))
        (1, 255, ['a', 'b', 'c'])

        Like `pmap`, except that each item is a function of its own. For what else one would start
        a ``multiprocessing.Process`` for each, and a ``Queue`` to carry the results home.

        Options are set before: ``pcall.using(processes=3)(...)``.

        Args:
            *calls: made by `call`, or any functions of no arguments.

        Returns:
            A tuple with the result of each, in their order.

        Raises:
            TypeError: one of them cannot be called. Nothing has started.
            Exception: the same as `pmap`.
        """
        asked = self._ask(calls, options)
        return tuple(pools_for(*asked).run(*asked))

    @overload
    def async_(self, a: Callable[[], A], /) -> AsyncResult[tuple[A | Fail_co]]: ...

    @overload
    def async_(
        self, a: Callable[[], A], b: Callable[[], B], /
    ) -> AsyncResult[tuple[A | Fail_co, B | Fail_co]]: ...

    @overload
    def async_(
        self, a: Callable[[], A], b: Callable[[], B], c: Callable[[], C], /
    ) -> AsyncResult[tuple[A | Fail_co, B | Fail_co, C | Fail_co]]: ...

    @overload
    def async_(
        self, a: Callable[[], A], b: Callable[[], B], c: Callable[[], C], d: Callable[[], D], /
    ) -> AsyncResult[tuple[A | Fail_co, B | Fail_co, C | Fail_co, D | Fail_co]]: ...

    @overload
    def async_(
        self,
        a: Callable[[], A],
        b: Callable[[], B],
        c: Callable[[], C],
        d: Callable[[], D],
        e: Callable[[], E],
        /,
    ) -> AsyncResult[tuple[A | Fail_co, B | Fail_co, C | Fail_co, D | Fail_co, E | Fail_co]]: ...

    @overload
    def async_(self, *calls: Callable[[], A]) -> AsyncResult[tuple[A | Fail_co, ...]]: ...

    def async_(  # noqa: D417 - none of these exists
        self, *calls: Callable[[], Any], **options: Never
    ) -> AsyncResult[tuple[Any, ...]]:
        """Return an `AsyncResult` at once: the tuple that `pcall` would return.

        >>> from pmap import call, pcall
        >>> pcall.async_(call(abs, -1), call(str.upper, "a")).get()
        (1, 'A')

        Args:
            *calls: as in `pcall`.

        Returns:
            The handle to wait on: ``get()``, or ``await``.

        Raises:
            TypeError: one of them cannot be called. Nothing has started.
        """
        asked = self._ask(calls, options)
        return pools_for(*asked).start_tuple(*asked)

    @property
    def collecting(self) -> "Calls[Failure]":
        """This verb with failures as values: a `Failure` stands where a call failed.

        >>> from pmap import call, pcall
        >>> pcall.collecting(call(int, "x"), call(abs, -1))[1]
        1
        """
        return Calls[Failure](self._settings, True)

    def _ask(
        self, given: tuple[object, ...], options: Mapping[str, object]
    ) -> tuple[Call, Settings]:
        for name, value in options.items():
            from .._calls.option_names import option_called  # only a mistake needs it

            known = option_called(name) or "processes"
            raise OptionError(
                name,
                value,
                f"pcall takes calls only, as call(f, {name}=...); its options are set before, as "
                f"in pcall.using({known}=...)(call(f), call(g))",
            )
        # Each is another kind of work: what one costs says nothing of the next.
        rules, settings = self._in_force()
        return calls(self._name, given, rules._replace(chunksize=1)), settings
