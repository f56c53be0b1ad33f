"""What the engine records of traced calls: plain values, in the order in which they come."""

from _thread import allocate_lock
from collections.abc import Sequence
from itertools import count
from time import perf_counter
from typing import Any, Final, NamedTuple

# A trace keeps at most this many items, and at most this many parts of chunks.
MOST: Final = 100_000


class CallRecord(NamedTuple):
    """One traced call: its label, the number of its pool, and when it began and ended.

    `ended` is None while the call is running.
    """

    label: str
    pool: int
    began: float
    ended: float | None


class Part(NamedTuple):
    """Items of one chunk whose results came at the same time, or which were lost together.

    Attributes:
        worker: the key of the record of the worker that ran the items.
        call: the number of the call in the trace.
        start: the index of the first item in the call.
        items: how many items there are.
        sent: when the caller sent the items, or a time at which the worker had them.
        begin: the time at which the worker began with the items.
        end: the time at which the worker had finished the items, or at which it had ended.
        received: the time at which the caller received the results.
        times: the begin and the end of each item, by the clock of the worker; empty if they are not
            known.
        shift: seconds to add to `times`, if the worker's clock is not that of the caller.
        failed: the indices of the items that have failed.
        attempts: how often items had been tried before, by their indices; None if none had been.
        lost: whether the items have no results, because their worker or the call has ended.
    """

    worker: int
    call: int
    start: int
    items: int
    sent: float
    begin: float
    end: float
    received: float
    times: Sequence[float]
    shift: float
    failed: tuple[int, ...]
    attempts: dict[int, int] | None
    lost: bool


class WorkerRecord:
    """One worker: when it was started, ready and gone.

    Attributes:
        pool: the number of the worker's pool.
        pid: the process id of the worker; None if it is not known, or if the worker is no process
            of its own.
        seen: the time from which the trace knows of the worker.
        started: the time at which the worker was started; None if that was before the first call of
            the trace.
        ready: the time at which the worker was ready; None if it is not, or if that was before the
            first call of the trace.
        gone: the time at which the worker had ended; None if it has not.
        last: the time at which the worker had finished the last items that it ran.
    """

    __slots__ = ("gone", "last", "pid", "pool", "ready", "seen", "started")

    def __init__(self, pool: int, seen: float, pid: int | None) -> None:
        self.pool = pool
        self.pid = pid
        self.seen = seen
        self.started: float | None = None
        self.ready: float | None = None
        self.gone: float | None = None
        self.last = seen

    @property
    def since(self) -> float:
        """The time from which the worker existed, as far as the trace knows."""
        return self.seen if self.started is None else self.started

    def copy(self) -> "WorkerRecord":
        """Return a copy that does not change when this record changes."""
        other = WorkerRecord(self.pool, self.seen, self.pid)
        other.started, other.ready = self.started, self.ready
        other.gone, other.last = self.gone, self.last
        return other


class Snapshot(NamedTuple):
    """Everything that a trace contains at one moment.

    Attributes:
        began: the time at which the first call began.
        since: the time from which the trace is complete; later than `began` if items were dropped.
        now: the time at which the snapshot was made.
        calls: the calls, by their numbers.
        workers: the workers, by their keys.
        parts: what the trace has of each `Part` of a chunk, in the order in which the results came.
        dropped: how many items were dropped.
    """

    began: float
    since: float
    now: float
    calls: dict[int, CallRecord]
    workers: dict[int, WorkerRecord]
    parts: list[Part]
    dropped: int


