"""What a node's answer says about the items of a chunk; a node is where an engine runs a task."""

from typing import Any

from ..._errors import WorkerLost
from ..._jobs.item_errors import too_late, with_stack
from ..._jobs.work import Work
from ..._transport.packing import unpacked
from ..protocol import ResultsArrived
from ..results import open_entries
from . import wire


def opened(worker: int, work: Work, start: int, answer: wire.Answer) -> ResultsArrived:
    """Return the event with the results in an answer, for the worker with the number `worker`."""
    assert answer.entries is not None, "the node has run the chunk"
    entries: list[Any] = [*unpacked(answer.entries)]
    gone: dict[int, Exception] = {}
    for offset, entry in enumerate(entries):
        row: tuple[Any, ...] = entry if isinstance(entry, tuple) else ()  # pyright: ignore[reportUnknownVariableType]
        if row and row[0] in (wire.LOST, wire.LATE):
            gone[offset] = _gone(work, start + offset, row, answer.host)
            entries[offset] = None
        elif row:
            # An entry that is a list is a pickled value, or the record of a failure.
            entries[offset] = [*row[1:]] if len(row) == 2 else [*row]
    values, failures = open_entries(work, start, entries)
    return ResultsArrived(worker, work, start, values, failures | gone, True, answer.elapsed)


def _gone(work: Work, index: int, entry: tuple[Any, ...], host: str) -> Exception:
    """Return the error of an item that was lost when a worker process on the node ended."""
    item = work.item(index)
    if entry[0] == wire.LATE:
        rules = work.call.rules
        return too_late(item, rules.timeout, entry[1], rules.trace_as_text)
    _, pid, exitcode, reason, begun, stack = entry
    lost = WorkerLost(
        pid=pid,
        exitcode=exitcode,
        begun=begun,
        reason=reason,
        function=item.function,
        index=index,
        input=item.input,
        host=host,
    )
    return with_stack(lost, stack, work.call.rules.trace_as_text)
