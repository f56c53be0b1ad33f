"""Calls of different functions in parallel: `call` describes one call, and `pcall` makes them all.

This module has no ``from __future__ import annotations``: with it, ``help`` would show each
annotation as a quoted string.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Generic, Never, ParamSpec, TypeVar, overload

from .._calls.call import Call, apply, calls
from .._calls.describe import name_of, short_repr
from .._calls.failure import Failure
from .._calls.options import Settings
from .._errors import OptionError
from .._jobs.own_frames import cut
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
    """A call that has not been made yet: a function and its arguments. `call` returns one."""

    def __init__(
        self, f: Callable[..., R_co], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._f = f
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> R_co:
        """Make the call in this process, and return the result of the call."""
        return self._f(*self._args, **self._kwargs)

    def __reduce__(self) -> str | tuple[Any, ...]:
        # The object is pickled as a functools.partial, so a worker does not have to import this
        # module.
        return functools.partial(self._f, *self._args, **self._kwargs).__reduce__()

    def __repr__(self) -> str:
        shown = [short_repr(value) for value in self._args]
        shown += [f"{name}={short_repr(value)}" for name, value in self._kwargs.items()]
        return f"{name_of(self._f)}({', '.join(shown)})"


def call(f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Deferred[R]:
    """Return the call ``f(*args, **kwargs)`` without making it, as an argument of `pcall`.

    >>> from pmap import call
    >>> call(int, "ff", base=16)
    int('ff', base=16)
    >>> call(int, "ff", base=16)()
    255

    Args:
        f: a function; no coroutine or generator function.
        *args: the arguments of `f`.
        **kwargs: the keyword arguments of `f`.

    Returns:
        A function of no arguments. Calling it makes the call in this process.

    Raises:
        TypeError: a worker cannot run `f`.
    """
    # The arguments are checked in this call, so that the traceback of a mistake shows the user's
    # line.
    apply("call", f, args, kwargs)
    return Deferred(f, args, kwargs)


class Calls(Verb[Fail_co]):
    """The class of `pcall`, and of what its ``using`` and ``collecting`` return.

    `Fail_co` is the type of what stands in the result for a call that failed: `Failure` with
    ``collecting``; otherwise `Never`, since `pcall` raises the failure.
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

    def __call__(  # noqa: D417 - `options` is only there to refuse them with a helpful message
        self, *calls: Callable[[], Any], **options: Never
    ) -> tuple[Any, ...]:
        """Return the results of calls of different functions, made by several workers at once.

        >>> from pmap import call, pcall
        >>> pcall(call(abs, -1), call(int, "ff", base=16), call(sorted, "cab"))
        (1, 255, ['a', 'b', 'c'])

        Like `pmap`, except that each item is a function of its own. It replaces code that starts a
        ``multiprocessing.Process`` for each function and gets the results from a ``Queue``.

        ``using`` sets the options: ``pcall.using(processes=3)(...)``.

        Args:
            *calls: the calls to make, each returned by `call`; or any functions of no arguments.

        Returns:
            A tuple with the result of each call, in the order of `calls`.

        Raises:
            TypeError: one of `calls` cannot be called. No call has started.
            Exception: the exceptions that `pmap` raises.
        """
        try:
            asked = self._ask(calls, options)
            return tuple(pools_for(*asked).run(*asked))
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

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

    def async_(  # noqa: D417 - `options` is only there to refuse them with a helpful message
        self, *calls: Callable[[], Any], **options: Never
    ) -> AsyncResult[tuple[Any, ...]]:
        """Return an `AsyncResult` at once; its result is the tuple that `pcall` would return.

        >>> from pmap import call, pcall
        >>> pcall.async_(call(abs, -1), call(str.upper, "a")).get()
        (1, 'A')

        Args:
            *calls: as in `pcall`.

        Returns:
            The handle of the calls. Wait for the result with ``get()`` or ``await``.

        Raises:
            TypeError: one of `calls` cannot be called. No call has started.
        """
        try:
            asked = self._ask(calls, options)
            return pools_for(*asked).start_tuple(*asked)
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    @property
    def collecting(self) -> "Calls[Failure]":
        """This verb, but it returns failures as values: a `Failure` stands where a call failed.

        >>> from pmap import call, pcall
        >>> pcall.collecting(call(int, "x"), call(abs, -1))[1]
        1
        """
        return Calls[Failure](self._settings, True)

    def _ask(
        self, given: tuple[object, ...], options: Mapping[str, object]
    ) -> tuple[Call, Settings]:
        for name, value in options.items():
            # The module is imported only after a mistake.
            from .._calls.option_names import option_called

            known = option_called(name) or "processes"
            raise OptionError(
                name,
                value,
                f"pcall takes calls only, as call(f, {name}=...); its options are set before, as "
                f"in pcall.using({known}=...)(call(f), call(g))",
            )
        # Each chunk has one call, because the time of one function does not predict that of
        # another.
        rules, settings = self._in_force()
        return calls(self._name, given, rules._replace(chunksize=1)), settings
