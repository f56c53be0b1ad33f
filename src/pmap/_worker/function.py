"""What a worker knows of a call, above all the function, which is loaded at the first item."""

from __future__ import annotations

from .._transport.by_value import arriving
from .._transport.environment import are_few, context_of
from .._transport.values import decode, loads

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    from .._transport.by_value.arriving import Name
    from .._transport.environment import Environment, Variables
    from .._transport.light_stdlib import Context
    from .._transport.packing import Entry
    from .timing import Timing

    P = ParamSpec("P")
    R = TypeVar("R")


class ReceivedSpec:
    """What a worker was told of a call: function, names, options, environment."""

    def __init__(
        self,
        entry: Entry,
        units: tuple[int, ...],
        names: tuple[Name, ...],
        variables: list[bytes],
        environment: Environment,
        stop: bool,
        by_value: bool,
        at_once: bool,
        timeout: float | None,
        seed: int | None,
        logs: bool,
        times: bool = False,
    ) -> None:
        self.entry: Entry | None = entry
        self.units = units
        self.names = names
        self.variables = variables
        self.stop = stop
        self.by_value = by_value
        self.at_once = at_once
        self.timeout = timeout
        self.seed = seed
        self.logs = logs
        self.environment = environment
        self.function: Callable[[object], object] | None = None
        # If all items of a chunk run at the same time: the function that makes the coroutine of an
        # item.
        self.coroutine: Callable[[object], Any] | None = None
        # The context in which the present chunk runs: that of the worker, as its initializer has
        # left it, with the context variables of the call. None: no chunk has begun yet.
        self.context: Context | None = None
        # Whether the context variables are few. Then they are loaded anew for each chunk, so that
        # no chunk sees what an item has made of their values.
        self.fresh = are_few(variables)
        # The type of the results so far, if a typed array can hold such values: the next results
        # probably have this type, too. None: there is no result yet, or no array can hold them.
        self.array_type: type | None = None
        # Whether results are noted one by one, and not in a typed array. Results are noted one by
        # one in a call with a time limit, or with timed items: a worker that fills a typed array
        # does not note when each item begins.
        self.mixed = timeout is not None or times
        # The object that notes when each item begins and ends; None: items are not timed.
        self.timing: Timing | None = None
        if times:
            from .timing import Timing

            self.timing = Timing()

    def load(self) -> Callable[[object], object]:
        """Return the function of the call, as a function of one argument: the item.

        The first call of this method loads the function. Each call of the method also sets the
        global names that the function uses, since items of another call may have run with other
        values of these names.
        """
        if self.timing is not None:
            self.timing.begin()
        arriving.prepare(self.units, self.names)
        if self.function is None:
            function, kind, *more = decode(self.entry)
            for reducers in more:
                _register(reducers)
            if self.at_once:
                self.coroutine = _of_one(function.f, kind)
            self.function = _of_one(function, kind)
            self.entry = None
        if self.fresh or self.context is None:
            self.context = context_of(_load_each(self.variables))
        call = _in_context(self.function, self.context) if self.variables else self.function
        return call if self.timing is None else self.timing.function(call)

    def run(self, act: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what `act` returns when it is called in the context of the present chunk."""
        assert self.context is not None, "`load` is called first"
        return self.context.run(act, *args, **kwargs)


def _register(reducers: list[tuple[type, Callable[[Any], Any]]]) -> None:
    """Register the caller's reducers, functions by which results of certain types are pickled."""
    from multiprocessing.reduction import ForkingPickler

    for kind, reducer in reducers:
        ForkingPickler.register(kind, reducer)


def _of_one(function: Callable[..., object], kind: int) -> Callable[[Any], object]:
    """Return `function` as a function of one argument: the item.

    `kind` says what an item is: 0 the argument itself; 1 a tuple of arguments; any other number a
    pair of positional and keyword arguments.
    """
    if kind == 0:
        return function
    if kind == 1:
        return lambda row: function(*row)
    return lambda call: function(*call[0], **call[1])


def _load_each(variables: list[bytes]) -> Variables:
    """Return the caller's context variables and values, as far as they can be unpickled here.

    The other variables stay unset, as if the caller had never sent them.
    """
    loaded: Variables = []
    for data in variables:
        try:
            loaded.append(loads(data))
        except Exception:
            # The variable's value cannot be loaded here, for example because a module is missing.
            continue
    return loaded


def _in_context(call: Callable[[object], object], context: Context) -> Callable[[object], object]:
    def run(item: object) -> object:
        # The item runs in a copy of the context, so that the next item does not see what it sets
        # there.
        return context.copy().run(call, item)

    return run
