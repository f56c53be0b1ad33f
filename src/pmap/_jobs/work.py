"""A call on its way through a pool: all that a backend needs to run the call's items."""

import itertools
import sys
import threading
from contextvars import Context, ContextVar, copy_context
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias, cast

from .._calls.call import Call, Kind
from .._calls.defaults import IN_FORCE
from .._calls.describe import name_of, short_repr
from .._errors import is_ctrl_c
from .._scheduling.run_rules import RunRules
from .._transport.by_value.names import Needs
from .._transport.by_value.picklers import Whole
from .._transport.by_value.sent_names import SentNames
from .._transport.environment import are_few, capture_environment
from .._transport.importable import is_importable
from .._transport.payload import Payload, payload_of
from .._transport.registered import added
from .._transport.values import dumps
from .carried import warn_of_what_is_carried
from .directory import directory_now
from .item_errors import Item
from .pending import Pending

if TYPE_CHECKING:
    from .._transport.by_value.role import Role
    from .._transport.environment import Environment

# The stdout, stderr and context of the caller at the time of a call. The context is None if it was
# not kept.
Streams: TypeAlias = tuple[TextIO | None, TextIO | None, Context | None]

_numbers = itertools.count(1)
# If a pickled function has no more bytes than this, pmap remembers how long its items take.
_MOST_KEY = 1 << 12


class CallSpec:
    """The call spec: everything that a worker is told about a call before the call's first items.

    Calls of the same function with the same options share one call spec, if workers find the
    function by its name: then they use the same function object in any case, with all that earlier
    items have changed in it.

    Attributes:
        needs: the global names that the function uses, with the values that they had when the call
            spec was made.
    """

    __slots__ = (
        "calls",
        "environment",
        "function",
        "key",
        "kind",
        "named",
        "needs",
        "number",
        "payload",
        "rules",
        "variables",
    )

    def __init__(
        self,
        call: Call,
        named: bool,
        payload: Payload,
        needs: Needs,
        variables: list[bytes],
        environment: "Environment",
    ) -> None:
        self.number: int = next(_numbers)
        self.function: object = call.function
        self.kind: Kind = call.kind
        self.rules: RunRules = call.rules
        self.named: bool = named
        self.payload: Payload = payload
        self.needs: Needs = needs
        self.variables: list[bytes] = variables
        self.environment: Environment = environment
        # How many calls in progress use this call spec; the class `CallSpecs` keeps this number.
        self.calls: int = 0
        # The key under which pmap remembers how long the function's items take; None if the pickled
        # function is too large for a key.
        self.key: bytes | str | None = payload.head if payload.size <= _MOST_KEY else None

    def matches(self, call: Call, variables: list[bytes], environment: "Environment") -> bool:
        """Return whether another call of the same function can use this call spec, too."""
        return (
            self.function is call.function
            and self.environment is environment
            and self.kind is call.kind
            and (self.rules is call.rules or self.rules.for_worker() == call.rules.for_worker())
            and self.variables == variables
            and self.needs.are_current()
        )


class Work(Pending):
    """A call with a number, and what it takes over from its caller, such as the streams."""

    __slots__ = ("call", "home", "number", "spec", "streams", "unsent")

    def __init__(self, number: int, call: Call) -> None:
        super().__init__()
        self.number: int = number
        self.call: Call = call
        # The caller's thread and context, for items that run in this process. `pack` sets this
        # attribute to None if the items run in other processes.
        self.home: tuple[threading.Thread, Context] | None
        self.home = threading.current_thread(), copy_context()
        # For each item whose arguments could not be pickled, by its index: the error, and a text
        # that says which object cannot be pickled. The worker sends only the index of such an item
        # back.
        self.unsent: dict[int, tuple[BaseException, str]] | None = None
        self.spec: CallSpec | None = None
        # The streams to which the output of items from other processes goes. None: the output goes
        # to the `sys.stdout` and `sys.stderr` that the caller has when the output comes.
        self.streams: Streams | None = None

    @property
    def name(self) -> str:
        return f"{self.call.verb}({self.function_name})"

    @property
    def function_name(self) -> str:
        """A short readable name of the call's function."""
        return name_of(self.call.function)

    def pack(self, last: CallSpec | None, large: Payload | None, sent_names: SentNames) -> CallSpec:
        """Make the call spec: pickle the function, and note directory, environment and so on.

        An exception of the pickling is passed on. `last` is the call spec of the last call, which
        is used again if it is right for this call. `large` is the last pickled function that lies
        in shared memory, which may be used again. `sent_names` has the global names that were sent
        to workers.
        """
        call = self.call
        context = self.home and self.home[1]
        self.home = None
        if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
            self.streams = sys.stdout, sys.stderr, context
        home = call.elsewhere
        environment = capture_environment(directory_now()) if home is None else home.environment
        if sent_names.has_shared:
            sent_names.drop()
        # Most calls set no context variables and share the last call spec. Then pmap need not look
        # for the global names that the function uses.
        needs: Needs | None = None
        variables: list[bytes] = []
        if context:
            needs = Needs(sent_names)
            variables = _pickled(context, needs)
        if last is not None and are_few(variables) and last.matches(call, variables, environment):
            self.spec = last
        else:
            needs = needs or Needs(sent_names)
            function: tuple[object, ...] = call.function, int(call.kind)
            reducers = added()
            # The program has registered reducers for pickling. The workers pickle results with
            # them, too.
            if reducers:
                function = *function, reducers
            needs.packs_function = True
            payload = payload_of(function, large, needs)
            needs.packs_function = False
            needs.check()
            warn_of_what_is_carried(payload, needs, self.function_name)
            named = _has_a_name(call.function, needs) and are_few(variables)
            self.spec = CallSpec(call, named, payload, needs, variables, environment)
        return self.spec

    def pack_whole(self) -> CallSpec:
        """Make a call spec that contains everything, even the values of the global names used.

        An exception of the pickling is passed on.
        """
        call = self.call
        context = self.home and self.home[1]
        self.home = None
        role = Whole()
        reducers = added()
        function: tuple[object, ...] = call.function, int(call.kind)
        payload = Payload(dumps((*function, reducers) if reducers else function, role=role))
        needs = Needs(SentNames())  # no names are sent: the pickle contains all values
        warn_of_what_is_carried(payload, needs, self.function_name)
        variables = _pickled(context, role) if context else []
        environment = capture_environment(directory_now())
        self.spec = CallSpec(call, False, payload, needs, variables, environment)
        return self.spec

    def note_unsent(self, index: int, item: object, error: BaseException) -> None:
        """Record that the arguments of an item cannot be pickled, and which object is to blame.

        If `error` is a Ctrl-C, it is raised again.
        """
        if is_ctrl_c(error):
            raise error
        where = ""
        if isinstance(error, Exception):
            # The module is imported only if the arguments of an item cannot be pickled.
            from .._transport.by_value.blame import where_it_fails

            where = where_it_fails(item, "the argument", error)
        self.unsent = self.unsent or {}
        self.unsent[index] = error, where

    def item(self, index: int) -> Item:
        """Return the description of the item at `index`, for error messages."""
        return self.described(index, self.call.items[index])

    def described(self, index: int, value: object) -> Item:
        """Return a description, for messages, of the item at `index`, whose input is `value`."""
        if self.call.kind is Kind.EACH:
            text = short_repr(value)
        elif self.call.kind is Kind.STAR:
            text = _arguments(value, {})
        else:
            text = _arguments(*as_call(value))
        return Item(self.function_name, index, text)


