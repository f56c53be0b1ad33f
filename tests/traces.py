"""What holds of each trace, whatever ran: checks of its spans, sums and files."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from pmap import Trace, TraceSpan

# Rounding of floats: a span is the difference of two times that count from the machine's start.
TINY = 1e-6


def check(
    trace: Trace, items: Mapping[int, int] | int, *, coroutines: bool = False
) -> tuple[TraceSpan, ...]:
    """Check a trace of calls that have ended; return its spans.

    Args:
        trace: the trace.
        items: how often each index was tried, or how many items were tried once.
        coroutines: whether items may overlap each other.
    """
    spans = trace.spans()
    check_spans(spans, coroutines=coroutines)
    tried = dict.fromkeys(range(items), 1) if isinstance(items, int) else {**items}
    assert dict(Counter(tries(spans))) == tried
    check_sums(trace, spans)
    check_json(spans, trace)
    ET.fromstring(trace._repr_svg_())
    return spans


def tries(spans: Iterable[TraceSpan]) -> Iterable[int]:
    """Yield the index of each try of an item that the spans have."""
    for span in spans:
        if span.kind in ("item", "lost") and span.item_index is not None:
            yield from range(span.item_index, span.item_index + span.items)


def check_spans(spans: tuple[TraceSpan, ...], *, coroutines: bool = False) -> None:
    """Check that the spans of a row follow each other, and that items lie within their chunks."""
    for row in {span.worker for span in spans}:
        those = [span for span in spans if span.worker == row]
        assert all(0 <= span.start <= span.stop for span in those)
        states = [span for span in those if span.kind != "item"]
        for one, other in pairwise(states):
            assert one.stop <= other.start + TINY, (one, other)
        ran = [span for span in those if span.kind == "item"]
        if not coroutines:
            for one, other in pairwise(ran):
                assert one.stop <= other.start + TINY, (one, other)
        chunks = [span for span in those if span.kind == "chunk" and span.items]
        for span in ran:
            assert span.item_index is not None
            assert [
                chunk
                for chunk in chunks
                if (chunk.call, chunk.item_index) <= (span.call, span.item_index)
                and span.item_index
                in range(chunk.item_index or 0, (chunk.item_index or 0) + chunk.items)
                and chunk.start - TINY <= span.start
                and span.stop <= chunk.stop + TINY
            ], span


def check_sums(trace: Trace, spans: tuple[TraceSpan, ...]) -> None:
    """Check that the sums of the summary are those of the time that the workers were there."""
    about = trace.summary()
    there = sum(span.seconds for span in spans if span.kind != "item")
    assert abs(about.total - there) < TINY * (len(spans) + 1)
    assert all(part >= 0 for part in about[5:11])
    assert 0 <= about.utilisation <= 1 + TINY
    assert about.items == sum(1 for _ in tries(spans))
    assert len(str(about).splitlines()) >= 7


def check_json(spans: tuple[TraceSpan, ...], trace: Trace) -> None:
    """Check the file: the fields that the Trace Event format requires, and nested events."""
    from pmap._trace.json_file import json_of

    read: dict[str, Any] = json.loads(json_of(trace._records.snapshot()))
    events: list[dict[str, Any]] = read["traceEvents"]
    complete = [event for event in events if event["ph"] == "X"]
    assert len(complete) == len(spans)
    for event in events:
        assert {"name", "ph", "ts", "pid", "tid"} <= event.keys()
        assert event["ph"] in ("X", "M")
        assert event["ts"] >= 0
    assert all(event["dur"] >= 0 for event in complete)
    named = {event["tid"] for event in events if event["name"] == "thread_name"}
    assert {event["tid"] for event in complete} <= named
    for row in named:
        open_ends: list[float] = []
        those = [event for event in complete if event["tid"] == row]
        for event in sorted(those, key=lambda one: (one["ts"], -one["dur"], one["cat"] == "item")):
            end = round(event["ts"] + event["dur"], 3)
            while open_ends and open_ends[-1] <= event["ts"]:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1], event
            open_ends.append(end)


def saved(path: Path) -> str:
    """Return what a saved file has, after a look at its form."""
    text = path.read_text("utf-8")
    if path.suffix == ".svg":
        ET.fromstring(text)
    else:
        assert json.loads(text)["traceEvents"]
    return text
