"""The class of the verb `papply`.

This module has no ``from __future__ import annotations``: with it, ``help`` would show each
annotation as a quoted string.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from .._calls.call import Call, apply
from .._calls.failure import Failure
from .._calls.options import Settings
from .._jobs.own_frames import cut
from .async_result import AsyncResult
from .first_call import pools_for
from .verb import Fail_co, Verb

if TYPE_CHECKING:
    from .._explain.explanation import Explanation

R = TypeVar("R")
P = ParamSpec("P")


class Apply(Verb[Fail_co]):
    """The class of `papply`, and of what its ``using`` and ``collecting`` return.

    `Fail_co` is the type of what a call returns if `f` fails: `Failure` with ``collecting``;
    otherwise `Never`, since the call raises the failure.
    """

    _name = "papply"
    _takes_options = False  # `papply` passes all keywords on to f, so its calls take no options

    def __call__(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R | Fail_co:
        """Return ``f(*args, **kwargs)``, computed in a worker.

        >>> papply(int, "ff", base=16)
        255

        Like `pmap` with one item, except that all arguments and keywords are passed to `f`. So
        ``using`` sets the options: ``papply.using(backend="threads")(f, x)``.

        Args:
            f: a function; no coroutine or generator function.
            *args: the arguments of `f`.
            **kwargs: the keyword arguments of `f`.

        Returns:
            What `f` returns.

        Raises:
            Exception: the exceptions that `pmap` raises.
        """
        try:
            asked = self._ask(f, args, kwargs)
            result: R | Fail_co = pools_for(*asked).run(*asked)[0]
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise
        return result

    def async_(
        self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncResult[R | Fail_co]:
        """Return an `AsyncResult` at once; its result is what `papply` would return.

        >>> later = papply_async(int, "ff", base=16)
        >>> later.get()
        255

        Like `papply`, except that `f` runs in the background. ``get()`` and ``await`` return the
        result, or raise the error.

        Args:
            f: as in `papply`.
            *args: the arguments of `f`.
            **kwargs: the keyword arguments of `f`.

        Returns:
            The handle of the call. Wait for the result with ``get()`` or ``await``.

        Raises:
            TypeError: a worker cannot run `f`. Nothing has started.
        """
        try:
            asked = self._ask(f, args, kwargs)
            return pools_for(*asked).start_one(*asked)
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    def explain(
        self, f: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> "Explanation":
        """Return what a call with these arguments would cost, and what it would gain.

        >>> papply.explain(int, "ff", base=16).tried
        1

        Like `pmap.explain` with one item. It calls `f` once.

        Args:
            f: as in `papply`.
            *args: the arguments of `f`.
            **kwargs: the keyword arguments of `f`.

        Returns:
            An `Explanation`, as from `pmap.explain`.

        Raises:
            TypeError: a worker cannot run `f`. Nothing has started.
            WorkerStartError: no worker could start.
        """
        # The module is imported only for an explanation.
        from .explaining import explain_apply

        try:
            return explain_apply(*self._ask(f, args, kwargs))
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    @property
    def collecting(self) -> "Apply[Failure]":
        """This verb, but if `f` fails, it returns the failure as a value: a `Failure`.

        >>> papply.collecting(int, "x").error
        ValueError("invalid literal for int() with base 10: 'x'")
        """
        return Apply[Failure](self._settings, True)

    def _ask(
        self, f: object, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[Call, Settings]:
        rules, settings = self._in_force()
        return apply(self._name, f, args, kwargs, rules), settings
