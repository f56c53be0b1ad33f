"""Writes a trace in the Trace Event format, which Perfetto and Chrome can open.

A span is what a worker did from one time to another. Perfetto and Chrome draw the spans of each
worker side by side in one row. A file in the format has an event for each span, with the begin and
the length of the span in microseconds. It also has an event for each row, with the name of the row.
Two spans in the same row must not overlap, unless one lies within the other. So items that overlap,
as coroutines do, get rows of their own.
"""

import json
from typing import Any

from .records import Snapshot
from .spans import TraceSpan, spans_of

# The row numbers of two workers differ by this number. The numbers in between are those of a
# worker's coroutines.
_ROWS = 1000
# All events get this process id. Perfetto would take the id 0 for an idle processor.
_PROCESS = 1


def json_of(snapshot: Snapshot) -> str:
    """Return a trace as the text of a file in the Trace Event format."""
    labels = {number: call.label for number, call in snapshot.calls.items()}
    return json.dumps({"traceEvents": events_of(spans_of(snapshot), labels)})


def events_of(spans: tuple[TraceSpan, ...], labels: dict[int, str]) -> list[dict[str, Any]]:
    """Return the spans of a trace as events of the format; `labels` has the names of the calls."""
    rows: dict[int, str] = {}
    # For each row of a worker's coroutines: the time at which the last item in the row ended.
    ends: dict[int, list[float]] = {}
    events: list[dict[str, Any]] = []
    for span in spans:
        row = span.worker * _ROWS + 1
        rows[row] = f"worker {span.worker}"
        if span.kind == "item":
            free = ends.setdefault(span.worker, [])
            place = next((at for at, end in enumerate(free) if end <= span.start), len(free))
            free[place:] = [span.stop, *free[place + 1 :]]
            if place:
                row += place
                rows[row] = f"worker {span.worker}, coroutine {place}"
        events.append(_event(span, row, labels))
    about: list[dict[str, Any]] = [_named("process_name", _PROCESS, "pmap")]
    about += [_named("thread_name", row, name) for row, name in sorted(rows.items())]
    return about + events


def _event(span: TraceSpan, row: int, labels: dict[int, str]) -> dict[str, Any]:
    # Begin and end are rounded, and the length is computed from the rounded values. So a span that
    # ends where another span begins, or that lies within another span, still does so after
    # rounding.
    begin, end = round(span.start * 1e9), round(span.stop * 1e9)
    about: dict[str, object] = {}
    if span.call is not None:
        about["call"] = labels.get(span.call, "")
    if span.item_index is not None:
        about |= {"index": span.item_index, "items": span.items}
    if span.attempt > 1:
        about["attempt"] = span.attempt
    if span.failed:
        about["failed"] = span.failed
    if span.pid is not None:
        about["pid"] = span.pid
    return {
        "name": f"item {span.item_index}" if span.kind == "item" else span.kind,
        "cat": span.kind,
        "ph": "X",
        "ts": begin / 1000,
        "dur": (end - begin) / 1000,
        "pid": _PROCESS,
        "tid": row,
        "args": about,
    }


def _named(kind: str, row: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "ts": 0, "pid": _PROCESS, "tid": row, "args": {"name": name}}
