"""Results and errors of items as the bytes that the file of a checkpoint keeps."""

import pickle
from typing import Any

from .._jobs.item_errors import Item, restore
from .._transport.failure_record import capture


def packed_result(value: object) -> bytes | None:
    """Return a result as bytes; None: it cannot be pickled."""
    try:
        return pickle.dumps(value, 5)
    except Exception:  # the result cannot be pickled (it may be a lambda), so it is not kept
        import cloudpickle

        try:
            packed: bytes = cloudpickle.dumps(value, 5)
        except Exception:
            return None
        return packed


def loaded_result(data: bytes) -> Any:
    """Return the result from its bytes; raises what its loading raises."""
    return pickle.loads(data)


def packed_error(error: Exception, attempts: int) -> bytes:
    """Return the error of an item as bytes, with its traceback and the number of its tries."""
    return pickle.dumps((attempts, capture(error)), 5)


def loaded_error(data: bytes, item: Item) -> tuple[Exception, int]:
    """Return the error of an item from its bytes, and how often the item was tried."""
    attempts, record = pickle.loads(data)
    return restore(record, item), attempts
