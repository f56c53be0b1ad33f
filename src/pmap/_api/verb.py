"""What the verbs have in common: settings that chain, and looking like a function.

A verb is an object that reads like a function: here stands what ``help``, ``inspect.signature``,
``repr``, tab completion and pickle find on one.

No ``from __future__ import annotations`` here: ``help`` would show quoted strings.
"""

import sys
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    Never,
    Self,
    TypeVar,
    Unpack,
    get_type_hints,
)

from .._calls.call import option_by_place, rules_for
from .._calls.defaults import IN_FORCE, with_defaults
from .._calls.describe import name_of, short_repr
from .._calls.options import Options, Settings, delays, errors, in_force, merge, set_options
from .._errors import TaskTimeout, WorkerLost
from .._scheduling.run_rules import RunRules
from .._types import Frozen

Method = TypeVar("Method", bound=Callable[..., object])

# How many coroutines run at once in a worker: they wait most of the time, and more than a few dozen
# of them are more than most of what they wait for takes at a time.
AT_ONCE = 64
if TYPE_CHECKING:
    import inspect

    import typing_extensions

    # What stands where an item failed: nothing, unless failures are collected.
    Fail_co = typing_extensions.TypeVar("Fail_co", covariant=True, default=Never)
else:  # typing's takes a default from Python 3.13 on, and at run time nobody asks for it
    Fail_co = TypeVar("Fail_co", covariant=True)


_NONE_SET: Final = Settings()


def _rules(settings: Settings, collect: bool) -> RunRules:
    """Return how the calls of a verb run."""
    retry_on = errors(settings.call.retry_on)
    return RunRules(
        collect=collect,
        stop=not collect,
        chunksize=1 if settings.worker.isolate else settings.call.chunksize,
        kill=settings.call.kill_on_cancel,
        timeout=settings.call.timeout,
        retries=delays(settings.call.retries),
        seed=settings.call.seed,
        keep_input=settings.call.keep_input,
        logs=settings.call.logs,
        retry_on=retry_on,
        retry_lost=issubclass(WorkerLost, retry_on),
        retry_overdue=issubclass(TaskTimeout, retry_on),
    )


class _Signature:
    """``verb.__signature__``: the parameters of the call, options with their present values.

    No property: ``inspect.signature`` of the class would find the property itself.
    """

    def __get__(self, verb: "Verb[object] | None", owner: type) -> "inspect.Signature":
        import inspect

        if verb is None:
            raise AttributeError("__signature__")
        _, *parameters = inspect.signature(type(verb).__call__).parameters.values()
        return _readable(parameters, in_force(verb._settings) if verb._takes_options else {})


class Verb(Frozen, Generic[Fail_co]):
    _names: ClassVar[tuple[str, ...]] = ("_settings", "_collect")

    _settings: Final[Settings] = _NONE_SET
    _collect: Final[bool] = False

    _name: ClassVar[str]
    _takes_options: ClassVar[bool] = True
    _rules: RunRules = RunRules(stop=True)

    __signature__: ClassVar[_Signature] = _Signature()

    def __init__(self, _settings: Settings = _NONE_SET, _collect: bool = False) -> None:
        # Name and docstring into the instance: a class body cannot define __qualname__ for its
        # instances. The docstring is not the class's, or pydoc would take it for inherited.
        vars(self).update(
            _settings=_settings,
            _collect=_collect,
            _rules=_rules(_settings, _collect),
            __name__=self._name,
            __qualname__=self._name,
            __doc__=type(self).__call__.__doc__,
        )

    def using(self, **options: Unpack[Options]) -> Self:
        """Return this verb with the options set, for all its calls; the verb itself is unchanged.

        >>> pmap.using(backend="threads").using(chunksize=10)
        pmap.using(backend='threads', chunksize=10)

        Args:
            **options: they are listed below.

        Returns:
            A verb of the same kind.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
        """
        return type(self)(merge(self._settings, options), self._collect)

    def _asked(self, function: object, options: Options) -> tuple[RunRules, Settings]:
        """Return how a call of `function` runs, and the settings with `options` laid over them."""
        if not options:
            rules, settings = self._in_force()
        else:
            settings = merge(self._settings, options, self._name, function)
            given = IN_FORCE.get()
            if given is not None:
                settings = with_defaults(settings, given)
            rules = _rules(settings, self._collect)
        rules = rules_for(rules, function)
        if rules.at_once and rules.chunksize is None:
            rules = rules._replace(chunksize=AT_ONCE)
        return rules, settings

    def _in_force(self) -> tuple[RunRules, Settings]:
        """Return how a call without options of its own runs, and the settings for it."""
        given = IN_FORCE.get()
        if given is None:
            return self._rules, self._settings
        settings = with_defaults(self._settings, given)
        return _rules(settings, self._collect), settings

    # -- what makes the object read like a function --------------------------------------------

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        # With this, inspect.isroutine holds, so help() and doctest take a verb for a function,
        # and like a builtin function it does not bind to an object it is an attribute of.
        return self

    def __repr__(self) -> str:
        options = set_options(self._settings)
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
    parameters: "Iterable[inspect.Parameter]", options: dict[str, object]
) -> "inspect.Signature":
    """Return the signature as a reader wants it: each option in place of ``**options``.

    The types of the others are left out: with their type variables they are hard to read.
    """
    import inspect  # only now: it takes as long to import as a third of pmap

    types = get_type_hints(Options)
    own = [
        parameter.replace(annotation=parameter.empty)
        for parameter in parameters
        # What is only taken to be refused with a good word is no parameter to a reader.
        if parameter.annotation is not Never
        and not (options and parameter.kind is parameter.VAR_KEYWORD)
    ]
    spelled_out = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=types[name]
        )
        for name, value in options.items()
    ]
    return inspect.Signature([*own, *spelled_out])


