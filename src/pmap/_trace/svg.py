"""Draws a trace as an SVG picture: each worker has a row, and time goes from left to right.

The picture stays small however many items there are. A span narrower than two pixels gets no shape
of its own: its time is added to columns of one pixel each. The more of a pixel's time such spans
take, the darker is the column.
"""

from html import escape
from math import floor, log10
from typing import Final

from .records import Snapshot
from .spans import Kind, TraceSpan, spans_of
from .summary import duration_text, summed

_WIDTH: Final = 960
_LEFT: Final = 76  # where the time axis begins, right of the names of the rows, in pixels
_RIGHT: Final = 14
# Pixels above the first row, for the title, the legend and the labels of the time axis.
_TOP: Final = 62
_ROW: Final = 22
_BAR: Final = 16
_COLUMNS: Final = _WIDTH - _LEFT - _RIGHT
_NARROW: Final = 2.0  # a span that is narrower than this, in pixels, gets no shape of its own
# If there are at most this many shapes, each shows a text when the mouse is over it; otherwise none
# does.
_MOST_SHAPES: Final = 1500
_LEVELS: Final = 4

# The kinds of spans that are drawn, in the order of drawing, with their names in the legend.
_DRAWN: Final[dict[Kind, str]] = {
    "waiting": "waiting",
    "starting": "starting",
    "chunk": "loading, pickling",
    "transport": "transport",
    "lost": "lost",
    "item": "items",
}

_STYLE: Final = """
.pmap-trace{--paper:#fff;--ink:#1f2328;--quiet:#656d76;--line:#d8dee4;--waiting:#e8ecf0;
--item:#2f6fd0;--chunk:#a9c7f2;--transport:#e39b2d;--starting:#9aa4ae;--lost:#7a4fb5;
--failed:#d1342f;font:12px system-ui,-apple-system,"Segoe UI",sans-serif}
@media (prefers-color-scheme:dark){.pmap-trace{--paper:#0d1117;--ink:#e6edf3;--quiet:#9aa4ae;
--line:#30363d;--waiting:#232a33;--item:#5b9bff;--chunk:#28466f;--transport:#d9922e;
--starting:#6e7681;--lost:#a783e0;--failed:#ff6b63}}
.pmap-trace .paper{fill:var(--paper)}.pmap-trace text{fill:var(--ink)}
.pmap-trace .quiet{fill:var(--quiet)}.pmap-trace .line{stroke:var(--line);fill:none}
.pmap-trace .waiting{fill:var(--waiting)}.pmap-trace .item{fill:var(--item)}
.pmap-trace .chunk{fill:var(--chunk)}.pmap-trace .transport{fill:var(--transport)}
.pmap-trace .starting{fill:var(--starting)}.pmap-trace .lost{fill:var(--lost)}
.pmap-trace .failed{fill:var(--failed)}
""".replace("\n", "")


def svg_of(snapshot: Snapshot) -> str:
    """Return a trace as an SVG picture, for light and dark pages."""
    labels = [call.label for _, call in sorted(snapshot.calls.items())]
    return drawn(spans_of(snapshot), labels, snapshot.dropped)


def drawn(spans: tuple[TraceSpan, ...], labels: list[str], dropped: int = 0) -> str:
    """Return the picture that shows the given spans.

    Args:
        spans: the spans, ordered by row and time.
        labels: the name of each call.
        dropped: how many earlier items the trace has dropped.
    """
    about = summed(spans, dropped)
    # If items were dropped, the picture begins with the first span, because the trace knows nothing
    # about the time before this span.
    first = min([one.start for one in spans], default=0.0) if dropped else 0.0
    # `or 1.0` gives a time axis even to a trace without spans.
    scale = _COLUMNS / ((about.duration - first) or 1.0)
    # The rows get new numbers from the top, because dropped workers may have left gaps.
    rows = {row: place for place, row in enumerate(sorted({one.worker for one in spans}))}
    height = _TOP + _ROW * max(1, len(rows)) + 8
    title = _title(labels)
    size, box = f'width="{_WIDTH}" height="{height}"', f'viewBox="0 0 {_WIDTH} {height}"'
    said = _safe(str(about).partition("\n")[0])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pmap-trace" role="img" {size} {box}>',
        f"<title>{_safe(title)}</title><style>{_STYLE}</style>",
        f'<rect class="paper" {size}/>',
        f'<text x="8" y="18" font-weight="600">{_safe(title)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="18" text-anchor="end" class="quiet">{said}</text>',
        _legend(spans),
        _axis(first, scale, height),
    ]
    for row, place in rows.items():
        top = _TOP + _ROW * place
        # A thin line through the whole row; the line is visible where the row has no worker, or
        # where no call runs.
        line = f"M{_LEFT} {top + _BAR / 2:g}h{_COLUMNS}"
        parts += [
            f'<text x="8" y="{top + 12}" class="quiet">worker {row}</text>',
            f'<path class="line" d="{line}"/>',
        ]
    shapes = sum([1 for one in spans if one.seconds * scale >= _NARROW])
    of_kinds: dict[tuple[Kind, int], list[TraceSpan]] = {}
    for one in spans:
        of_kinds.setdefault((one.kind, one.worker), []).append(one)
    for kind in _DRAWN:
        for row, place in rows.items():
            those = of_kinds.get((kind, row), [])
            top = _TOP + _ROW * place
            parts += _shapes(those, first, scale, top, shapes <= _MOST_SHAPES)
    return "".join(parts) + "</svg>\n"


