"""Makes spans from the records of a trace; a span is what a worker did for some time.

At each moment of a call, each worker of the call is in one of five states: it starts, runs a chunk,
waits for a message that is on its way, waits for work, or runs items whose results will be lost.
The spans of these five kinds cover the time of a worker without gap or overlap. Spans of items lie
within those of chunks.
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
    >>> sorted(span.item_index for span in trace.spans() if span.kind == "item")
    [0, 1]

    Attributes:
        kind: ``"starting"``: the worker starts. ``"item"``: the function runs for one item.
            ``"chunk"``: the worker runs a chunk, with all its items; beside these it loads
            arguments and pickles results. ``"transport"``: a chunk is on its way to the worker, or
            its results on their way to the caller. ``"waiting"``: there is nothing to do for the
            worker. ``"lost"``: the worker ran items, and ended before it could say when; or the
            call ended before their results came.
        worker: the row of the worker, from 0 on. Workers that were not there at the same time may
            have the same row.
        start: the time at which the span begins, in seconds since the first call of the trace
            began.
        stop: the time at which the span ends, in seconds since the first call of the trace began.
        call: the number of the call in the trace, from 0 on; None if the span belongs to no call.
        item_index: the index of the first item; None if the span belongs to no item.
        items: how many items the span has; the first one is at `item_index`.
        attempt: for an item, the number of the try; 1 for the first.
        failed: how many of the items have failed.
        pid: the process id of the worker; None if the worker is no process of its own.
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
        """The length of the span in seconds."""
        return self.stop - self.start


class _Row(NamedTuple):
    """Makes the spans of one worker, which is a row of the trace.

    `row` is the number of the row, and `pid` the worker's process id. The times of spans count from
    `zero`.
    """

    row: int
    pid: int | None
    zero: float

    def span(
        self,
        kind: Kind,
        start: float,
        stop: float,
        call: int | None = None,
        item_index: int | None = None,
        items: int = 0,
        attempt: int = 1,
        failed: int = 0,
    ) -> TraceSpan:
        row, pid, zero = self
        start, stop = start - zero, stop - zero
        return TraceSpan(kind, row, start, stop, call, item_index, items, attempt, failed, pid)


def spans_of(snapshot: Snapshot) -> tuple[TraceSpan, ...]:
    """Return the spans of a trace, ordered by row and time; a chunk comes before its items."""
    parts: dict[int, list[Part]] = {}
    for part in snapshot.parts:
        parts.setdefault(part.worker, []).append(part)
    calls: dict[int, list[Interval]] = {}
    for call in snapshot.calls.values():
        ended = snapshot.now if call.ended is None else call.ended
        calls.setdefault(call.pool, []).append((call.began, ended))
    of_pools = {pool: union(those) for pool, those in calls.items()}
    rows = _rows(snapshot.workers)
    spans: list[TraceSpan] = []
    for key, worker in snapshot.workers.items():
        row = _Row(rows[key], worker.pid, snapshot.began)
        there = max(worker.since, snapshot.since)
        gone = snapshot.now if worker.gone is None else worker.gone
        observed = common(of_pools.get(worker.pool, []), [(there, max(gone, there))])
        if observed:
            spans += _of_worker(row, worker, observed, parts.get(key, []))
    spans.sort(key=lambda one: (one.worker, one.start, one.kind == "item"))
    return tuple(spans)


def _rows(workers: dict[int, WorkerRecord]) -> dict[int, int]:
    """Return the row of each worker: the first row that no other worker has at the same time."""
    rows: dict[int, int] = {}
    free_from: list[float] = []  # for each row, the time at which its last worker has ended
    for key, worker in sorted(workers.items(), key=lambda pair: (pair[1].since, pair[0])):
        row = next((at for at, gone in enumerate(free_from) if gone <= worker.since), None)
        if row is None:
            row = len(free_from)
            free_from.append(inf)
        free_from[row] = inf if worker.gone is None else worker.gone
        rows[key] = row
    return rows


def _of_worker(
    row: _Row, worker: WorkerRecord, observed: list[Interval], parts: list[Part]
) -> Iterator[TraceSpan]:
    """Yield the spans of a worker.

    `observed` are the times at which the worker existed and a call of its pool was running.
    """
    busy: list[Interval] = []
    first, end = observed[0][0], observed[-1][1]
    if worker.started is not None:
        ready = worker.ready or worker.gone or end
        # The message that a worker is ready may come a moment after the worker has begun a chunk.
        # So the earlier of the two times counts.
        ready = min([ready, *[part.begin for part in parts]])
        for begin, stop in common(observed, [(worker.started, ready)]):
            busy.append((begin, stop))
            yield row.span("starting", begin, stop)
    on_the_way: list[Interval] = []
    for part in parts:
        begin = min(max(part.begin, first), end)
        stop = min(max(part.end, begin), end)
        busy.append((begin, stop))
        on_the_way += [(part.sent, begin), (stop, part.received)]
        yield from _of_part(row, part, begin, stop)
    busy = union(busy)
    transport = common(minus(union(on_the_way), busy), observed)
    yield from (row.span("transport", *one) for one in transport)
    waiting = minus(observed, union([*busy, *transport]))
    yield from (row.span("waiting", *one) for one in waiting)


def _of_part(row: _Row, part: Part, begin: float, stop: float) -> Iterator[TraceSpan]:
    """Yield a span for items whose results came together, and a span for each of these items."""
    attempts = part.attempts or {}
    if part.lost:
        attempt = 1 + attempts.get(part.start + part.items - 1, 0)
        yield row.span("lost", begin, stop, part.call, part.start, part.items, attempt)
        return
    start = part.start if part.items else None
    yield row.span("chunk", begin, stop, part.call, start, part.items, 1, len(part.failed))
    failed = {*part.failed}
    times, shift = part.times, part.shift
    # Items that did not run, for example because the function could not be loaded, have no times.
    missing = 2 * part.items - len(times)
    if missing > 0:
        times = [*times, *[stop - shift] * missing]
    for offset in range(part.items):
        index = part.start + offset
        at = min(max(times[2 * offset] + shift, begin), stop)
        ended = max(at, min(times[2 * offset + 1] + shift, stop))
        tries = 1 + attempts.get(index, 0)
        yield row.span("item", at, ended, part.call, index, 1, tries, int(index in failed))


def busy_with(spans: Iterable[TraceSpan]) -> list[Interval]:
    """Return the time that is covered by any of the spans; spans of coroutines may overlap."""
    return union((one.start, one.stop) for one in spans)
