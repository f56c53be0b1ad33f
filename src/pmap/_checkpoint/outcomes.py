"""Results and errors of items as bytes, which the file of a checkpoint keeps."""

import pickle
from typing import Any, Final

from .._jobs.item_errors import Item, restore
from .._transport.failure_record import capture

# Stands in place of the text of an input, because the file does not keep that text.
UNKNOWN: Final = "..."


def packed_result(value: object) -> bytes | None:
    """Return a result as bytes; None if it cannot be pickled."""
    try:
        return pickle.dumps(value, 5)
    except Exception:  # pickle refuses the value (a lambda, say), which cloudpickle may accept
        import cloudpickle

        try:
            packed: bytes = cloudpickle.dumps(value, 5)
        except Exception:
            return None
        return packed


def loaded_result(data: bytes) -> Any:
    """Return the result that the bytes `data` contain; raise what the loading raises."""
    return pickle.loads(data)


def packed_error(error: Exception, attempts: int) -> bytes:
    """Return the error of an item as bytes, with its traceback and the number of its tries."""
    return pickle.dumps((attempts, capture(error)), 5)


def loaded_error(data: bytes, item: Item) -> tuple[Exception, int]:
    """Return the error of an item from its bytes, and how often the item was tried."""
    attempts, record = pickle.loads(data)
    error = restore(record, item)
    _name_once(error, item)
    return error, attempts


def _name_once(error: Exception, item: Item) -> None:
    """Remove one of two notes about the failed item: one is from the file, one from `restore`.

    The two notes differ if the item has another index in this call than in the call that wrote the
    file, or if the text of the item's input is not known.
    """
    notes: list[str] = getattr(error, "__notes__", [])
    begin = f", {item.function}("
    ours = [at for at, note in enumerate(notes) if note.startswith("pmap: item ") and begin in note]
    # The function may itself have made a pmap call with the same function. Then the error has notes
    # about items of that call, too. The last notes are those about this item.
    if len(ours) > 1 and ours[-1] == len(notes) - 1:
        del notes[ours[-1 if item.input == UNKNOWN else -2]]