def _shapes(
    spans: list[TraceSpan], first: float, scale: float, top: int, with_text: bool
) -> list[str]:
    """Return the SVG shapes of one row's spans of one kind; wide shapes may have a text."""
    columns = [0.0] * (_COLUMNS + 1)
    failed = [0.0] * (_COLUMNS + 1)
    wide: list[str] = []
    paths: dict[str, list[str]] = {}
    for span in spans:
        left, width = (span.start - first) * scale, span.seconds * scale
        if width < _NARROW:
            _fill(columns, left, left + width)
            if span.failed:
                failed[min(int(left), _COLUMNS)] = 1.0
            continue
        name = "failed" if span.failed and span.kind == "item" else span.kind
        # A small gap to the right of each item shows where one item ends and the next begins.
        width -= 0.6 if span.kind == "item" else 0.0
        if with_text:
            wide.append(
                f'<rect class="{name}" x="{_LEFT + left:.1f}" y="{top}" width="{width:.1f}" '
                f'height="{_BAR}"><title>{_safe(_said(span))}</title></rect>'
            )
        else:
            paths.setdefault(name, []).append(_box(left, width, top))
    found = [f'<path class="{name}" d="{"".join(boxes)}"/>' for name, boxes in paths.items()]
    if spans:
        found += _column_shapes(columns, spans[0].kind, top)
        found += _column_shapes(failed, "failed", top)
    return found + wide


def _fill(columns: list[float], left: float, right: float) -> None:
    """Add the time between `left` and `right` (in pixels) to each column of pixels in between."""
    at = max(0, int(left))
    while at < right and at < len(columns):
        columns[at] += max(0.0, min(right, at + 1) - max(left, at))
        at += 1


def _column_shapes(columns: list[float], name: str, top: int) -> list[str]:
    """Return the SVG shapes of the columns; equally dark neighbours become one box."""
    boxes: dict[int, list[str]] = {}
    begin, before = 0, 0
    # The level says how dark a column is. Levels are rounded up, so that even the shortest time is
    # visible. The factor 0.999 is there because a sum of floats may be a little above the exact
    # sum.
    levels = [min(_LEVELS, -floor(-filled * _LEVELS * 0.999)) for filled in columns]
    for at, level in enumerate([*levels, 0]):
        if level != before:
            if before:
                boxes.setdefault(before, []).append(_box(begin, at - begin, top))
            begin, before = at, level
    return [
        f'<path class="{name}" opacity="{level / _LEVELS:g}" d="{"".join(those)}"/>'
        for level, those in boxes.items()
    ]


def _box(left: float, width: float, top: int) -> str:
    return f"M{_LEFT + left:.5g} {top}h{width:.3g}v{_BAR}h-{width:.3g}z"


def _said(span: TraceSpan) -> str:
    """Return the text that appears when the mouse is over a span."""
    took = duration_text(span.seconds)
    if span.kind == "item":
        tried = f", try {span.attempt}" if span.attempt > 1 else ""
        return f"item {span.item_index}: {took}{tried}{', failed' if span.failed else ''}"
    if span.item_index is None:
        return f"{span.kind}: {took}"
    items = f"item {span.item_index}"
    if span.items > 1:
        items = f"items {span.item_index} to {span.item_index + span.items - 1}"
    return f"{span.kind} of {items}: {took}"


def _title(labels: list[str]) -> str:
    if len(labels) > 1:
        kinds = [*dict.fromkeys(labels)]
        more = f" and {len(kinds) - 2} more" if len(kinds) > 2 else ""
        return f"{len(labels)} calls: {', '.join(kinds[:2])}{more}"
    return labels[0] if labels else "no calls"


def _legend(spans: tuple[TraceSpan, ...]) -> str:
    there = {one.kind for one in spans}
    names: list[tuple[str, str]] = [(kind, name) for kind, name in _DRAWN.items() if kind in there]
    if any(one.failed for one in spans):
        names.append(("failed", "failed"))
    left, parts = _LEFT, [""]
    for kind, name in names:
        parts.append(
            f'<rect class="{kind}" x="{left}" y="27" width="11" height="11"/>'
            f'<text x="{left + 16}" y="37" class="quiet">{name}</text>'
        )
        left += 34 + 7 * len(name)
    return "".join(parts)


def _axis(first: float, scale: float, height: int) -> str:
    """Return the lines and labels of the time axis, at round times about a hundred pixels apart."""
    step = _round(110 / scale)
    # The unit of the labels, and the number of their digits, depend on the distance between two
    # labels.
    unit, name = next((one for one in ((1.0, "s"), (1e3, "ms")) if step * one[0] >= 1), (1e6, "us"))
    if step >= 0.1:
        unit, name = 1.0, "s"
    digits = max(0, -floor(log10(step * unit) + 1e-9))
    parts = [""]
    number = -floor(-first / step + 1e-9)
    while (number * step - first) * scale <= _COLUMNS:
        left = _LEFT + (number * step - first) * scale
        text = f"{number * step * unit:.{digits}f} {name}"
        parts.append(f'<path class="line" d="M{left:.1f} {_TOP - 4}V{height - 8}"/>')
        # A label further to the right would not fit into the picture, so it is left out.
        if left < _WIDTH - 50:
            parts.append(
                f'<text x="{left:.1f}" y="{_TOP - 9}" font-size="10" class="quiet">{text}</text>'
            )
        number += 1
    return "".join(parts)


def _round(least: float) -> float:
    """Return the smallest number >= `least` that is 1, 2 or 5 times a power of ten.

    >>> _round(0.3), _round(7)
    (0.5, 10.0)
    """
    power: float = 10.0 ** floor(log10(least))
    factor = next(one for one in (1, 2, 5, 10) if one * power >= least * 0.999)
    return float(f"{factor * power:.1g}")


def _safe(text: str) -> str:
    """Return a text without the control characters that XML does not allow."""
    return escape("".join([one if one.isprintable() else " " for one in text]))
