"""The verdict of `explain`: a sentence that says whether parallel workers would be worthwhile."""

from typing import NamedTuple

from .._types import Backend
from .model import Chunks, ItemCost
from .texts import seconds_text, times_text

_FASTER = 1.1  # a call counts as faster if it is this many times as fast as the serial loop


class Known(NamedTuple):
    """What `explain` knows of a call; a value that is not known is None or empty.

    Attributes:
        function: the name of the function.
        backend: the backend where items were tried.
        unsent: why the function, an argument or a result cannot be sent.
        failed: the first failure of an item.
        items: how many items there are.
        start: seconds that the start of the first worker process took.
        cost: the cost of an item.
        chunks: the chunks of the call.
        serial: seconds that the call takes as a serial loop.
        threads: seconds that the call takes with threads.
        processes: seconds that the call takes with worker processes.
        break_even: if an item takes more seconds than this, processes are faster than the loop.
    """

    function: str
    backend: Backend
    unsent: str
    failed: str
    items: int | None
    start: float | None = None
    cost: ItemCost | None = None
    chunks: Chunks | None = None
    serial: float | None = None
    threads: float | None = None
    processes: float | None = None
    break_even: float | None = None

    def speedup(self, seconds: float | None) -> float | None:
        """Return how many times as fast as the serial loop a call of `seconds` is."""
        return self.serial / seconds if self.serial is not None and seconds else None


def verdict_of(known: Known) -> str:
    """Return the verdict as a sentence."""
    if known.unsent and known.backend == "processes":
        text = "worker processes cannot run it, since not all of it can be sent"
        return f'{text}; backend="threads" sends nothing, and its explain tells what that gains'
    if known.items == 0 and not known.failed:
        return "there are no items"
    if known.cost is None:
        return "no item returned a result, so nothing is known of its cost"
    if known.backend == "serial":
        return 'the items run one after the other, with backend="serial" and inside of other items'
    if known.backend == "interpreters":
        return (
            "what interpreters gain is not measured; they are sent what worker processes are sent, "
            'so explain with backend="processes" comes near'
        )
    threads, processes = known.speedup(known.threads), known.speedup(known.processes)
    if known.backend == "threads":
        text = f"threads are {_beside('the serial loop', threads)}"
        return text + _other("worker processes", threads, processes)
    text = f"worker processes are {_beside('the serial loop', processes)}"
    if known.items == 1:
        return f"{text}: one item alone gains nothing"
    text += _limit(known, processes)
    return text + _other("threads", processes, threads) + _with_start(known, processes)


def _beside(other: str, speedup: float | None) -> str:
    if speedup is None:
        return f"of unknown speed beside {other}"
    if speedup >= _FASTER:
        return f"about {times_text(speedup)} times as fast as {other}"
    if speedup > 1 / _FASTER:
        return f"about as fast as {other}"
    return f"about {times_text(1 / speedup)} times slower than {other}"


def _limit(known: Known, speedup: float | None) -> str:
    if known.break_even is not None:
        if speedup is not None and speedup >= _FASTER:
            return f", and slower than it below about {seconds_text(known.break_even)} an item"
        return f", and faster than it from about {seconds_text(known.break_even)} an item on"
    return ", as the workers compute no faster together than one of them alone"


def _other(name: str, own: float | None, other: float | None) -> str:
    if own is not None and other is not None and other >= _FASTER * max(own, 1.0):
        return f"; {name} would be about {times_text(other)} times as fast as the loop"
    return ""


def _with_start(known: Known, speedup: float | None) -> str:
    if not known.start or known.processes is None or known.serial is None or known.items is None:
        return ""
    if speedup is None or speedup < _FASTER or known.processes + known.start < known.serial:
        return ""
    return f"; but not if they have to start first, which took {seconds_text(known.start)}"
