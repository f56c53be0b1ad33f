"""The verbs: typed callables over a pool, with settings that chain; no logic.

A verb checks what it is asked for (`_call`, `_options`) and hands it to the floor below. It is an
object that reads like a function: `_Verb` says for ``help``, ``inspect.signature``, ``repr`` and
pickle what they would find on one.

Over 300 lines, because the text that a user reads is here: overloads, of which no checker lets one
be written for all numbers of iterables, and docstrings. Code is a small part of them.

No ``from __future__ import annotations`` here: ``help`` would show quoted strings.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Generic, Never, ParamSpec, Self, TypeVarTuple, overload

# TypeVar with default= is in typing from Python 3.13 on.
from typing_extensions import TypeVar, Unpack, get_type_hints

from ._call import Call, apply, each, name_of, short_repr, star
from ._door import run, start, start_one
from ._options import Options, Settings, changed, in_force, merge
from ._outcome import Failure
from ._result import AsyncResult

__all__ = [
    "Apply",
    "Map",
    "StarMap",
    "papply",
    "papply_async",
    "pmap",
    "pmap_async",
    "pstarmap",
    "pstarmap_async",
]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
R = TypeVar("R")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")
# What stands where an item failed: nothing, unless failures are collected.
Fail_co = TypeVar("Fail_co", covariant=True, default=Never)


class _Signature:
    """``verb.__signature__``: the parameters of the call, options with their present values.

    No property: ``inspect.signature`` of the class would find the property itself.
    """

    def __get__(self, verb: "_Verb[object] | None", owner: type) -> inspect.Signature:
        if verb is None:
            raise AttributeError("__signature__")
        _, *parameters = inspect.signature(type(verb).__call__).parameters.values()
        return _readable(parameters, in_force(verb._settings) if verb._takes_options else {})


# No slots: on 3.11 a generic frozen dataclass with slots cannot be called as Map[X](...).
@dataclass(frozen=True, repr=False)
class _Verb(Generic[Fail_co]):
    _settings: Settings = field(default_factory=Settings)
    _collect: bool = False

    _name: ClassVar[str]
    _takes_options: ClassVar[bool] = True

    __signature__: ClassVar[_Signature] = _Signature()

    def using(self, **options: Unpack[Options]) -> Self:
        """Return this verb with the options set, for all its calls; the verb itself is unchanged.

        >>> pmap.using(backend="threads").using(chunksize=10)
        pmap.using(backend='threads', chunksize=10)

        Args:
            **options: see `Options`.

        Returns:
            A verb of the same kind.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
        """
        return replace(self, _settings=merge(self._settings, options))

    def _with(self, options: Options) -> Settings:
        return merge(self._settings, options) if options else self._settings

    # -- what makes the object read like a function --------------------------------------------

    def __post_init__(self) -> None:
        # Into the instance: a class body cannot define __qualname__ for its instances. The
        # docstring is not the class's, or pydoc would take it for inherited and hide it.
        vars(self).update(
            __name__=self._name, __qualname__=self._name, __doc__=type(self).__call__.__doc__
        )

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        # With this, inspect.isroutine holds, so help() and doctest take a verb for a function,
        # and like a builtin function it does not bind to an object it is an attribute of.
        return self

    def __repr__(self) -> str:
        options = changed(self._settings)
        shown = ", ".join(
            f"{name}={name_of(value) if callable(value) else short_repr(value)}"
            for name, value in options.items()
        )
        using = f".using({shown})" if options else ""
        return f"{self._name}{using}{'.collecting' if self._collect else ''}"

    def __reduce__(self) -> str | tuple[object, ...]:
        # A verb as imported travels by name, so it stays the same object.
        imported: object = globals().get(self._name)
        if imported is self:
            return self._name
        return type(self), (self._settings, self._collect)

    def __deepcopy__(self, memo: object) -> Self:
        return self  # immutable; and the pool in it, if one was given, is meant to be shared

    def __copy__(self) -> Self:
        return self


def _readable(
    parameters: Iterable[inspect.Parameter], options: dict[str, object]
) -> inspect.Signature:
    """Return the signature as a reader wants it: each option in place of ``**options``.

    The types of the others are left out: with their type variables they are hard to read.
    """
    types = get_type_hints(Options)
    own = [
        parameter.replace(annotation=parameter.empty)
        for parameter in parameters
        if not (options and parameter.kind is parameter.VAR_KEYWORD)
    ]
    spelled_out = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=types[name]
        )
        for name, value in options.items()
    ]
    return inspect.Signature([*own, *spelled_out])


class Map(_Verb[Fail_co]):
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
            **options: for this call only; see `Options`.

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
        return run(*self._ask(f, (xs, *more), options))

    @overload
    def async_(
        self,
        f: Callable[[A], R],
        xs: Iterable[A],
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
        xs: Iterable[object],
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
            xs: as in `pmap`.
            *more: as in `pmap`.
            **options: as in `pmap`.

        Returns:
            The handle to wait on: ``get()``, or ``await``.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: `f` is no plain function, or an iterable is none. Nothing has started.
        """
        return start(*self._ask(f, (xs, *more), options))

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
        settings = self._with(options)
        size = settings.call.chunksize
        return each(self._name, f, iterables, collect=self._collect, chunksize=size), settings


