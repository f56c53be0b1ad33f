"""One item: its argument is loaded, the function runs, and what came of it is made ready to travel.

Every way in which an item can end is an answer.
"""

from __future__ import annotations

from .._transport import process_role
from .._transport.failure_record import (
    ARGUMENT,
    RESULT,
    TOO_LONG,
    capture,
    capture_transport,
    format_traceback,
)
from .._transport.packing import PLAIN, is_long, is_plain
from .._transport.values import Attachments, decode, encode
from .traces import traces

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

    from .._transport.packing import Entry
    from .._transport.segments import Segment
    from .function import ReceivedSpec
    from .side_effects import Surroundings


class BadArgumentError(Exception):
    """The argument could not be loaded; the cause says why."""


class ItemRunner:
    """Runs one item after the other."""

    def __init__(
        self,
        surroundings: Surroundings,
        lend: Callable[[Sequence[Buffer]], Segment | None],
    ) -> None:
        """Run items in `surroundings`; `lend` gives segments for large results."""
        self.tidy = surroundings.tidy
        self.attachments = Attachments(lend)  # of the results that are not sent yet

    def run(
        self, spec: ReceivedSpec, call: Callable[[object], object], entry: Entry
    ) -> tuple[Entry, bool]:
        """Run one item; return the entry of what came of it, and whether it failed."""
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
        """Return the entry of a result, and whether it is a failure: it cannot be sent."""
        try:
            return encode(result, spec.by_value, self.attachments), False
        except BaseException as error:  # the result's own pickling may do anything
            return capture_transport(RESULT, error, result), True


def load_argument(entry: Entry) -> object:
    """Return what a pickled entry holds."""
    if not entry:
        raise BadArgumentError from None  # the caller could not pickle it and knows why
    runs_items, process_role.runs_items = process_role.runs_items, False
    try:
        return decode(entry)
    except BaseException as error:
        raise BadArgumentError from error
    finally:
        process_role.runs_items = runs_items


def failure(error: BaseException) -> Entry:
    """Return the failure record of an item that raised `error`."""
    if isinstance(error, BadArgumentError):
        return capture_transport(ARGUMENT, error.__cause__ or error)
    # By its name: a worker that runs no coroutines does not import the class.
    if type(error).__name__ == "TooLong" and type(error).__module__ == f"{__package__}.coroutines":
        return [TOO_LONG, None, "", "", format_traceback(error)]
    return capture(error)
