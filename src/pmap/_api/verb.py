"""The base class of the verbs: their settings, and what makes a verb look like a function.

A verb is an object. ``help``, ``inspect.signature``, ``repr``, tab completion and pickle treat it
as a function, because this module gives it the attributes that they read.

This module has no ``from __future__ import annotations``: with it, ``help`` would show each
annotation as a quoted string.
"""

import sys
from collections.abc import Callable, Iterable
from time import monotonic
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
from .._calls.options import Options, Settings, in_force, merge, set_options
from .._calls.retry_rules import delays, errors
from .._errors import TaskTimeout, WorkerLost
from .._jobs.own_frames import cut
from .._scheduling.run_rules import RunRules
from .._types import Frozen

Method = TypeVar("Method", bound=Callable[..., object])

# This many coroutines run at the same time in a worker, if no option sets the chunksize. Coroutines
# wait most of the time, and most servers for which they wait take only a few dozen requests at a
# time.
AT_ONCE = 64
if TYPE_CHECKING:
    import inspect

    import typing_extensions

    # The type of what stands in the list of results for an item that failed: `Failure` with
    # ``collecting``; otherwise `Never`, since the verb raises the failure.
    Fail_co = typing_extensions.TypeVar("Fail_co", covariant=True, default=Never)
else:  # `default` is for type checkers only: `typing.TypeVar` takes it from Python 3.13 on
    Fail_co = TypeVar("Fail_co", covariant=True)


_NONE_SET: Final = Settings()


def _rules(settings: Settings, collect: bool) -> RunRules:
    """Return the rules (chunk size, retries and so on) for the calls of a verb."""
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
        deadline=settings.call.deadline,
        times=settings.call.trace is not False,
        retry_on=retry_on,
        retry_lost=issubclass(WorkerLost, retry_on),
        retry_overdue=issubclass(TaskTimeout, retry_on),
    )


def _begun(rules: RunRules) -> RunRules:
    """Return the rules of a call that begins now; they contain the time of its deadline."""
    if rules.deadline is None:
        return rules
    return rules._replace(until=monotonic() + rules.deadline)