class StarMap(_Verb[Fail_co]):
    """The kind of verb that `pstarmap` is; made from it by ``using`` and ``collecting``.

    `Fail_co` is what stands in the result where an item failed: nothing, or a `Failure`.
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
        A row of the wrong length is that item's TypeError.

        Args:
            f: a plain function.
            rows: tuples of its arguments. For rows that are lists, give ``map(tuple, rows)``.
            **options: for this call only; see `Options`.

        Returns:
            A list with one result for each row.

        Raises:
            Exception: the same as `pmap`.
        """
        return run(*self._ask(f, rows, options))

    def async_(
        self,
        f: Callable[[*Ts], R],
        rows: Iterable[tuple[*Ts]],
        /,
        **options: Unpack[Options],
    ) -> AsyncResult[list[R | Fail_co]]:
        """Return an `AsyncResult` at once: the list that `pstarmap` would return.

        >>> pstarmap_async(pow, [(2, 5), (3, 2)]).get()
        [32, 9]

        Like `pmap_async`, except that each item is a row, as in `pstarmap`.

        Args:
            f: as in `pstarmap`.
            rows: as in `pstarmap`; read before this returns.
            **options: as in `pstarmap`.

        Returns:
            The handle to wait on: ``get()``, or ``await``.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
            TypeError: `f` is no plain function, or `rows` is no iterable. Nothing has started.
        """
        return start(*self._ask(f, rows, options))

    @property
    def collecting(self) -> "StarMap[Failure]":
        """This verb with failures as values: a `Failure` stands where an item failed.

        >>> pstarmap.collecting(divmod, [(7, 2), (1, 0)])[0]
        (3, 1)

        Nothing stops at an error, and none is raised.
        """
        return StarMap[Failure](self._settings, True)

    def _ask(self, f: object, rows: object, options: Options) -> tuple[Call, Settings]:
        settings = self._with(options)
        size = settings.call.chunksize
        return star(self._name, f, rows, collect=self._collect, chunksize=size), settings


class Apply(_Verb[Fail_co]):
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
        result: R | Fail_co = run(*self._ask(f, args, kwargs))[0]
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
        return start_one(*self._ask(f, args, kwargs))

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
        return apply(self._name, f, args, kwargs, collect=self._collect), self._settings


class _AsTheVerbHasIt:
    """The default of an option in a method's signature: a method knows no verb's settings."""

    def __repr__(self) -> str:
        return "..."


def _read_like_functions(kinds: Iterable[type[_Verb[object]]]) -> None:
    """Give the methods of `kinds` a signature that spells out the options."""
    spelled_out: dict[str, object] = dict.fromkeys(in_force(Settings()), _AsTheVerbHasIt())
    for kind in kinds:
        method = vars(kind)["async_"]
        method.__module__ = __package__
        method.__signature__ = _readable(
            inspect.signature(method).parameters.values(),
            spelled_out if kind._takes_options else {},
        )


_read_like_functions([Map, StarMap, Apply])

pmap: Final[Map] = Map()
"""``list(map(f, xs))``, computed by several workers at once; results in order."""

pmap_async: Final = pmap.async_
"""`pmap` that returns at once, with an `AsyncResult`."""

pstarmap: Final[StarMap] = StarMap()
"""``list(starmap(f, rows))``, computed by several workers at once; results in order."""

pstarmap_async: Final = pstarmap.async_
"""`pstarmap` that returns at once, with an `AsyncResult`."""

papply: Final[Apply] = Apply()
"""``f(*args, **kwargs)``, computed in a worker."""

papply_async: Final = papply.async_
"""`papply` that returns at once, with an `AsyncResult`."""
