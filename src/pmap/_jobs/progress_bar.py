"""A bar of tqdm that shows the progress of one call; tqdm is imported for the first bar."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from .._types import Progress

if TYPE_CHECKING:
    from tqdm.std import tqdm


class Bar:
    """A bar on stderr, in a terminal or a notebook; it is called with each `Progress`."""

    def __init__(self, label: str | None) -> None:
        """Make a bar that is not shown yet.

        Args:
            label: the text in front of the bar; None: the name of the function.
        """
        self._label = label
        self._bar: tqdm | None = None

    def __call__(self, event: Progress) -> None:
        """Show the progress of the call."""
        bar = self._bar
        if bar is None:
            if event.finished and not event.done:
                return  # no item has run, so no bar is shown
            _shown.add(self)
            bar = self._bar = _bar_kind()(
                desc=event.label if self._label is None else self._label,
                total=event.total,
                # Each `update` is shown at once, because updates are rare.
                mininterval=0,
                miniters=1,
            )
            if not (event.done or event.finished):
                return  # the new bar has drawn itself
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
        """Show the bar no more: this is a fork, and the bar belongs to the parent process."""
        _shown.discard(self)
        if self._bar is not None:
            self._bar.disable = True


_kind: "type[tqdm] | None" = None
_shown: "set[Bar]" = set()


def _bar_kind() -> "type[tqdm]":
    """Return the class of tqdm's bars for a notebook or for a terminal, whichever this is."""
    global _kind
    if _kind is None:
        from tqdm import auto, std

        # The class uses the lock of tqdm that the threads of this process share for all bars, also
        # for bars of the program. It does not use the lock that tqdm shares with forked processes:
        # a process that is killed could leave that lock locked for ever. And it starts no monitor
        # thread, which tqdm has for bars that are updated for each item.
        own = {"monitor_interval": 0, "_lock": std.TqdmDefaultWriteLock.th_lock}
        _kind = type("Bar", (auto.tqdm,), own)
    return _kind


def above_bars() -> AbstractContextManager[None]:
    """Return a context manager; whole lines written within it stand above the bars."""
    if _kind is None or not _shown:
        return nullcontext()
    return _kind.external_write_mode()
