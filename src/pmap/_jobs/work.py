"""One call on its way through a pool: what a backend needs to run its items."""

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
from .._transport.by_value.sent_names import SentNames
from .._transport.environment import are_few, capture_environment
from .._transport.importable import is_importable
from .._transport.payload import Payload, payload_of
from .._transport.registered import added
from .._transport.values import dumps
from .carried import warn_of_what_is_carried
from .item_errors import Item
from .pending import Pending

if TYPE_CHECKING:
    from .._transport.environment import Environment

# stdout and stderr of the caller when it made a call, and its context (None: it was not kept)
Streams: TypeAlias = tuple[TextIO | None, TextIO | None, Context | None]

_numbers = itertools.count(1)
# Bytes of a function, at most, by which later calls of it are known.
_MOST_LIKE = 1 << 12


class CallSpec:
    """What a worker is told of a call before its first chunk.

    Calls that would tell the same share one, if their function is known by its name: then nothing
    of what an item leaves in it could be seen by another call that is not there anyway.

    Attributes:
        needs: the names that the function uses, and its items, as they were when it was made.
    """

    __slots__ = (
        "calls",
        "environment",
        "function",
        "kind",
        "like",
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
        self.calls: int = 0  # that are under way; for the driver
        # What is equal for single calls that cost about the same; None: that is not known.
        self.like: bytes | str | None = payload.head if payload.size <= _MOST_LIKE else None

    def matches(self, call: Call, variables: list[bytes], environment: "Environment") -> bool:
        """Return whether it would do for another call, of a function that has a name."""
        return (
            self.function is call.function
            and self.environment is environment
            and self.kind is call.kind
            and (self.rules is call.rules or self.rules.for_worker() == call.rules.for_worker())
            and self.variables == variables
            and self.needs.are_current()
        )


class Work(Pending):
    """A call with its number and its surroundings; what a worker is told is made when asked for."""

    __slots__ = ("call", "home", "number", "spec", "streams", "unsent")

    def __init__(self, number: int, call: Call) -> None:
        super().__init__()
        self.number: int = number
        self.call: Call = call
        # Where the call was made; None once it is packed, for another process.
        self.home: tuple[threading.Thread, Context] | None
        self.home = threading.current_thread(), copy_context()
        # Items whose arguments could not be pickled, why, and what in them; the worker answers for
        # them by index only.
        self.unsent: dict[int, tuple[BaseException, str]] | None = None
        self.spec: CallSpec | None = None
        # Where items print that run in another process; None: where the caller's process does.
        self.streams: Streams | None = None

    @property
    def name(self) -> str:
        return f"{self.call.verb}({self.function_name})"

    @property
    def function_name(self) -> str:
        """A short readable name of the function."""
        return name_of(self.call.function)

    def pack(self, last: CallSpec | None, large: Payload | None, sent_names: SentNames) -> CallSpec:
        """Pickle the function and take the surroundings; raises what the pickling raises.

        `last` and `large` are those of earlier calls, and `sent_names` has what workers were told:
        what did not change since is not made anew.
        """
        call = self.call
        context = self.home and self.home[1]
        self.home = None
        if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
            self.streams = sys.stdout, sys.stderr, context
        environment = capture_environment()
        needs = Needs(sent_names)
        variables = _pickled(context, needs) if context else []
        if last is not None and are_few(variables) and last.matches(call, variables, environment):
            self.spec = last
        else:
            function: tuple[object, ...] = call.function, int(call.kind)
            reducers = added()
            if reducers:  # what comes home is to be pickled by them, too
                function = *function, reducers
            payload = payload_of(function, large, needs)
            needs.check()
            warn_of_what_is_carried(payload, needs, self.function_name)
            named = _has_a_name(call.function, needs) and are_few(variables)
            self.spec = CallSpec(call, named, payload, needs, variables, environment)
        return self.spec

    def item(self, index: int) -> Item:
        """Return what a message says of the item at `index`."""
        return self.described(index, self.call.items[index])

    def described(self, index: int, value: object) -> Item:
        """Return what a message says of the item `value` at `index`."""
        if self.call.kind is Kind.EACH:
            text = short_repr(value)
        elif self.call.kind is Kind.STAR:
            text = _arguments(value, {})
        else:
            text = _arguments(*as_call(value))
        return Item(self.function_name, index, text)


def _has_a_name(function: object, needs: Needs) -> bool:
    """Return whether a plain function is found by its name, here and in a worker."""
    if isinstance(function, BuiltinFunctionType):
        if not isinstance(function.__self__, ModuleType):
            return False  # the method of an object
    elif not isinstance(function, FunctionType):
        return False
    return is_importable(function) or needs.has(function)


class _NumpyErrors:
    """Pickled as what makes the variable with NumPy's handling of errors, and its value."""

    def __init__(self, context: Context) -> None:
        numpy: Any = sys.modules["numpy"]
        self._settings: dict[str, str] = context.run(numpy.geterr)
        self._call: object = context.run(numpy.geterrcall)

    def are_usual(self) -> bool:
        """Return whether they are what NumPy begins with."""
        usual = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
        return self._settings == usual and self._call is None

    def __reduce__(self) -> tuple[object, ...]:
        from .._transport.by_value.kinds import numpy_errors

        return numpy_errors, (self._settings, self._call)


def _worth_sending(pair: tuple[ContextVar[Any], Any], context: Context) -> object:
    """Return what is sent of a variable and its value; None: it only has what all begin with.

    A thread that only asks for the decimal context gets a variable with the defaults. Were it sent,
    it would replace what an initializer has set in the worker.
    """
    if pair[0] is IN_FORCE:
        return None  # it is for the caller's calls
    if pair[0].name == "numpy.ufunc.extobj":  # its value is a capsule
        errors = _NumpyErrors(context)
        return None if errors.are_usual() else errors
    if pair[0].name == "decimal_context":
        usual = sys.modules["decimal"].DefaultContext
        names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")
        if all(getattr(pair[1], name) == getattr(usual, name) for name in names):
            return None
    return pair


def _pickled(context: Context, needs: Needs) -> list[bytes]:
    pickled: list[bytes] = []
    for pair in context.items():
        try:
            given = _worth_sending(pair, context)
            if given is not None:
                pickled.append(dumps(given, role=needs))
        except BaseException as error:  # a variable that cannot travel is not set in the worker
            if is_ctrl_c(error):
                raise
    return pickled


def as_call(item: object) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return the arguments that an item of `Kind.APPLY` holds."""
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
