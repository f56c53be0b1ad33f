"""Functions that pickles call to make a function again in the receiver.

A worker that was forked from the caller has the caller's functions already, for example in classes,
tables and closures. If such a function arrives, the worker keeps its own function object, and sets
only what the caller has changed since the fork.
"""

from __future__ import annotations

import marshal
from types import FunctionType

from . import arriving

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CellType
    from typing import Any

# Functions that return whether two values are equal. The module `sent_names` adds one in the
# caller; a worker that was forked from the caller has it, too.
compare_values: list[Callable[[object, object], bool]] = []
# While a function arrives that this worker has from the fork already: the closure that was sent, by
# the id of the function.
_closures: dict[int, tuple[CellType, ...] | None] = {}


def make_function(
    data: Any,
    number: int,
    name: str,
    closure: tuple[CellType, ...] | None,
    address: int | None = None,
) -> FunctionType:
    """Return a function with its code, closure and globals; `fill_function` sets the rest later.

    `address`: the id of the function at the caller. A worker that was forked from the caller may
    have the same function at the same address; then the result is that function.
    """
    code = marshal.loads(data) if type(data) is bytes else data
    here = None if address is None else arriving.function_at_fork(address)
    if isinstance(here, FunctionType) and len(here.__code__.co_freevars) == len(code.co_freevars):
        if here.__code__ != code:
            here.__code__ = code
        _closures[id(here)] = closure
        return here
    return FunctionType(code, arriving.namespace(number, name), code.co_name, None, closure)


def make_function_alone(
    data: Any, space: dict[str, Any], closure: tuple[CellType, ...] | None
) -> FunctionType:
    """Return a function as `make_function` does; no module has its globals, the dict `space`."""
    space.setdefault("__builtins__", __builtins__)
    code = marshal.loads(data) if type(data) is bytes else data
    return FunctionType(code, space, code.co_name, None, closure)


def fill_function(function: FunctionType, state: tuple[Any, ...]) -> None:
    """Give a function its attributes; the modules in `state` were imported when it was loaded."""
    slots, attributes, own, _ = state
    if id(function) in _closures:
        _fill_inherited(function, slots, attributes)
        return
    function.__dict__.update(attributes)
    # `own` has globals only if the function's globals belong to no module.
    if own:
        function.__globals__.update(own)
    for name, value in slots.items():
        setattr(function, name, value)


def _fill_inherited(
    function: FunctionType, slots: dict[str, Any], attributes: dict[str, Any]
) -> None:
    """Apply the caller's changes to a function that this worker has from the fork."""
    for name, value in slots.items():
        if not _is_same(getattr(function, name, None), value):
            setattr(function, name, value)
    for name, value in attributes.items():
        if name not in function.__dict__ or not _is_same(function.__dict__[name], value):
            function.__dict__[name] = value
    pairs = zip(function.__closure__ or (), _closures.pop(id(function)) or (), strict=True)
    for cell, sent in pairs:
        try:
            if not _is_same(cell.cell_contents, sent.cell_contents):
                cell.cell_contents = sent.cell_contents
        except ValueError:
            # One of the two cells of a closure is empty. If it is the cell that was sent, it may
            # get its contents later: contents that refer to the function are loaded after the
            # function.
            continue


def _is_same(own: object, sent: object) -> bool:
    """Return whether `own`, a value from the fork, equals `sent`, the caller's value now."""
    return own is sent or any(compare(own, sent) for compare in compare_values)


def make_cell() -> CellType:
    """Return an empty cell of a function's closure."""
    return type(_cell_of(None))()


def _cell_of(value: object) -> CellType:
    closure = (lambda: value).__closure__
    assert closure is not None
    return closure[0]


def fill_cell(cell: CellType, contents: tuple[object]) -> None:
    """Give a cell of a function's closure its contents."""
    (cell.cell_contents,) = contents
