"""Opens the results that a worker process has sent: unpickles a value or an error for each item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import is_ctrl_c
from .._jobs.item_errors import restore, unloaded_result, unsent_argument
from .._jobs.work import Work
from .._transport.failure_record import FUNCTION
from .._transport.values import decode

if TYPE_CHECKING:
    from .._transport.packing import Entry


class _Failed(Exception):
    """Raised if what a worker has sent for an item is the item's failure, and not a value."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _open_entry(work: Work, index: int, parts: list[Any]) -> object:
    """Return the value of an item from what the worker sent; for a failure raise `_Failed`."""
    if len(parts) in (1, 3):
        return decode(parts)
    if work.unsent and index in work.unsent:
        raise _Failed(unsent_argument(*work.unsent.pop(index), work.item(index)))
    if parts[0] == FUNCTION and work.spec is not None:
        work.spec.needs.invalidate()
    rules = work.call.rules
    error = restore(parts, work.item(index), rules.timeout, rules.trace_as_text)
    maybe_missing = (NameError, AttributeError, KeyError, ImportError)
    if isinstance(error, maybe_missing) and work.spec is not None:
        from .._jobs.missing_names import note_missing_name

        note_missing_name(error, work.function_name, work.spec.needs)
    elif isinstance(error, TypeError) and not parts[4][0]:
        # The TypeError was raised before any line of the function ran, so the arguments do not fit
        # the function.
        from .._jobs.wrong_arguments import note_wrong_arguments

        note_wrong_arguments(error, work, work.call.items[index])
    raise _Failed(error)


def open_entries(
    work: Work, start: int, entries: list[Entry]
) -> tuple[list[object], dict[int, Exception]]:
    """Unpickle what a worker sent for several items; return the values, and the errors by offset.

    The offset of an item is its position among these items.
    """
    failures: dict[int, Exception] = {}
    if list not in set(map(type, entries)):
        return entries, failures
    values: list[object] = []
    for offset, entry in enumerate(entries):
        value: object = entry
        parts: list[Any] | None
        parts = entry if type(entry) is list else None  # pyright: ignore[reportUnknownVariableType]
        if parts is not None:
            index = start + offset
            try:
                value = _open_entry(work, index, parts)
            except _Failed as failed:
                failures[offset] = failed.error
            # To unpickle a result runs the user's code, which may raise any exception.
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                failures[offset] = unloaded_result(error, work.item(index))
        values.append(value)
    return values, failures
