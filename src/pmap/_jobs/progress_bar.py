"""A bar of tqdm that follows one call; tqdm is imported when the first one is shown."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from .._types import Progress

if TYPE_CHECKING:
    from tqdm.std import tqdm


class Bar:
    """A bar on stderr, in a terminal or a notebook; to be called with what there is to show."""

    def __init__(self, label: str | None) -> None:
        """Show nothing yet.

        Args:
            label: stands in front of it; None: the name of the function.
        """
        self._label = label
        self._bar: tqdm | None = None

    def __call__(self, event: Progress) -> None:
        """Show how far the call is."""
        bar = self._bar
        if bar is None:
            if event.finished and not event.done:
                return  # nothing has run
            _shown.add(self)
            bar = self._bar = _bar_kind()(
                desc=event.label if self._label is None else self._label,
                total=event.total,
                # Show what `update` is told at once: it is not told often.
                mininterval=0,
                miniters=1,
            )
            if not (event.done or event.finished):
                return  # it has drawn itself
        bar.total = event.total
        notes = [f"{event.failed} failed"] if event.failed else []
        notes += [f"{event.retried} retried"] if event.retried else []
        bar.set_postfix_str(", ".join(notes), refresh=False)
        if not bar.update(event.done - bar.n):
            bar.refresh()
        if event.finished:
            _shown.discard(self)
            bar.close()

    def disown(self) -> None:
        """Show nothing more: this is a fork, and the bar is its parent's."""
        _shown.discard(self)
        if self._bar is not None:
            self._bar.disable = True


_kind: "type[tqdm] | None" = None
_shown: "set[Bar]" = set()


def _bar_kind() -> "type[tqdm]":
    """Return the class of bars, for a notebook or a terminal, whichever this is."""
    global _kind
    if _kind is None:
        from tqdm import auto, std

        # The lock that threads have for all bars, the program's own, too. Not the one that forks
        # share: one that is killed could take it along. And without the thread that tqdm has for
        # bars that are told of each item.
        own = {"monitor_interval": 0, "_lock": std.TqdmDefaultWriteLock.th_lock}
        _kind = type("Bar", (auto.tqdm,), own)
    return _kind


def above_bars() -> AbstractContextManager[None]:
    """Return within what whole lines are to be written, so that they stand above the bars."""
    if _kind is None or not _shown:
        return nullcontext()
    return _kind.external_write_mode()
