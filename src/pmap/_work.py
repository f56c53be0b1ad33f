"""One call on its way through a pool: what a backend needs to run its items."""

import threading
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ._call import Call, Kind, name_of, short_repr
from ._errors import is_ctrl_c
from ._outcome import Item
from ._segment import Segment, written
from ._wire import dumps, sizes_of, split
from ._world import take_world

if TYPE_CHECKING:
    from ._wire import Entry, Head
    from ._world import World

__all__ = ["Payload", "Work", "as_call"]


class Payload(NamedTuple):
    """A function as bytes; its large buffers are in a segment, which all workers map."""

    head: "Head"
    sizes: tuple[int, ...] = ()
    segment: Segment | None = None

    @property
    def entry(self) -> "Entry":
        """What stands for it in a message; the segment goes along."""
        return [self.head] if self.segment is None else [self.head, self.sizes, 0]

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return sum(self.sizes) + (0 if self.head is None else len(self.head))


def _payload(function: object, last: Payload | None) -> Payload:
    """Return `function` as bytes, or `last` if that is just the same."""
    head, buffers = split(function)
    if buffers:
        sizes = sizes_of(buffers)
        known = last is not None and last.head == head and last.sizes == sizes
        if last is not None and last.segment is not None and known and last.segment.holds(buffers):
            return last
        segment = written(buffers)
        if segment is not None:
            return Payload(head, sizes, segment)
        head = dumps(function)
    return Payload(head)


class Work:
    """A call with its number, its surroundings, and the function as bytes, made when asked for."""

    def __init__(self, number: int, call: Call, functions_by_value: bool) -> None:
        self.number = number
        self.call = call
        self.functions_by_value = functions_by_value
        self.function_name: str = name_of(call.function)
        self.context: Context = copy_context()
        self.caller: threading.Thread = threading.current_thread()
        # Items whose arguments could not be pickled; the worker answers for them by index only.
        self.unsent: dict[int, BaseException] = {}
        self.world: World | None = None
        self.payload: Payload | None = None
        self.variables: list[bytes] = []

    def pack(self, last: Payload | None = None) -> None:
        """Pickle the function and take the surroundings; raises what the pickling raises.

        `last` is that of an earlier call: what did not change since is not written anew.
        """
        self.world = take_world()
        self.payload = _payload((self.call.function, int(self.call.kind)), last)
        self.variables = []
        for pair in self.context.items():
            try:
                self.variables.append(dumps(pair))
            except BaseException as error:  # a variable that cannot travel is not set in the worker
                if is_ctrl_c(error):
                    raise

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
