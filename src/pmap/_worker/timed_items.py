"""Running items and noting when each begins and ends; only traced calls need this module."""

from __future__ import annotations

from .item import ItemRunner

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._transport.packing import Entry
    from .function import ReceivedSpec
    from .timing import Timing


class TimedItems(ItemRunner):
    """Runs items as another runner does, and makes sure that the times of each item are noted."""

    def __init__(self, items: ItemRunner, timing: Timing) -> None:
        """Run items of a chunk as `items` does; `timing` notes when each begins and ends."""
        # This runner and `items` share the memory and descriptors of results that are not sent yet.
        self.tidy = items.tidy
        self.attachments = items.attachments
        self._timing = timing

    def run(
        self, spec: ReceivedSpec, call: Callable[[object], object], entry: Entry
    ) -> tuple[Entry, bool]:
        """Run one item, as the method of `ItemRunner` does, and note its times."""
        before = self._timing.mark()
        done = super().run(spec, call, entry)
        self._timing.complete(before, entry)
        return done