def _has_a_name(function: object, needs: Needs) -> bool:
    """Return whether `function` is a plain function that workers can find by its name."""
    if isinstance(function, BuiltinFunctionType):
        if not isinstance(function.__self__, ModuleType):
            # A bound method also needs its object, so its name is not enough.
            return False
    elif not isinstance(function, FunctionType):
        return False
    return is_importable(function) or needs.has(function)


class _NumpyErrors:
    """The `numpy.errstate` settings of a context, as an object that can be pickled.

    In a worker the pickle becomes NumPy's context variable with these settings.
    """

    def __init__(self, context: Context) -> None:
        numpy: Any = sys.modules["numpy"]
        self._settings: dict[str, str] = context.run(numpy.geterr)
        self._call: object = context.run(numpy.geterrcall)

    def are_usual(self) -> bool:
        """Return whether these settings are NumPy's defaults."""
        usual = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
        return self._settings == usual and self._call is None

    def __reduce__(self) -> tuple[object, ...]:
        from .._transport.by_value.kinds import numpy_errors

        return numpy_errors, (self._settings, self._call)


# The values with which Python makes a decimal context. They are not read from
# `decimal.DefaultContext`, because a program may change that.
_DECIMAL = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
_DECIMAL_USUAL = (28, "ROUND_HALF_EVEN", -999999, 999999, 1, 0)
_DECIMAL_TRAPS = {"InvalidOperation", "DivisionByZero", "Overflow"}


def _worth_sending(pair: tuple[ContextVar[Any], Any], context: Context) -> object:
    """Return what is sent to workers for a context variable and its value; None for nothing.

    A variable with its default value is not sent. For example, a thread that only reads the decimal
    context gets a variable with the default context. If that variable were sent, it would replace
    the context that an initializer has set in the worker.
    """
    if pair[0] is IN_FORCE:
        return None  # it has the options of `pmap.defaults`, which do not hold in workers
    # NumPy's value is a C object (a capsule), which cannot be pickled.
    if pair[0].name == "numpy.ufunc.extobj":
        errors = _NumpyErrors(context)
        return None if errors.are_usual() else errors
    if pair[0].name == "decimal_context":
        found = tuple([getattr(pair[1], name) for name in _DECIMAL])
        traps = {kind.__name__ for kind, is_set in pair[1].traps.items() if is_set}
        if found == _DECIMAL_USUAL and traps == _DECIMAL_TRAPS:
            return None
    return pair


def _pickled(context: Context, role: "Role") -> list[bytes]:
    pickled: list[bytes] = []
    for pair in context.items():
        try:
            given = _worth_sending(pair, context)
            if given is not None:
                pickled.append(dumps(given, role=role))
        # The value cannot be pickled, so the context variable is left unset in the worker.
        except BaseException as error:
            if is_ctrl_c(error):
                raise
    return pickled


def as_call(item: object) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return an item of a plain call (`Kind.APPLY`) as positional and keyword arguments."""
    call: tuple[tuple[object, ...], dict[str, object]] = cast(Any, item)
    return call


def _arguments(args: object, kwargs: dict[str, object]) -> str:
    if not isinstance(args, tuple):
        return "*" + short_repr(args)
    row: tuple[object, ...] = cast(Any, args)
    shown = [short_repr(value) for value in row[:6]] + ["..."] * (len(row) > 6)
    shown += [f"{name}={short_repr(value)}" for name, value in list(kwargs.items())[:6]]
    text = ", ".join(shown)
    return text if len(text) <= 160 else text[:157] + "..."
