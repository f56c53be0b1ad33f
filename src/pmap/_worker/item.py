"""Running one item: load the argument, call the function, pickle the result or failure.

However an item ends, even by an exception such as SystemExit, the caller is sent the outcome.
"""

from __future__ import annotations

from .._transport import process_role
from .._transport.failure_record import (
    ARGUMENT,
    RESULT,
    TOO_LONG,
    capture,
    capture_transport,
    safe_trace,
)
from .._transport.packing import PLAIN, is_long, is_plain
from .._transport.values import Attachments, decode, encode
from .traces import traces

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

    from .._transport.packing import Entry
    from .._transport.segments import Segment
    from .function import ReceivedSpec
    from .side_effects import Surroundings


class BadArgumentError(Exception):
    """Raised if the argument of an item cannot be loaded; the cause says why."""


class ItemRunner:
    """Runs the items of a worker, one after the other."""

    def __init__(
        self,
        surroundings: Surroundings,
        lend: Callable[[Sequence[Buffer]], Segment | None],
    ) -> None:
        """Prepare to run the items of a worker.

        Args:
            surroundings: undoes, after each item, what the item has changed in this process.
            lend: returns a shared-memory segment that holds the buffers of a large result, or None.
        """
        self.tidy = surroundings.tidy
        # The shared memory and the file descriptors that belong to results which are not sent yet.
        self.attachments = Attachments(lend)

    def run(
        self, spec: ReceivedSpec, call: Callable[[object], object], entry: Entry
    ) -> tuple[Entry, bool]:
        """Run one item; return what is sent of its result or failure, and whether it failed.

        What is sent is a pickled or plain value, or a failure record, which is a list of plain
        values.
        """
        try:
            item = load_argument(entry) if type(entry) is list else entry
            result = call(item)
        except BaseException as error:
            if traces:
                self.tidy()
            return failure(error), True
        if traces:
            self.tidy()
        if (type(result) in PLAIN or is_plain(result)) and not is_long(result):
            return result, False
        return self.encoded(spec, result)

    def encoded(self, spec: ReceivedSpec, result: object) -> tuple[Entry, bool]:
        """Return what is sent of a result, a pickled or plain value; and False.

        If the result cannot be pickled, return a failure record that says so, and True.
        """
        try:
            return encode(result, spec.by_value, self.attachments), False
        except BaseException as error:
            # Pickling a result runs the user's code, which may raise anything.
            return capture_transport(RESULT, error, result), True


def load_argument(entry: Entry) -> object:
    """Return the argument of an item, unpickled.

    Raises `BadArgumentError` if the argument cannot be loaded.
    """
    # The caller could not pickle this argument, so nothing has come in its place.
    if not entry:
        raise BadArgumentError from None
    runs_items, process_role.runs_items = process_role.runs_items, False
    try:
        return decode(entry)
    except BaseException as error:
        raise BadArgumentError from error
    finally:
        process_role.runs_items = runs_items


def failure(error: BaseException) -> Entry:
    """Return what is sent for an item that raised `error`: a failure record (plain values)."""
    if isinstance(error, BadArgumentError):
        return capture_transport(ARGUMENT, error.__cause__ or error)
    # `TooLong` is recognised by its name, because only a worker that runs coroutines imports it.
    if type(error).__name__ == "TooLong" and type(error).__module__ == f"{__package__}.coroutines":
        return [TOO_LONG, None, "", "", safe_trace(error)]
    return capture(error)