def refusing_more(method: Callable[..., object]) -> Callable[..., object]:
    """Return a method of a verb of rows, with a good word for what stands behind the rows.

    At run time only: a checker says so itself.
    """

    def refusing(
        self: Verb[object], f: object, rows: object, /, *more: object, **options: object
    ) -> object:
        if more:
            raise TypeError(
                f"{self._name} takes a function and rows, got {short_repr(more[0])} as well."
                + option_by_place(self._name, "rows", more[0])
            )
        return method(self, f, rows, **options)

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(refusing, name, getattr(method, name))
    refusing.__dict__["__wrapped__"] = method
    return refusing


class _AsTheVerbHasIt:
    """The default of an option in a method's signature: a method knows no verb's settings."""

    def __repr__(self) -> str:
        return "..."


class _SpelledOut:
    """What ``inspect`` finds behind a method, with its options spelled out; made when asked for."""

    def __init__(self, method: FunctionType, takes_options: bool) -> None:
        # The same function again: whoever looks behind this for its source finds that.
        self.__wrapped__: FunctionType = FunctionType(
            method.__code__, method.__globals__, method.__name__, method.__defaults__
        )
        self.__wrapped__.__kwdefaults__ = method.__kwdefaults__
        self._method = method
        self._takes_options = takes_options

    @property
    def __signature__(self) -> "inspect.Signature":
        import inspect

        options: dict[str, object] = dict.fromkeys(in_force(Settings()), _AsTheVerbHasIt())
        return _readable(
            inspect.signature(self._method, follow_wrapped=False).parameters.values(),
            options if self._takes_options else {},
        )


def same_signature_as(_: Method) -> Callable[[Callable[..., object]], Method]:
    """Return a decorator: what it decorates has, for type checkers, the overloads of a method."""

    def decorate(other: Callable[..., object]) -> Method:
        typed: Any = other
        same: Method = typed
        return same

    return decorate


def read_like_functions(kinds: Iterable[type[Verb[object]]]) -> None:
    """Give the methods of `kinds` a signature that spells out the options, and docs that list them.

    So that ``help`` shows them where they are asked for, and not only under a name of their own.
    """
    using: FunctionType = vars(Verb)["using"]
    methods = [(using, True)]
    for kind in kinds:
        if kind._takes_options:
            _list_options(vars(kind)["__call__"])
        for name in ("async_", "iter", "iter_unordered"):
            method = vars(kind).get(name)
            if method is not None:
                methods.append((method, kind._takes_options))
    _list_options(using)
    for method, takes_options in methods:
        method.__module__ = "pmap"
        # Behind one that only refuses stands the method itself.
        behind: FunctionType = vars(method).get("__wrapped__", method)
        vars(method)["__wrapped__"] = _SpelledOut(behind, takes_options)


def _list_options(method: FunctionType) -> None:
    """Put what `Options` says of each option behind the docstring of a method."""
    own, _, listed = method.__doc__, *(Options.__doc__ or "").partition("Attributes:\n")[1:]
    if own and listed:  # neither, with python -OO
        # The margins of both, which the compiler leaves where they are before Python 3.13.
        margin = own.rpartition("\n")[2]
        lines = listed.rstrip().split("\n")
        shift = len(margin) + 4 - (len(lines[0]) - len(lines[0].lstrip()))
        shifted = "\n".join([" " * shift + line for line in lines])
        method.__doc__ = f"{own.rstrip()}\n\n{margin}Options:\n{shifted}\n{margin}"
