"""A bar of tqdm that shows the progress of one call; the first bar imports tqdm."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from .._types import Progress

if TYPE_CHECKING:
    from tqdm.std import tqdm


class Bar:
    """A bar on stderr, in a terminal or a notebook; pmap calls it with each `Progress`."""

    def __init__(self, label: str | None) -> None:
        """Make a bar that is not shown yet.

        Args:
            label: the text in front of the bar; None: the name of the function.
        """
        self._label = label
        self._bar: tqdm | None = None

    def __call__(self, event: Progress) -> None:
        """Move the bar to the progress that `event` tells."""
        bar = self._bar
        if bar is None:
            if event.finished and not event.done:
                return  # there were no items to run, so no bar is shown
            _shown.add(self)
            bar = self._bar = _bar_kind()(
                desc=event.label if self._label is None else self._label,
                total=event.total,
                # With these two values tqdm draws the bar at each `update`; pmap makes few of them.
                mininterval=0,
                miniters=1,
            )
            if not (event.done or event.finished):
                return  # a new bar draws itself, so it needs no update now
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
        """Stop showing the bar in a forked process: it belongs to the parent process."""
        _shown.discard(self)
        if self._bar is not None:
            self._bar.disable = True


_kind: "type[tqdm] | None" = None
_shown: "set[Bar]" = set()


def _bar_kind() -> "type[tqdm]":
    """Return tqdm's class of bars: in a notebook the one for notebooks, else that for terminals."""
    global _kind
    if _kind is None:
        from tqdm import auto, std

        # tqdm has two locks. This class uses only the one between threads, which the program's own
        # bars use, too. The other one is shared with other processes, and a process that is killed
        # while it holds it would leave it locked for ever. tqdm's monitor thread is not started,
        # because it serves bars that are updated at each item.
        own = {"monitor_interval": 0, "_lock": std.TqdmDefaultWriteLock.th_lock}
        _kind = type("Bar", (auto.tqdm,), own)
    return _kind


def above_bars() -> AbstractContextManager[None]:
    """Return a context manager; whole lines that are written in its block appear above the bars."""
    if _kind is None or not _shown:
        return nullcontext()
    return _kind.external_write_mode()
