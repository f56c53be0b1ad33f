"""The way of an exception from an item in a worker to the caller."""

from typing import Final

from pmap._jobs.item_errors import Item, restore
from pmap._transport.failure_record import capture
from pmap._transport.framing import FrameReader, frame

ITEM: Final = Item("render", 7, "'page.md'")


def raised(error: BaseException) -> BaseException:
    """Return `error` with a traceback, as a worker has it."""
    try:
        raise error
    except BaseException as caught:
        return caught


def across(error: BaseException, as_text: bool = False) -> Exception:
    """Return what the caller gets for an exception that an item raised in a worker."""
    (message,) = FrameReader().feed(frame((1, capture(raised(error)))))
    return restore(message[1], ITEM, as_text=as_text)
