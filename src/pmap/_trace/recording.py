"""Records for a trace what happens to the items of one call.

While the engine holds its lock, it calls the methods of a recording with plain values. The
recording finds out to which chunk of which worker a result belongs, and when the worker ran that
chunk.
"""

import os
import warnings
from array import array
from collections.abc import Mapping, Sequence
from itertools import count
from time import perf_counter
from weakref import WeakKeyDictionary

from .records import Part
from .trace import Trace, TraceOption, note_last

_pools: WeakKeyDictionary[object, int] = WeakKeyDictionary()
_numbers = count()


class _Held:
    """A chunk of items that a worker was sent, and whose results have not all come yet."""

    __slots__ = ("next", "sent", "start", "stop", "unseen")

    def __init__(self, start: int, stop: int, sent: float) -> None:
        self.start = start
        self.stop = stop
        self.sent = sent
        self.next = start  # the index of the first item whose result has not come
        # How many of the results before `next` came without times: the caller has read these
        # results from the shared memory of a worker that has ended.
        self.unseen = 0


class Recording:
    """Records one call in a trace; when the call is over, saves the trace to a file, if asked."""

    def __init__(self, trace: Trace, path: str | None, label: str) -> None:
        """Begin a recording without any records.

        Args:
            trace: the trace in which the call is recorded.
            path: the file in which the trace is saved when the call is over; None if it is not
                saved.
            label: the verb and the function of the call, in words.
        """
        self.trace = trace
        self._path = path
        self._label = label
        self._records = trace._records
        self._pool = 0
        # The number of the call in the trace; None before the call begins.
        self._call: int | None = None
        # The chunks that each worker holds, by the number of the worker.
        self._held: dict[int, list[_Held]] = {}
        self._has_ended = False

    # --- what the engine calls while it holds its lock -------------------------------------------

    def begin(self, pool: object, workers: Mapping[int, int | None]) -> None:
        """Record that the call begins on a pool; `workers` has the process ids of its workers."""
        number = _pools.get(pool)
        if number is None:
            number = _pools.setdefault(pool, next(_numbers))
        self._pool = number
        now = perf_counter()
        self._call = self._records.begin(self._label, number, [*workers], now)
        for worker, pid in workers.items():
            self._records.worker(number, worker, now, pid)

    def starts(self, worker: int) -> None:
        """Record that a worker is being started."""
        now = perf_counter()
        record = self._records.worker(self._pool, worker, now)
        record.started = now if record.started is None else record.started

    def ready(self, worker: int, pid: int | None) -> None:
        """Record that a worker is ready for its first chunk."""
        now = perf_counter()
        record = self._records.worker(self._pool, worker, now, pid)
        # The worker was started before the trace began, so the trace knows only that the worker
        # exists.
        if record.started is None:
            record.started = record.seen
        record.ready = record.last = now

    def sent(self, worker: int, start: int, stop: int) -> None:
        """Record that a worker is about to get the items from `start` to `stop` - 1."""
        # If an older chunk contains these items, they were taken back from the worker of that
        # chunk, because an item is with one worker at a time. The items taken back are the last
        # items of that chunk.
        for chunks in self._held.values():
            for chunk in chunks:
                if chunk.next < stop and start < chunk.stop:
                    chunk.stop = max(start, chunk.next)
            # If all items of a chunk were taken back, the chunk is removed, because no results will
            # come for it. If a chunk has begun, it stays in the list until the last message about
            # it comes, even if that message has no results.
            chunks[:] = [chunk for chunk in chunks if chunk.start < max(chunk.stop, chunk.next)]
        self._held.setdefault(worker, []).append(_Held(start, stop, perf_counter()))

    def results(
        self,
        worker: int,
        start: int,
        items: int,
        times: Sequence[float],
        failed: tuple[int, ...],
        tried: Mapping[int, int] | None,
        last: bool,
    ) -> None:
        """Record that the results of items have come.

        Args:
            worker: the worker that ran the items.
            start: the index of the first item.
            items: how many items there are.
            times: the times at which the worker began with the items and had finished them, and
                then the begin and the end of each item; empty if they are not known.
            failed: the indices of items that have failed.
            tried: how often items were tried before, by their indices; None if none was.
            last: whether these are the last results of their chunk.
        """
        chunks = self._held.get(worker, [])
        place = next((at for at, chunk in enumerate(chunks) if chunk.next == start), None)
        if place is None or self._call is None:
            return
        # All items of the chunks before this chunk were taken back from the worker, so no results
        # come for those items.
        del chunks[:place]
        chunk = chunks[0]
        if times:
            self._add(worker, chunk, start, items, times, failed, tried)
        else:
            chunk.unseen += items
        chunk.next = start + items
        if last:
            del chunks[0]

    def _add(
        self,
        worker: int,
        chunk: _Held,
        start: int,
        items: int,
        times: Sequence[float],
        failed: tuple[int, ...],
        tried: Mapping[int, int] | None,
    ) -> None:
        now = perf_counter()
        assert self._call is not None
        began = max(chunk.sent, self._records.worker(self._pool, worker, chunk.sent).last)
        shift = shift_into(times[0], times[1], began, now)
        begin, end = max(began, times[0] + shift), min(now, times[1] + shift)
        part = Part(
            -1,
            self._call,
            start,
            items,
            chunk.sent,
            begin,
            max(begin, end),
            now,
            array("d", times[2:]),
            shift,
            failed,
            _attempts(tried, start, items),
            False,
        )
        self._records.add(self._pool, worker, part)
        # The worker has had the rest of the chunk at least since this time.
        chunk.sent = part.end

    def gone(self, worker: int, begun: int, tried: Mapping[int, int] | None) -> None:
        """Record that a worker has ended; `begun`: how many items it began and did not finish."""
        now = perf_counter()
        self._lose(worker, begun, tried, now)
        self._records.gone(self._pool, worker, now)

    def _lose(self, worker: int, begun: int, tried: Mapping[int, int] | None, now: float) -> None:
        chunks = self._held.pop(worker, [])
        if not chunks or self._call is None:
            return
        chunk = chunks[0]
        items = chunk.unseen + min(begun, chunk.stop - chunk.next)
        if not items:
            return
        start = chunk.next - chunk.unseen
        began = max(chunk.sent, self._records.worker(self._pool, worker, chunk.sent).last)
        attempts = _attempts(tried, start, items)
        lost = Part(
            -1, self._call, start, items, chunk.sent, began, now, now, (), 0.0, (), attempts, True
        )
        self._records.add(self._pool, worker, lost)

    def end(self, tried: Mapping[int, int] | None) -> None:
        """Record that the call has ended; items of the call that still run will have no results."""
        if self._call is not None and not self._has_ended:
            self._has_ended = True
            now = perf_counter()
            for worker in [*self._held]:
                self._lose(worker, 1, tried, now)
            self._records.end(self._call, now)

    # --- what the engine calls when the call is over, without a lock -----------------------------

    def finish(self) -> None:
        """Save the trace to its file, if it has a file.

        If the file cannot be saved, the user gets only a warning, because the call itself has
        succeeded.
        """
        # The engine may not have recorded the end of the call, for example if its pool is closed.
        # Then `finish` records the end.
        self.end(None)
        if self._path is not None:
            try:
                self.trace.save(self._path)
            except OSError as error:
                reason = error.strerror or str(error)
                text = f"the trace could not be saved as {self._path!r}: {reason}"
                warnings.warn(text, RuntimeWarning, stacklevel=2)


def recording_of(option: TraceOption, label: str) -> Recording:
    """Return the recording of a call whose option ``trace`` has the value `option`, not False."""
    trace = option if isinstance(option, Trace) else Trace()
    note_last(trace)
    path = None if isinstance(option, bool | Trace) else os.fspath(option)
    return Recording(trace, path, label)


def _attempts(tried: Mapping[int, int] | None, start: int, items: int) -> dict[int, int] | None:
    if not tried:
        return None
    return {index: tried[index] for index in range(start, start + items) if index in tried} or None


def shift_into(begin: float, end: float, low: float, high: float) -> float:
    """Return what to add to times of a worker, so that they lie between two times of the caller.

    On the systems that pmap knows, all processes of a machine share a clock, so the result is 0.
    But a worker in a time namespace of its own has another clock. Then the way to the worker is
    taken to last as long as the way back.

    >>> shift_into(11, 12, 10, 15), shift_into(1011, 1012, 10, 15)
    (0.0, -999.0)
    """
    if low <= begin and end <= high:
        return 0.0
    return (low + high - begin - end) / 2