class _Signature:
    """The descriptor of ``verb.__signature__``: a call's parameters, with values of options.

    It is not a property, because ``inspect.signature(type(verb))`` would find the property object
    itself.
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
        # `help` and `repr` read the name and docstring of a function from these attributes. The
        # instance has them, because a `__qualname__` in a class body would be the name of the
        # class. The docstring is that of __call__: pydoc would take a docstring of the class for an
        # inherited one.
        vars(self).update(
            _settings=_settings,
            _collect=_collect,
            _rules=_rules(_settings, _collect),
            __name__=self._name,
            __qualname__=self._name,
            __doc__=type(self).__call__.__doc__,
        )

    def using(self, **options: Unpack[Options]) -> Self:
        """Return a verb like this one that uses the given options in all its calls.

        >>> pmap.using(backend="threads").using(chunksize=10)
        pmap.using(backend='threads', chunksize=10)

        This verb itself stays unchanged. An option that a call gives replaces the one set here.

        Args:
            **options: the options to set; they are listed below.

        Returns:
            A verb of the same kind.

        Raises:
            OptionError: an option does not exist or has a value that is not allowed.
        """
        return type(self)(merge(self._settings, options), self._collect)

    def _asked(self, function: object, options: Options) -> tuple[RunRules, Settings]:
        """Return the rules of a call of `function`, and the settings of that call.

        An option of the call replaces that of the verb. Options that neither of them sets come from
        the `defaults` block around the call.
        """
        if not options:
            rules, settings = self._in_force()
        else:
            settings = merge(self._settings, options, self._name, function)
            given = IN_FORCE.get()
            if given is not None:
                settings = with_defaults(settings, given)
            rules = _begun(_rules(settings, self._collect))
        rules = rules_for(rules, function)
        if rules.at_once and rules.chunksize is None:
            rules = rules._replace(chunksize=AT_ONCE)
        return rules, settings

    def _in_force(self) -> tuple[RunRules, Settings]:
        """Return the rules and settings of a call that has no options of its own."""
        given = IN_FORCE.get()
        if given is None:
            return _begun(self._rules), self._settings
        settings = with_defaults(self._settings, given)
        return _begun(_rules(settings, self._collect)), settings

    # --- what makes the object read like a function ------------------------------------------

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        # Because of this method `inspect.isroutine(verb)` is true, so help() and doctest treat a
        # verb as a function. And a verb in a class body does not become a bound method, just like a
        # built-in function.
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
        # If a verb is a global of its module, its pickle is the name of that global, so unpickling
        # returns the same object.
        imported: object = getattr(sys.modules.get(type(self).__module__), self._name, None)
        if imported is self:
            return self._name
        return type(self), (self._settings, self._collect)

    def __deepcopy__(self, memo: object) -> Self:
        # A verb never changes, so it serves as its own copy.
        return self

    def __copy__(self) -> Self:
        return self


def _readable(
    parameters: "Iterable[inspect.Parameter]", options: dict[str, object]
) -> "inspect.Signature":
    """Return the signature that ``help`` shows, with each option in place of ``**options``.

    The other parameters have no annotations, because their type variables are hard to read.
    """
    # The import is here, because it takes a third of the time that the import of pmap takes.
    import inspect

    types = get_type_hints(Options)
    own = [
        parameter.replace(annotation=parameter.empty)
        for parameter in parameters
        # A parameter of type Never is left out. It exists only so that a mistake gets a helpful
        # error message.
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
    """Return `method` of a verb that takes rows, so that more arguments raise a helpful error.

    A type checker reports these arguments, too, but not all programs use one.
    """

    def refusing(
        self: Verb[object], f: object, rows: object, /, *more: object, **options: object
    ) -> object:
        if more:
            raise TypeError(
                f"{self._name} takes a function and rows, got {short_repr(more[0])} as well."
                + option_by_place(self._name, "rows", more[0])
            )
        try:
            return method(self, f, rows, **options)
        except BaseException as error:
            __tracebackhide__ = cut(error)
            raise

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(refusing, name, getattr(method, name))
    refusing.__dict__["__wrapped__"] = method
    return refusing


class _AsTheVerbHasIt:
    """Stands for the default of an option in the signature of a method; ``help`` shows ``...``.

    A method belongs to a class, so it does not know the settings of a single verb.
    """

    def __repr__(self) -> str:
        return "..."


class _SpelledOut:
    """The ``__wrapped__`` of a verb's method, from which ``inspect`` reads the method's signature.

    The signature lists every option. It is made when ``inspect`` reads it.
    """

    def __init__(self, method: FunctionType, takes_options: bool) -> None:
        # `inspect` follows `__wrapped__` to the source of a method. At the end stands a copy of the
        # method, because the method itself would lead back to this object.
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
    """Return a decorator: the decorated method gets the overloads of the given method.

    Only type checkers see the overloads.
    """

    def decorate(other: Callable[..., object]) -> Method:
        typed: Any = other
        same: Method = typed
        return same

    return decorate


def read_like_functions(kinds: Iterable[type[Verb[object]]]) -> None:
    """Let ``help`` on the verbs and their methods show every option, and not only ``**options``.

    Each method gets a signature with all options. The list of the options is added to the docstring
    of ``using``, and to that of ``__call__`` of each verb that takes options.
    """
    using: FunctionType = vars(Verb)["using"]
    methods = [(using, True)]
    for kind in kinds:
        if kind._takes_options:
            _list_options(vars(kind)["__call__"])
        for name in ("async_", "iter", "iter_unordered", "explain"):
            method = vars(kind).get(name) or vars(kind.__base__ or kind).get(name)
            if method is not None:
                methods.append((method, kind._takes_options))
    _list_options(using)
    for method, takes_options in methods:
        method.__module__ = "pmap"
        # If `refusing_more` has made the method, its `__wrapped__` is the original method.
        behind: FunctionType = vars(method).get("__wrapped__", method)
        vars(method)["__wrapped__"] = _SpelledOut(behind, takes_options)


def _list_options(method: FunctionType) -> None:
    """Append the text about the options, which `Options` has, to the docstring of a method."""
    own, _, listed = method.__doc__, *(Options.__doc__ or "").partition("Attributes:\n")[1:]
    if own and listed:  # there are no docstrings if Python runs with the option -OO
        # Before Python 3.13 the compiler keeps the indentation of docstrings. So the lines of the
        # list get the indentation of the method's docstring.
        margin = own.rpartition("\n")[2]
        lines = listed.rstrip().split("\n")
        shift = len(margin) + 4 - (len(lines[0]) - len(lines[0].lstrip()))
        shifted = "\n".join([" " * shift + line for line in lines])
        method.__doc__ = f"{own.rstrip()}\n\n{margin}Options:\n{shifted}\n{margin}"
