"""The kind of verb that `papply` is.

No ``from __future__ import annotations`` here: ``help`` would show quoted strings.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from .._calls.call import Call, apply
from .._calls.failure import Failure
from .._calls.options import Settings
from .async_result import AsyncResult
from .first_call import pools_for
from .verb import Fail_co, Verb

R = TypeVar("R")
P = ParamSpec("P")


class Apply(Verb[Fail_co]):
    """The kind of verb that `papply` is; made from it by ``using`` and ``collecting``.

    `Fail_co` is what may stand in place of the result: nothing, or a `Failure`.
    """

    _name = "papply"
    _takes_options = False  # the keywords of the call belong to f

    def __call__(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R | Fail_co:
        """Return ``f(*args, **kwargs)``, computed in a worker.

        >>> papply(int, "ff", base=16)
        255

        Like `pmap` with one item, except that all arguments, keywords too, belong to `f`; so
        options are set before: ``papply.using(backend="threads")(f, x)``.

        Args:
            f: a plain function.
            *args: its arguments.
            **kwargs: its keyword arguments.

        Returns:
            What `f` returns.

        Raises:
            Exception: the same as `pmap`.
        """
        asked = self._ask(f, args, kwargs)
        result: R | Fail_co = pools_for(*asked).run(*asked)[0]
        return result

    def async_(
        self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncResult[R | Fail_co]:
        """Return an `AsyncResult` at once: what `papply` would return, still being made.

        >>> later = papply_async(int, "ff", base=16)
        >>> later.get()
        255

        Like `papply`, except that `f` runs while the caller does something else. An error comes
        out of ``get()`` or ``await``.

        Args:
            f: as in `papply`.
            *args: its arguments.
            **kwargs: its keyword arguments.

        Returns:
            The handle to wait on: ``get()``, or ``await``.

        Raises:
            TypeError: `f` is no plain function. Nothing has started.
        """
        asked = self._ask(f, args, kwargs)
        return pools_for(*asked).start_one(*asked)

    @property
    def collecting(self) -> "Apply[Failure]":
        """This verb with a failure as a value: a `Failure` is returned where `f` fails.

        >>> papply.collecting(int, "x").error
        ValueError("invalid literal for int() with base 10: 'x'")
        """
        return Apply[Failure](self._settings, True)

    def _ask(
        self, f: object, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[Call, Settings]:
        rules, settings = self._in_force()
        return apply(self._name, f, args, kwargs, rules), settings
