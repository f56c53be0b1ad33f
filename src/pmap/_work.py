"""One call on its way through a pool: what a backend needs to run its items."""

import threading
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, cast

from ._call import Call, Kind, name_of, short_repr
from ._errors import is_ctrl_c
from ._outcome import Item
from ._wire import dumps
from ._world import take_world

if TYPE_CHECKING:
    from ._world import World

__all__ = ["Work", "as_call"]


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
        self.payload: bytes | None = None
        self.variables: list[bytes] = []

    def pack(self) -> None:
        """Pickle the function and take the surroundings; raises what the pickling raises."""
        self.world = take_world()
        self.payload = dumps((self.call.function, int(self.call.kind)))
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
