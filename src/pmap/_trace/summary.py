"""Sums up a trace: how the time of the workers was spent, and which items were the slowest."""

from heapq import nlargest
from typing import NamedTuple

from .intervals import length
from .records import Snapshot
from .spans import TraceSpan, busy_with, spans_of

_SLOWEST = 10  # this many of the slowest items are in a summary


class TraceSummary(NamedTuple):
    """How the time of the workers was spent: see `Trace.summary`. Printed, it is a short table.

    >>> from pmap import Trace, pmap
    >>> trace = Trace()
    >>> pmap(abs, [-1, 2, -3], trace=trace)
    [1, 2, 3]
    >>> about = trace.summary()
    >>> about.items, about.failed, len(about.slowest)
    (3, 0, 3)

    The times are in seconds. Those from `running` to `lost` are sums over all workers, and together
    they are `total`.

    Attributes:
        duration: how long the calls took, from the begin of the first to the end of the last.
        workers: how many rows of workers there are, which is how many workers ran at the same time.
        items: how many tries of items the trace has.
        failed: how many of these tries have failed, or were lost.
        dropped: how many earlier items the trace has dropped, since there were too many.
        running: seconds in which the function ran.
        around: seconds in which workers ran chunks, but not the function: they loaded arguments and
            pickled results.
        transport: seconds in which chunks were on their way to workers, or results to the caller.
        waiting: seconds in which workers had nothing to do.
        starting: seconds in which workers started.
        lost: seconds in which workers ran items that have no result, because the worker or the call
            ended before.
        slowest: the ten slowest items, the slowest first.
    """

    duration: float
    workers: int
    items: int
    failed: int
    dropped: int
    running: float
    around: float
    transport: float
    waiting: float
    starting: float
    lost: float
    slowest: tuple[TraceSpan, ...]

    @property
    def total(self) -> float:
        """The time for which workers existed while calls were running, summed over all workers."""
        return sum(self[5:11])

    @property
    def utilisation(self) -> float:
        """The share of `total` in which the function was running, from 0 to 1."""
        return self.running / self.total if self.total else 0.0

    def __str__(self) -> str:
        items = f"{self.items} item{'s' * (self.items != 1)}"
        items += f" ({self.failed} failed)" if self.failed else ""
        if self.dropped:
            items += f", and {self.dropped} earlier ones that are not kept"
        workers = f"{self.workers} worker{'s' * (self.workers != 1)}"
        took = duration_text(self.duration)
        lines = [f"{items} in {took}, {workers}, used to {self.utilisation:.0%}"]
        for name, what in _WHAT.items():
            seconds: float = getattr(self, name)
            share = seconds / self.total if self.total else 0.0
            lines.append(f"{name:>9}  {share:>4.0%}  {duration_text(seconds):>8}  {what}")
        if self.slowest:
            several = len({one.call for one in self.slowest}) > 1
            slow = [
                f"{one.call}/" * several + f"{one.item_index} ({duration_text(one.seconds)})"
                for one in self.slowest
            ]
            how = "call/index" if several else "index"
            lines.append(f"slowest items by {how}: " + ", ".join(slow))
        return "\n".join(lines)


_WHAT = {
    "running": "the function ran",
    "around": "arguments were loaded, results pickled",
    "transport": "chunks and results were on their way",
    "waiting": "there was nothing to do",
    "starting": "workers started",
    "lost": "what ran has no result",
}


def summary_of(snapshot: Snapshot) -> TraceSummary:
    """Return the summary of a trace, which says how the time of its workers was spent."""
    return summed(spans_of(snapshot), snapshot.dropped)


def summed(spans: tuple[TraceSpan, ...], dropped: int) -> TraceSummary:
    """Return the summary of spans; `dropped` earlier items are not among them."""
    seconds = dict.fromkeys(("starting", "chunk", "transport", "waiting", "lost"), 0.0)
    items: list[TraceSpan] = []
    failed = lost = 0
    of_workers: dict[int, list[TraceSpan]] = {}
    for span in spans:
        if span.kind == "item":
            items.append(span)
            of_workers.setdefault(span.worker, []).append(span)
            failed += span.failed
        else:
            seconds[span.kind] += span.seconds
            lost += span.items if span.kind == "lost" else 0
    running = sum([length(busy_with(those)) for those in of_workers.values()])
    return TraceSummary(
        duration=max([one.stop for one in spans], default=0.0),
        workers=len({one.worker for one in spans}),
        items=len(items) + lost,
        failed=failed + lost,
        dropped=dropped,
        running=running,
        around=max(0.0, seconds["chunk"] - running),
        transport=seconds["transport"],
        waiting=seconds["waiting"],
        starting=seconds["starting"],
        lost=seconds["lost"],
        slowest=tuple(nlargest(_SLOWEST, items, key=lambda one: one.seconds)),
    )


def duration_text(seconds: float) -> str:
    """Return a duration as a short text.

    >>> duration_text(0.0000021), duration_text(0.0123), duration_text(75)
    ('2.1 us', '12.3 ms', '75.0 s')
    """
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 1000:
            return f"{seconds * factor:.1f} {unit}"
    return f"{seconds:.1f} s"
