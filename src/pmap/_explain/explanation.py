"""What `explain` returns: an `Explanation`, and its texts."""

from dataclasses import dataclass
from html import escape

from .texts import bytes_text, seconds_text, times_text

# If at least this many bytes go to the workers with a function, the explanation names the object
# that takes most of them.
_WORTH_A_NAME = 10_000


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """What a call would cost and gain: what ``pmap.explain`` returns.

    >>> from pmap import pmap
    >>> found = pmap.explain(len, ["a", "bb"], backend="serial")
    >>> found.function, found.items, found.tried
    ('len', 2, 2)

    ``print`` shows all of it as a small table, a notebook as one in HTML. Seconds and bytes of
    items are means of the items that were run.

    Attributes:
        function: the name of the function.
        items: how many items there are. None: not known, as the input is an iterator that does not
            tell.
        tried: how many items were run, each once.
        consumed: how many items were read from an iterator, which does not give them again. 0: the
            input gives all its items again.
        only_first: whether `seconds` is of the first item in a worker, which may have imported
            modules, as no other items were run.
        backend: where the items were run: that of the verb, or ``"serial"`` inside an item.
        workers: how many workers a call has.
        seconds: how long an item runs. None: none has run to its end.
        bytes_in: bytes of an argument, pickled. None: no argument could be pickled.
        bytes_out: bytes of a result, pickled. None: there is no result that could be pickled.
        carried: bytes of the function and of the globals that it uses, pickled. None: they cannot
            be pickled.
        names: the globals among them, each with its bytes, the largest first.
        largest: what takes most of these bytes, as a path that begins at the function; empty if
            no single object does.
        unsent: why function, argument or result cannot be sent to or from a worker process, with
            the path to the object that is to blame; empty if they can.
        failed: the first failure of an item, in words; empty if no item failed.
        chunks: in how many chunks the items would be sent. None: not known.
        chunksize: how many items the largest of these chunks has. None: not known.
        serial: how many seconds the serial loop is expected to take. None: not known.
        threads: the same of ``backend="threads"``.
        processes: the same of worker processes that have started already.
        start: how many seconds it took to start the first worker process. None: it had started.
        threads_speedup: how many times as fast as the serial loop threads are expected to be;
            of an input of unknown length, if it is long. None: not known.
        processes_speedup: the same of worker processes.
        break_even: from how many seconds of an item on worker processes are expected to be faster
            than the serial loop. None: not known, or never.
        verdict: what follows, in a sentence.
    """

    function: str
    items: int | None
    tried: int
    consumed: int
    only_first: bool
    backend: str
    workers: int
    seconds: float | None
    bytes_in: int | None
    bytes_out: int | None
    carried: int | None
    names: tuple[tuple[str, int], ...]
    largest: str
    unsent: str
    failed: str
    chunks: int | None
    chunksize: int | None
    serial: float | None
    threads: float | None
    processes: float | None
    start: float | None
    threads_speedup: float | None
    processes_speedup: float | None
    break_even: float | None
    verdict: str

    def __repr__(self) -> str:
        rows = self._rows()
        width = max(len(label) for label, _ in rows)
        lines = [f"  {label:{width}}  {text}" for label, text in rows]
        return "\n".join([f"{self.function}: {self.verdict}", *lines])

    def _repr_html_(self) -> str:
        rows = [
            f'<tr><th style="text-align:left">{escape(label)}</th>'
            f'<td style="text-align:left">{escape(text)}</td></tr>'
            for label, text in self._rows()
        ]
        head = f"<code>{escape(self.function)}</code>: {escape(self.verdict)}"
        return f"<div><p>{head}</p><table>{''.join(rows)}</table></div>"

    def _rows(self) -> list[tuple[str, str]]:
        """Return the rows of the table below the verdict; each is a label and a text."""
        rows = [("tried", self._tried())]
        if self.failed:
            rows.append(("failed", self.failed))
        if self.unsent:
            rows.append(("cannot be sent", self.unsent))
        if self.seconds is not None:
            note = ", the first one of its worker, which may take longer" if self.only_first else ""
            rows.append(("an item", seconds_text(self.seconds) + note))
        if self.bytes_in is not None or self.bytes_out is not None:
            sent = [(self.bytes_in, "in"), (self.bytes_out, "out")]
            texts = [f"{bytes_text(size)} {way}" for size, way in sent if size is not None]
            rows.append(("an item sends", ", ".join(texts)))
        if self.carried is not None:
            what = (
                f", most of it {self.largest}"
                if self.largest and self.carried >= _WORTH_A_NAME
                else ""
            )
            rows.append(("function sends", bytes_text(self.carried) + what))
        if self.chunks is not None:
            size = f", of {self.chunksize} items at most" if self.chunksize != 1 else " of one item"
            rows.append(("chunks", f"{self.chunks}{size}"))
        expected = [
            ("serial", self.serial, None),
            ("threads", self.threads, self.threads_speedup),
            ("processes", self.processes, self.processes_speedup),
        ]
        rows += [
            (f"{where}, expected", _time_text(seconds, speedup))
            for where, seconds, speedup in expected
            if seconds is not None or speedup is not None
        ]
        if self.break_even is not None:
            rows.append(("pays from", f"{seconds_text(self.break_even)} an item on"))
        if self.start is not None:
            rows.append(("first worker", f"started in {seconds_text(self.start)}"))
        return rows

    def _tried(self) -> str:
        of = "" if self.items is None else f" of {self.items}"
        where = {
            "processes": "in worker processes",
            "threads": "in threads of this process",
            "interpreters": "in interpreters of this process",
            "serial": "in this process",
        }[self.backend]
        text = f"{self.tried}{of} {'item' if self.items == 1 else 'items'}, once each, {where}"
        if not self.tried:
            text = f"none{of and f' of {self.items} items'}"
        if self.consumed:
            text += f"; {self.consumed} were read from an iterator, which does not give them again"
        return text


def _time_text(seconds: float | None, speedup: float | None) -> str:
    times = "" if speedup is None else f"{times_text(speedup)} times as fast as the loop"
    return times if seconds is None else seconds_text(seconds) + (times and f", {times}")