class Records:
    """The records of one trace.

    Only the engines (loops) of the traced calls write here, and each of them holds its own lock
    then; any thread may take a snapshot. Calls of several pools may write at the same time. They
    share no lock, because a signal handler may make a traced call in the very thread that writes
    here, and because a fork may come at any moment. Instead, each step is one operation on a list,
    dict or counter, which no other thread can interrupt, and only a worker's own engine makes steps
    for the worker. Without the GIL each step is still one operation, because each list and dict has
    a lock of its own.
    """

    def __init__(self) -> None:
        self.calls: dict[int, CallRecord] = {}
        self._workers: dict[int, WorkerRecord] = {}
        # The key of each worker, by two numbers: that of the worker's pool, and that which the
        # worker has in the pool.
        self._keys: dict[tuple[int, int], int] = {}
        self._parts: list[Part] = []
        # The number of items in all of `_parts` together. This number may be too low, because
        # several engines add to it at the same time. The number only decides when the items are
        # counted exactly.
        self._items = 0
        self._dropped = 0
        self._since = 0.0
        self._renew()

    def _renew(self, call: int = 0, worker: int = 0) -> None:
        """Make the counters, which start at the given numbers, and the lock for `_drop`."""
        self._call_numbers = count(call)
        self._worker_keys = count(worker)
        # An engine holds this lock while it drops old parts. Another engine does not wait for the
        # lock, but leaves the work to the first engine.
        self._dropping = allocate_lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: all attributes but the counters and the lock."""
        left_out = ("_call_numbers", "_worker_keys", "_dropping")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the pickled attributes; new calls and workers get the numbers that follow."""
        vars(self).update(state)
        self._renew(max(self.calls, default=-1) + 1, max(self._workers, default=-1) + 1)

    # --- records of calls ------------------------------------------------------------------------

    def begin(self, label: str, pool: int, workers: list[int], now: float) -> int:
        """Record that a call begins on a pool; `workers` are the workers that the pool has.

        Return the number of the call.
        """
        number = next(self._call_numbers)
        # Workers of the pool may have ended while no traced call was running. Nobody has recorded
        # the end of these workers, so it is recorded now.
        for (of, worker), key in [*self._keys.items()]:
            record = self._workers[key]
            if of == pool and worker not in workers and record.gone is None:
                self.gone(pool, worker, record.last)
        self.calls[number] = CallRecord(label, pool, now, None)
        for worker in workers:
            self.worker(pool, worker, now)
        return number

    def end(self, number: int, now: float) -> None:
        """Record that a call has ended."""
        call = self.calls.get(number)
        if call is not None:
            self.calls[number] = call._replace(ended=now)

    # --- records of workers ----------------------------------------------------------------------

    def worker(self, pool: int, worker: int, now: float, pid: int | None = None) -> WorkerRecord:
        """Return the record of a worker; make one if there is none."""
        key = self._keys.get((pool, worker))
        if key is None:
            key = next(self._worker_keys)
            self._workers[key] = WorkerRecord(pool, now, pid)
            self._keys[pool, worker] = key
        record = self._workers[key]
        record.pid = record.pid if pid is None else pid
        return record

    def gone(self, pool: int, worker: int, now: float) -> None:
        """Record that a worker has ended."""
        key = self._keys.pop((pool, worker), None)
        if key is not None:
            self._workers[key].gone = now

    # --- records of parts of chunks --------------------------------------------------------------

    def add(self, pool: int, worker: int, part: Part) -> None:
        """Add a part of a chunk that a worker has run.

        If there are too many parts, drop the oldest.
        """
        self.worker(pool, worker, part.begin).last = part.end
        self._parts.append(part._replace(worker=self._keys[pool, worker]))
        self._items += part.items
        too_many = self._items > MOST or len(self._parts) > MOST
        if too_many and self._dropping.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._dropping.release()

    def _drop(self) -> None:
        """Drop the oldest tenth of `_parts`, and calls and workers without any later part."""
        # The list is copied, because other engines may add parts at the same time.
        parts = [*self._parts]
        left = sum([part.items for part in parts])
        first = 0
        # The newest part stays, however many items that part has.
        while first < len(parts) - 1 and (left > MOST * 0.9 or len(parts) - first > MOST * 0.9):
            left -= parts[first].items
            first += 1
        self._since = max([self._since, *[part.received for part in parts[:first]]])
        self._dropped += sum([part.items for part in parts[:first]])
        del self._parts[:first]
        self._items = left
        since = self._since
        for number, call in [*self.calls.items()]:
            if call.ended is not None and call.ended < since:
                del self.calls[number]
        for key, record in [*self._workers.items()]:
            if record.gone is not None and record.gone < since:
                del self._workers[key]

    # --- reading the records ---------------------------------------------------------------------

    def counts(self) -> tuple[int, int]:
        """Return how many calls there are, and how many tries of items."""
        return len(self.calls), sum([part.items for part in [*self._parts]])

    def snapshot(self) -> Snapshot:
        """Return a snapshot of the trace: a copy that does not change any more."""
        now = perf_counter()
        parts = [*self._parts]
        calls = self.calls.copy()
        workers = {key: one.copy() for key, one in self._workers.copy().items()}
        began = min([call.began for call in calls.values()], default=now)
        # While this thread reads, another thread may drop a call or a worker to which some of the
        # parts belong. The snapshot leaves these parts out.
        parts = [part for part in parts if part.call in calls and part.worker in workers]
        return Snapshot(began, max(began, self._since), now, calls, workers, parts, self._dropped)
