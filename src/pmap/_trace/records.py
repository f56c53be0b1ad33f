"""What the engine notes of traced calls: plain values, in the order in which they come."""

from _thread import allocate_lock
from collections.abc import Sequence
from itertools import count
from time import perf_counter
from typing import Any, Final, NamedTuple

# A trace keeps at most this many items, and at most this many parts of chunks.
MOST: Final = 100_000


class CallRecord(NamedTuple):
    """One traced call: its label, the number of its pool, and when it began and ended.

    `ended` is None while the call runs.
    """

    label: str
    pool: int
    began: float
    ended: float | None


class Part(NamedTuple):
    """Items of one chunk that had their results at the same time, or that were lost together.

    Attributes:
        worker: the key of the record of the worker that ran them.
        call: the number of the call in the trace.
        start: the index of the first item in the call.
        items: how many items there are.
        sent: when the caller sent the items, or a time at which the worker had them.
        begin: when the worker began with them.
        end: when the worker was done with them, or had ended.
        received: when the caller took the results in.
        times: when each item began and ended, by the clock of the worker; empty: not known.
        shift: seconds to be added to `times`: for a worker whose clock is not that of the caller.
        failed: the indices of the items that have failed.
        attempts: by index, how often items had been tried before; None: no item was tried before.
        lost: whether the items have no results, because their worker or the call ended before.
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
        pool: the number of its pool.
        pid: its process id; None: it is no process of its own, or not known.
        seen: the time from which on the trace knows of the worker.
        started: when it was started; None: before the first call of the trace.
        ready: when it was ready; None: not yet, or before the first call of the trace.
        gone: when it had ended; None: it has not.
        last: the time when it was done with the last items that it ran.
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
        """The time from which on the worker existed, as far as the trace knows."""
        return self.seen if self.started is None else self.started

    def copy(self) -> "WorkerRecord":
        """Return a copy, which does not change when this record does."""
        other = WorkerRecord(self.pool, self.seen, self.pid)
        other.started, other.ready = self.started, self.ready
        other.gone, other.last = self.gone, self.last
        return other


class Snapshot(NamedTuple):
    """All that a trace has at one moment.

    Attributes:
        began: when the first call began.
        since: from when on the trace is complete; later than `began` if items were dropped.
        now: when the snapshot was made.
        calls: the calls, by their numbers.
        workers: the workers, by their keys.
        parts: the parts of chunks, in the order in which they came.
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

    Only the engines (loops) of the traced calls write here, each while it holds its own lock; any
    thread may take a snapshot. Calls of several pools may write at the same time. They share no
    lock: a signal handler may make a traced call in the very thread that writes here, and a fork
    may be made at any moment. Instead each step is one operation on a list, dict or counter, which
    no other thread can interrupt, and a step for a worker is made by its own engine only. Without
    the GIL that is so since each list and dict has a lock of its own.
    """

    def __init__(self) -> None:
        """Begin without calls."""
        self.calls: dict[int, CallRecord] = {}
        self._workers: dict[int, WorkerRecord] = {}
        # The key of each worker, by its pool and its number there.
        self._keys: dict[tuple[int, int], int] = {}
        self._parts: list[Part] = []
        # How many items all parts have together. The number may be too low, since several engines
        # add to it at the same time; it only decides when the exact number is counted.
        self._items = 0
        self._dropped = 0
        self._since = 0.0
        self._renew()

    def _renew(self, call: int = 0, worker: int = 0) -> None:
        """Make the counters, which continue from the given numbers, and the lock for `_drop`."""
        self._call_numbers = count(call)
        self._worker_keys = count(worker)
        # The engine that drops old parts holds this lock; another one does not wait for it, but
        # leaves the work to that one.
        self._dropping = allocate_lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: everything but the counters and the lock."""
        left_out = ("_call_numbers", "_worker_keys", "_dropping")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was pickled; new calls get the next numbers."""
        vars(self).update(state)
        self._renew(max(self.calls, default=-1) + 1, max(self._workers, default=-1) + 1)

    # --- records of calls ------------------------------------------------------------------------

    def begin(self, label: str, pool: int, workers: list[int], now: float) -> int:
        """Note that a call begins on a pool, and which workers the pool has.

        Return a number for it.
        """
        number = next(self._call_numbers)
        # Workers of the pool may have ended while no traced call ran, so that nobody has recorded
        # it.
        for (of, worker), key in [*self._keys.items()]:
            record = self._workers[key]
            if of == pool and worker not in workers and record.gone is None:
                self.gone(pool, worker, record.last)
        self.calls[number] = CallRecord(label, pool, now, None)
        for worker in workers:
            self.worker(pool, worker, now)
        return number

    def end(self, number: int, now: float) -> None:
        """Note that a call has ended."""
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
        """Note that a worker has ended."""
        key = self._keys.pop((pool, worker), None)
        if key is not None:
            self._workers[key].gone = now

    # --- records of parts of chunks --------------------------------------------------------------

    def add(self, pool: int, worker: int, part: Part) -> None:
        """Add a part of a chunk that a worker has run.

        Drop the oldest parts if there are too many.
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
        """Drop the oldest tenth of the parts, and what ended before the other parts."""
        # The list is copied, because other engines may add parts to it at the same time.
        parts = [*self._parts]
        left = sum([part.items for part in parts])
        first = 0
        # At least one part is kept, however many items it has.
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
        """Return how many calls and how many tries of items there are."""
        return len(self.calls), sum([part.items for part in [*self._parts]])

    def snapshot(self) -> Snapshot:
        """Return a snapshot of the trace, which does not change any more."""
        now = perf_counter()
        parts = [*self._parts]
        calls = self.calls.copy()
        workers = {key: one.copy() for key, one in self._workers.copy().items()}
        began = min([call.began for call in calls.values()], default=now)
        # Another thread may have just dropped the call or the worker of a part: it is left out.
        parts = [part for part in parts if part.call in calls and part.worker in workers]
        return Snapshot(began, max(began, self._since), now, calls, workers, parts, self._dropped)
