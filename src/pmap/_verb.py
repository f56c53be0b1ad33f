"""What the verbs have in common: settings that chain, and looking like a function.

A verb is an object that reads like a function: here stands what ``help``, ``inspect.signature``,
``repr``, tab completion and pickle find on one.

No ``from __future__ import annotations`` here: ``help`` would show quoted strings.
"""

import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Generic, Never, Self

# TypeVar with default= is in typing from Python 3.13 on.
from typing_extensions import TypeVar, Unpack, get_type_hints

from ._call import Call, Streamed, name_of, short_repr
from ._options import Options, Settings, changed, delays, errors, in_force, merge

__all__ = ["Fail_co", "Verb", "read_like_functions"]

# How many coroutines run at once in a worker: they wait most of the time, and more than a few dozen
# of them are more than most of what they wait for takes at a time.
AT_ONCE = 64
# What stands where an item failed: nothing, unless failures are collected.
Fail_co = TypeVar("Fail_co", covariant=True, default=Never)


def _chunksize(call: Call, settings: Settings) -> int | None:
    if settings.worker.isolate:
        return 1
    return settings.call.chunksize or (AT_ONCE if call.at_once else None)


class _Signature:
    """``verb.__signature__``: the parameters of the call, options with their present values.

    No property: ``inspect.signature`` of the class would find the property itself.
    """

    def __get__(self, verb: "Verb[object] | None", owner: type) -> inspect.Signature:
        if verb is None:
            raise AttributeError("__signature__")
        _, *parameters = inspect.signature(type(verb).__call__).parameters.values()
        return _readable(parameters, in_force(verb._settings) if verb._takes_options else {})


# No slots: on 3.11 a generic frozen dataclass with slots cannot be called as Map[X](...).
@dataclass(frozen=True, repr=False)
class Verb(Generic[Fail_co]):
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

    def _as_set(self, call: Call, settings: Settings) -> Call:
        """Return `call` as this verb and its settings want it."""
        return call._replace(
            collect=self._collect,
            stop=not self._collect,
            chunksize=_chunksize(call, settings),
            kill=settings.call.kill_on_cancel,
            timeout=settings.call.timeout,
            retries=delays(settings.call.retries),
            retry_on=errors(settings.call.retry_on),
        )

    def _streamed(self, streamed: Streamed, options: Options) -> tuple[Streamed, Settings]:
        settings = self._with(options)
        return streamed._replace(call=self._as_set(streamed.call, settings)), settings

    def _either(self, asked: Call | Streamed, options: Options) -> tuple[Call | Streamed, Settings]:
        if isinstance(asked, Streamed):
            return self._streamed(asked, options)
        settings = self._with(options)
        return self._as_set(asked, settings), settings

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
        imported: object = getattr(sys.modules.get(type(self).__module__), self._name, None)
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


class _AsTheVerbHasIt:
    """The default of an option in a method's signature: a method knows no verb's settings."""

    def __repr__(self) -> str:
        return "..."


def read_like_functions(kinds: Iterable[type[Verb[object]]]) -> None:
    """Give the methods of `kinds` a signature that spells out the options."""
    spelled_out: dict[str, object] = dict.fromkeys(in_force(Settings()), _AsTheVerbHasIt())
    for kind in kinds:
        for name in ("async_", "iter", "iter_unordered"):
            method = vars(kind).get(name)
            if method is not None:
                method.__module__ = __package__
                method.__signature__ = _readable(
                    inspect.signature(method).parameters.values(),
                    spelled_out if kind._takes_options else {},
                )
