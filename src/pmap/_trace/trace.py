"""The class `Trace`: what each worker did when, in the calls that are given the trace.

`import pmap` imports this module, so this module is small. Other modules do the work, and are
imported when needed.
"""

import os
from _thread import _local as local
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from threading import local

    from .spans import TraceSpan
    from .summary import TraceSummary


class Trace:
    """What each worker did when: the value of the option ``trace``, or what the option has made.

    >>> from pmap import Trace, pmap
    >>> trace = Trace()
    >>> pmap(abs, [-1, 2, -3], trace=trace)
    [1, 2, 3]
    >>> [span.item_index for span in trace.spans() if span.kind == "item"]
    [0, 1, 2]
    >>> trace.summary().items
    3

    One trace may be given to several calls, also to calls at the same time: give it to
    `pmap.defaults`, and it has all calls of the block. It can be read at any time, also while a
    call runs. A notebook shows it as a picture.

    Of a call with very many items a trace keeps the last 100,000 items, so that the trace of a
    stream without an end stays small. `TraceSummary.dropped` says how many it has dropped.
    """

    __slots__ = ("_records",)

    def __init__(self) -> None:
        """Make a trace without calls."""
        from .records import Records

        self._records: Records = Records()

    @staticmethod
    def last() -> "Trace":
        """Return the trace of the traced call that this thread has made last.

        >>> from pmap import Trace, pmap
        >>> pmap(abs, [-1, 2], trace=True)
        [1, 2]
        >>> Trace.last().summary().items
        2

        Raises:
            LookupError: this thread has made no call with the option ``trace``.
        """
        found: Trace | None = getattr(_latest, "trace", None)
        if found is None:
            raise LookupError(
                "this thread has made no traced call: give one trace=True, or make a trace "
                "yourself, t = Trace(), and give it trace=t"
            )
        return found

    def spans(self) -> "tuple[TraceSpan, ...]":
        """Return what each worker did from when to when, ordered by worker and time."""
        from .spans import spans_of

        return spans_of(self._records.snapshot())

    def summary(self) -> "TraceSummary":
        """Return how the time of the workers was spent, and which items were the slowest."""
        from .summary import summary_of

        return summary_of(self._records.snapshot())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace to a file: ``.svg`` for a picture, ``.json`` for Perfetto or Chrome.

        Perfetto (https://ui.perfetto.dev) and Chrome (chrome://tracing) open files of the Trace
        Event format, and let you zoom in.

        Args:
            path: the file, which is replaced if it exists. Its suffix says the format.

        Raises:
            ValueError: the suffix is neither ``.svg`` nor ``.json``.
            OSError: the file cannot be written.
        """
        name = os.fspath(path)
        kind = kind_of(name)
        if kind is None:
            raise ValueError(
                f"a trace is saved as .svg (a picture) or .json (for Perfetto and Chrome), got "
                f"{name!r}"
            )
        if kind == "svg":
            text = self._repr_svg_()
        else:
            from .json_file import json_of

            text = json_of(self._records.snapshot())
        # `pathlib` is not used, because its import takes long.
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)

    def _repr_svg_(self) -> str:
        from .svg import svg_of

        return svg_of(self._records.snapshot())

    def __repr__(self) -> str:
        calls, items = self._records.counts()
        return f"<Trace of {calls} call{'s' * (calls != 1)}, {items} item{'s' * (items != 1)}>"


# The type of the values that the option ``trace`` may have.
TraceOption: TypeAlias = bool | str | os.PathLike[str] | Trace

_latest: Final = local()


def note_last(trace: Trace) -> None:
    """Let `Trace.last()` return this trace in the present thread."""
    _latest.trace = trace


def kind_of(name: str) -> str | None:
    """Return the format for a file of this name: "svg" or "json"; None if there is none.

    >>> kind_of("a/run.SVG"), kind_of("run.txt")
    ('svg', None)
    """
    suffix = name.lower().rpartition(".")[2]
    return suffix if suffix in ("svg", "json") else None
