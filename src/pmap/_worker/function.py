"""The function of a call, as a worker knows it: loaded when its first chunk begins."""

from __future__ import annotations

from .._transport.by_value import arriving
from .._transport.environment import are_few, context_of
from .._transport.values import decode, loads

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._transport.by_value.arriving import Name
    from .._transport.environment import Environment, Variables
    from .._transport.light_stdlib import Context
    from .._transport.packing import Entry


class ReceivedSpec:
    """One function, as a worker knows it."""

    def __init__(
        self,
        entry: Entry,
        units: tuple[int, ...],
        names: tuple[Name, ...],
        variables: list[bytes],
        stop: bool,
        by_value: bool,
        at_once: bool,
        timeout: float | None,
        seed: int | None,
        logs: bool,
        environment: Environment,
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
        self.coroutine: Callable[[object], Any] | None = None  # of an item, if they run at once
        self.context: Context | None = None  # with the variables, if there are any
        self.fresh = are_few(variables)  # they are loaded for each chunk: it may be another call's
        # The one type of all results so far, if a typed array can hold it; None: not known yet.
        self.array_type: type | None = None
        self.mixed = (
            timeout is not None
        )  # a typed array leaves no time to note when each item begins

    def load(self) -> Callable[[object], object]:
        """Return the function as one of one argument; loads it when first asked.

        The names that it uses are put in place: another call's may be there.
        """
        arriving.prepare(self.units, self.names)
        if self.function is None:
            function, kind, *more = decode(self.entry)
            for reducers in more:
                _register(reducers)
            if self.at_once:
                self.coroutine = _of_one(function.f, kind)
            self.function = _of_one(function, kind)
            self.entry = None
        has_context = self.variables or self.at_once or arriving.is_forked()
        if has_context and (self.fresh or self.context is None):
            self.context = context_of(_load_each(self.variables))
        return self.function if self.context is None else _in_context(self.function, self.context)


def _register(reducers: list[tuple[type, Callable[[Any], Any]]]) -> None:
    """Let results be pickled as the caller has told `multiprocessing`."""
    from multiprocessing.reduction import ForkingPickler

    for kind, reducer in reducers:
        ForkingPickler.register(kind, reducer)


def _of_one(function: Callable[..., object], kind: int) -> Callable[[Any], object]:
    """Return `function` as one of the item alone, whatever that is for this kind of call."""
    if kind == 0:
        return function
    if kind == 1:
        return lambda row: function(*row)
    return lambda call: function(*call[0], **call[1])


def _load_each(variables: list[bytes]) -> Variables:
    """Return the variables that can be loaded here; the others stay unset, as if never sent."""
    loaded: Variables = []
    for data in variables:
        try:
            loaded.append(loads(data))
        except Exception:  # its module may not be there, or its value may not load
            continue
    return loaded


def _in_context(call: Callable[[object], object], context: Context) -> Callable[[object], object]:
    def run(item: object) -> object:
        # A copy for each item: what one sets, the next does not see.
        return context.copy().run(call, item)

    return run
