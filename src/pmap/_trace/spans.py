"""Makes spans of the records of a trace: which worker did what from when to when.

At each moment of a call each of its workers is in one of five states: it starts, runs a chunk,
waits for a message that is on its way, waits for work, or does what will be lost. The spans of
these five kinds cover the time of a worker without gap or overlap. Spans of items lie within those
of chunks.
"""

from collections.abc import Iterable, Iterator
from math import inf
from typing import Literal, NamedTuple, TypeAlias

from .intervals import Interval, common, minus, union
from .records import Part, Snapshot, WorkerRecord

Kind: TypeAlias = Literal["starting", "chunk", "item", "transport", "waiting", "lost"]


class TraceSpan(NamedTuple):
    """What a worker did from one time to another: see `Trace.spans`.

    >>> from pmap import Trace, pmap
    >>> trace = Trace()
    >>> pmap(abs, [-1, 2], trace=trace)
    [1, 2]
    >>> [(span.kind, span.items) for span in trace.spans() if span.item_index == 1]
    [('item', 1)]

    Attributes:
        kind: ``"starting"``: the worker starts. ``"item"``: the function runs for one item.
            ``"chunk"``: the worker runs a chunk, with all its items; beside these it loads
            arguments and pickles results. ``"transport"``: a chunk is on its way to the worker, or
            its results on their way to the caller. ``"waiting"``: there is nothing to do for the
            worker. ``"lost"``: the worker ran items, and ended before it could say when; or the
            call ended before their results came.
        worker: the row of the worker, from 0 on. Workers that were not there at the same time may
            have the same row.
        start: when it begins, in seconds since the first call of the trace began.
        stop: when it ends.
        call: the number of the call in the trace, from 0 on; None: it belongs to no call.
        item_index: the index of the first item; None: it belongs to no item.
        items: how many items it has: those from `item_index` on.
        attempt: for an item, the number of the try; 1 for the first.
        failed: how many of the items have failed.
        pid: the process id of the worker; None: it is no process of its own.
    """

    kind: Kind
    worker: int
    start: float
    stop: float
    call: int | None = None
    item_index: int | None = None
    items: int = 0
    attempt: int = 1
    failed: int = 0
    pid: int | None = None

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.stop - self.start


def spans_of(snapshot: Snapshot) -> tuple[TraceSpan, ...]:
    """Return the spans of a trace, ordered by row and time; a chunk comes before its items."""
    parts: dict[int, list[Part]] = {}
    for part in snapshot.parts:
        parts.setdefault(part.worker, []).append(part)
    spans: list[TraceSpan] = []
    rows = _rows(snapshot.workers)
    for key, worker in snapshot.workers.items():
        seen = [*_of_worker(snapshot, worker, rows[key], parts.get(key, []))]
        zero = snapshot.began
        spans += [
            one._replace(start=one.start - zero, stop=one.stop - zero, pid=worker.pid)
            for one in seen
        ]
    spans.sort(key=lambda one: (one.worker, one.start, one.kind == "item"))
    return tuple(spans)


def _rows(workers: dict[int, WorkerRecord]) -> dict[int, int]:
    """Return the row of each worker: the first that no other worker has at the same time."""
    rows: dict[int, int] = {}
    free_from: list[float] = []  # for each row, when its last worker was gone
    for key, worker in sorted(workers.items(), key=lambda pair: (pair[1].since, pair[0])):
        row = next((at for at, gone in enumerate(free_from) if gone <= worker.since), None)
        if row is None:
            row = len(free_from)
            free_from.append(inf)
        free_from[row] = inf if worker.gone is None else worker.gone
        rows[key] = row
    return rows


def _observed(snapshot: Snapshot, worker: WorkerRecord) -> list[Interval]:
    """Return when the worker was there and a call of its pool ran, as far as records go back."""
    calls = union(
        (call.began, snapshot.now if call.ended is None else call.ended)
        for call in snapshot.calls.values()
        if call.pool == worker.pool
    )
    there = max(worker.since, snapshot.since)
    gone = snapshot.now if worker.gone is None else worker.gone
    return common(calls, [(there, max(gone, there))])


def _of_worker(
    snapshot: Snapshot, worker: WorkerRecord, row: int, parts: list[Part]
) -> Iterator[TraceSpan]:
    observed = _observed(snapshot, worker)
    if not observed:
        return
    busy: list[Interval] = []
    end = observed[-1][1]
    if worker.started is not None:
        ready = worker.ready or worker.gone or snapshot.now
        for begin, stop in common(observed, [(worker.started, ready)]):
            busy.append((begin, stop))
            yield TraceSpan("starting", row, begin, stop)
    on_the_way: list[Interval] = []
    for part in parts:
        begin = min(max(part.begin, observed[0][0]), end)
        stop = min(max(part.end, begin), end)
        busy.append((begin, stop))
        on_the_way += [(part.sent, begin), (stop, part.received)]
        yield from _of_part(part, row, begin, stop)
    busy = union(busy)
    transport = common(minus(union(on_the_way), busy), observed)
    yield from (TraceSpan("transport", row, *one) for one in transport)
    waiting = minus(observed, union([*busy, *transport]))
    yield from (TraceSpan("waiting", row, *one) for one in waiting)


def _of_part(part: Part, row: int, begin: float, stop: float) -> Iterator[TraceSpan]:
    """Yield the span of a part of a chunk, which begins and stops then, and those of its items."""
    count = len(part.failed)
    attempts = part.attempts or {}
    if part.lost:
        attempt = 1 + attempts.get(part.start + part.items - 1, 0)
        yield TraceSpan("lost", row, begin, stop, part.call, part.start, part.items, attempt)
        return
    if not part.items:
        yield TraceSpan("chunk", row, begin, stop, part.call)
        return
    yield TraceSpan("chunk", row, begin, stop, part.call, part.start, part.items, failed=count)
    failed = {*part.failed}
    times, shift = part.times, part.shift
    for offset in range(part.items):
        index = part.start + offset
        # Items that did not run, since the function could not be loaded, have no times.
        at = times[2 * offset : 2 * offset + 2] or (stop - shift, stop - shift)
        first = min(max(at[0] + shift, begin), stop)
        yield TraceSpan(
            "item",
            row,
            first,
            max(first, min(at[1] + shift, stop)),
            part.call,
            index,
            1,
            1 + attempts.get(index, 0),
            int(index in failed),
        )


def busy_with(spans: Iterable[TraceSpan]) -> list[Interval]:
    """Return when any of the spans was under way: those of coroutines overlap each other."""
    return union((one.start, one.stop) for one in spans)
