"""Running items of which the times are noted; imported only for calls that are traced."""

from __future__ import annotations

from .item import ItemRunner

TYPE_CHECKING = False  # a worker starts faster without `typing`; type checkers assume True
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._transport.packing import Entry
    from .function import ReceivedSpec
    from .timing import Timing


class TimedItems(ItemRunner):
    """Runs items as another runner does, and sees that each item has its times."""

    def __init__(self, items: ItemRunner, timing: Timing) -> None:
        """Make a runner like `items`, for a chunk whose times `timing` notes."""
        # Both runners share the attachments of the results that are not sent yet.
        self.tidy = items.tidy
        self.attachments = items.attachments
        self._timing = timing

    def run(
        self, spec: ReceivedSpec, call: Callable[[object], object], entry: Entry
    ) -> tuple[Entry, bool]:
        """Run one item as `ItemRunner.run` does."""
        before = self._timing.mark()
        done = super().run(spec, call, entry)
        self._timing.complete(before, entry)
        return done
