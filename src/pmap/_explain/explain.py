"""Makes an `Explanation`: tries a few items, measures the pool, and computes the rest."""

import itertools
from collections.abc import Callable
from time import perf_counter
from typing import Final, NamedTuple

from .._calls.call import Kind
from .._calls.cpus import cpu_count
from .._calls.describe import name_of
from .._calls.failure import Failure
from .._errors import ControlFlowError, TaskTimeout, TransportError, WorkerLost, how_it_ended
from .._jobs.work import as_call
from .._transport.by_value.blame import where_it_fails
from .._transport.by_value.names import Needs
from .._transport.by_value.sent_names import SentNames
from .._transport.exceptions import describe
from .._types import Backend
from .carried import carried_by
from .explanation import Explanation
from .machine import Pace, Runner, overhead_of, pace_of
from .model import (
    ItemCost,
    Workers,
    break_even,
    chunks_of,
    process_seconds,
    serial_seconds,
    thread_seconds,
)
from .source import Source
from .trial import Batch, Measured, Trial, pickled, same
from .verdict import Known, verdict_of

# Items are tried for this many seconds; an item that has begun then still runs to its end.
_BUDGET = 0.5
_LONG = 1.5  # if the first item takes this many seconds, the trial ends with it
_LATEST = 5.0  # after this many seconds no more items are tried, for whatever reason
_BATCH = 0.03  # seconds that the items of one batch should take together
_LOOK = 0.06  # seconds that a batch should take if a thread tests the interpreter's lock
_LOOKS = (0, 2)  # the numbers of the batches during which a thread tests the interpreter's lock
# To compute the size of a batch, an item is taken to need at least this many seconds.
_SHORTEST = 1e-6
# If the tried items have run for this many seconds together, other processes have slowed all of
# them down about equally.
_ENOUGH = 0.1
_PLAIN = 40  # a value whose pickle has at most this many bytes counts as plain, such as a number
# If an input does not tell its length, it is assumed to have this many items.
_MANY = 100_000
# If an item may take fewer seconds than this, a test of the interpreter's lock cannot tell whether
# the item holds the lock, or the code that measures does.
_QUICK = 0.0002
_ENOUGH_LOOKS = 5  # the tests of the interpreter's lock count if there are at least this many
_numbers: Final = itertools.count(1)


class Asked(NamedTuple):
    """The call that is to be explained.

    Attributes:
        function: the function.
        kind: how an item becomes a call of the function.
        source: the items.
        chunksize: the option ``chunksize``; None if pmap chooses the size.
        at_once: how many coroutines run in a worker at the same time.
        timeout: the option ``timeout``, in seconds; None if there is no limit.
        one_thread: whether the threads backend would run the items one at a time.
        sent_names: the names that were sent to the workers; None if there are no worker processes.
    """

    function: Callable[..., object]
    kind: Kind
    source: Source
    chunksize: int | None
    at_once: int
    timeout: float | None
    one_thread: bool
    sent_names: SentNames | None


class Pools(NamedTuple):
    """The pools that an explanation may use.

    Attributes:
        backend: the backend of the pool in which items are tried.
        own: the pool in which items are tried.
        is_cold: whether no worker process of this pool has started yet.
        processes: a pool of processes; None if none may be started.
        burners: a pool of processes that are not replaced after a few items; None if none may be
            started.
        threads: a pool of threads; None if no threads are measured.
    """

    backend: Backend
    own: Runner
    is_cold: bool
    processes: Runner | None
    burners: Runner | None
    threads: Runner | None


def explain(asked: Asked, pools: Pools) -> Explanation:
    """Return an explanation of what the call would cost and gain."""
    carried = carried_by(asked.function, asked.sent_names)
    tried = _Tried()
    start = None
    is_sent = not carried.unsent or not pools.own.sends
    if is_sent and asked.source.length != 0:
        start = _started(pools)
        _try_items(asked, pools.own, carried.needs, tried)
    known = Known(
        name_of(asked.function),
        pools.backend,
        carried.unsent or tried.unsent,
        tried.failed,
        asked.source.length,
        start,
    )
    if tried.measured.items:
        known = _predicted(asked, pools, tried, known)
    is_counted = known.items is not None
    return Explanation(
        function=known.function,
        items=known.items,
        tried=tried.items,
        consumed=asked.source.consumed,
        only_first=tried.measured is tried.cold and bool(tried.cold.items),
        backend=pools.backend,
        workers=pools.own.workers,
        seconds=known.cost and known.cost.seconds,
        bytes_in=tried.size_in,
        bytes_out=tried.size_out,
        carried=None if carried.unsent else carried.size,
        names=carried.names,
        largest=carried.largest,
        unsent=known.unsent,
        failed=known.failed,
        chunks=known.chunks.total if known.chunks and is_counted else None,
        chunksize=max(known.chunks.sizes, default=0) if known.chunks else None,
        serial=known.serial if is_counted else None,
        threads=known.threads if is_counted else None,
        processes=known.processes if is_counted else None,
        start=start,
        threads_speedup=known.speedup(known.threads),
        processes_speedup=known.speedup(known.processes),
        break_even=known.break_even,
        verdict=verdict_of(known),
    )


def _started(pools: Pools) -> float | None:
    """If the pool has no worker process, start one; return how many seconds that took."""
    if not pools.is_cold:
        return None
    begin = perf_counter()
    pools.own.run(same, (0,))
    return perf_counter() - begin


# --- the trial of a few items --------------------------------------------------------------------


class _Tried:
    """What the trial of some items has shown."""

    def __init__(self) -> None:
        self.items = 0  # how many items have run in the trial
        self.batches = 0  # how many batches of items have run
        self.timed = Measured()
        # Measurements of items during which another thread tested how often the interpreter's lock
        # was free.
        self.looked_at = Measured()
        # Measurements of the first items of each worker; these items may import modules.
        self.cold = Measured()
        self.arguments = 0  # how many arguments were pickled to measure their size
        self.size = 0  # how many bytes the pickles of these arguments have
        self.packing = 0.0  # how many seconds it took to pickle these arguments
        self.unsent = ""
        self.failed = ""
        self.is_over = False  # whether the trial is over before its time, because a worker was lost

    @property
    def measured(self) -> Measured:
        """The measurements that count: those without tests of the lock, if there are any."""
        return next((m for m in (self.timed, self.looked_at) if m.items), self.cold)

    @property
    def lock(self) -> float:
        """The share of their time in which items held the interpreter's lock, from 0 to 1."""
        quick = self.measured.seconds < _QUICK * self.measured.items
        found = self.looked_at if self.looked_at.looks >= _ENOUGH_LOOKS else self.cold
        if quick or found.looks < _ENOUGH_LOOKS:
            # The lock was tested too seldom. So the items are taken to be Python code, which holds
            # the lock.
            return 1.0
        return found.held / found.looks

    @property
    def size_in(self) -> int | None:
        """The mean size of an argument's pickle in bytes; None if no argument was pickled."""
        return self.size // self.arguments if self.arguments else None

    @property
    def size_out(self) -> int | None:
        """The mean size of a result's pickle in bytes; None if no result was pickled."""
        all_of_them = Measured()
        for some in (self.timed, self.looked_at, self.cold):
            all_of_them.add(some)
        return all_of_them.size // all_of_them.pickled if all_of_them.pickled else None


def _try_items(asked: Asked, runner: Runner, needs: Needs | None, tried: _Tried) -> None:
    """Run a few items in the pool, each of them once."""
    trial = Trial(asked.function, name_of(asked.function), next(_numbers))
    begin = perf_counter()
    count = 1
    while taken := asked.source.take(count):
        # During the batches in `_LOOKS` a thread tests the interpreter's lock. Items of the first
        # batch may import modules, so its tests count only if the later batch has too few.
        looks = tried.batches in _LOOKS and asked.source.length != 1
        tried.batches += 1
        _try_some(asked, runner, trial, taken, looks, needs, tried)
        measured = tried.measured
        # The budget is for the items alone: it does not contain the time in which a worker imports
        # the function.
        spent = tried.cold.seconds + tried.looked_at.seconds + tried.timed.seconds
        late = perf_counter() - begin > _LATEST
        if tried.is_over or late or spent > (_BUDGET if tried.timed.items else _LONG):
            break
        if tried.timed.items:
            batch = _LOOK if tried.batches in _LOOKS else _BATCH
            each = max(measured.seconds / measured.items, _SHORTEST)
            count = max(1, int(min(batch, _BUDGET - spent) / each))


def _try_some(
    asked: Asked,
    runner: Runner,
    trial: Trial,
    taken: list[tuple[int, object]],
    looks: bool,
    needs: Needs | None,
    tried: _Tried,
) -> None:
    batch = Batch([], [], looks)
    for index, item in taken:
        if _is_sent(index, item, needs, tried) or not runner.sends:
            batch.indices.append(index)
            batch.arguments.append(_arguments(asked.kind, item))
    if not batch.indices:
        return
    tried.items += len(batch.indices)
    limit = asked.timeout and asked.timeout * len(batch.indices)
    (found,) = runner.run(trial, [batch], timeout=limit, chunksize=1)
    # Exceptions of items are part of the measurements. So a `Failure` here is a failure of pmap.
    if isinstance(found, Failure):
        tried.is_over = True
        if isinstance(found.error, TransportError):
            tried.unsent = tried.unsent or found.error.why
        else:
            one = len(batch.indices) == 1
            which = f"item {batch.indices[0]}" if one else f"one of the items {batch.indices}"
            tried.failed = tried.failed or f"{which}: {_reason(found.error)}"
        return
    kind = tried.cold if found.first else tried.looked_at if looks else tried.timed
    kind.add(found)
    if found.failed is not None and not tried.failed:
        tried.failed = "item {}: {}".format(*found.failed)
    if found.unsent is not None and not tried.unsent:
        tried.unsent = "the result of item {}: {}".format(*found.unsent)


def _is_sent(index: int, item: object, needs: Needs | None, tried: _Tried) -> bool:
    """Return whether an item can be pickled.

    Add the size of the pickle to `tried`, or the reason why there is none.
    """
    begin = perf_counter()
    try:
        size, _, _ = pickled(item, needs)
    except Exception as error:
        where = where_it_fails(item, "the argument", error)
        tried.unsent = tried.unsent or f"item {index}: {describe(error)}{where}"
        return False
    tried.packing += perf_counter() - begin
    tried.arguments += 1
    tried.size += size
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, WorkerLost):
        return f"the worker process {how_it_ended(error.exitcode)}"
    if isinstance(error, TaskTimeout):
        return f"ran for longer than {error.limit:g} s and was ended"
    if isinstance(error, ControlFlowError):
        return f"raised {error.raised}"
    return describe(error)


def _arguments(kind: Kind, item: object) -> tuple[object, dict[str, object]]:
    if kind is Kind.APPLY:
        return as_call(item)
    return ((item,) if kind is Kind.EACH else item), {}


# --- the prediction of a call's time -------------------------------------------------------------


def _predicted(asked: Asked, pools: Pools, tried: _Tried, known: Known) -> Known:
    """Return `known` with the times that the call is expected to take."""
    measured = tried.measured
    size_in, size_out = tried.size_in or 0, tried.size_out or 0
    each = measured.seconds
    # Of items that ran for less than `_ENOUGH` seconds in all, the time by the clock may contain a
    # time slice of another process. Then only the processor time and the time spent waiting count.
    if each < _ENOUGH:
        each = min(each, measured.own + measured.waiting)
    cost = ItemCost(
        seconds=each / measured.items,
        computing=max(each - measured.waiting, measured.all_threads) / measured.items,
        waiting=min(each, measured.waiting) / measured.items,
        lock=tried.lock,
        packing=_packing(tried, size_in, size_out, pools.own.workers),
        size=size_in + size_out,
    )
    pace = Pace(float(min(pools.own.workers, cpu_count())), 1.0)
    if pools.burners is not None:
        pace = pace_of(pools.burners, cpu_count())
    # The items were measured in a worker, but the serial loop would run in this process, which may
    # be slower or quicker.
    if pools.backend == "processes":
        cost = cost.at_pace(pace.here)
    count = _MANY if known.items is None else known.items
    chunks = chunks_of(count, pools.own.workers, cost.seconds, asked.chunksize, cost.size)
    known = known._replace(cost=cost, chunks=chunks, serial=serial_seconds(count, cost))
    if pools.processes is not None and not known.unsent:
        workers = Workers(pools.processes.workers, pace.gain, asked.at_once)
        overhead = overhead_of(
            pools.processes, asked.chunksize, _payload(size_in), _payload(size_out)
        )
        known = known._replace(
            processes=process_seconds(count, cost, workers, overhead, chunks),
            break_even=break_even(count, cost, workers, overhead),
        )
    if pools.threads is not None:
        workers = Workers(pools.threads.workers, pace.gain / pace.here)
        if asked.one_thread:
            workers = Workers(1, 1.0)
        overhead = overhead_of(pools.threads, asked.chunksize, 0, 0)
        known = known._replace(threads=thread_seconds(count, cost, workers, overhead, chunks))
    return known


def _payload(size: int) -> int:
    return 0 if size <= _PLAIN else size


def _packing(tried: _Tried, size_in: int, size_out: int, workers: int) -> float:
    """Return for one item the seconds of pickling and loading by which a call becomes longer.

    The caller pickles the arguments and loads the results. The workers share the rest.
    """
    given = tried.packing / tried.arguments if tried.arguments and size_in > _PLAIN else 0.0
    measured = tried.measured
    back = measured.packing / measured.pickled if measured.pickled and size_out > _PLAIN else 0.0
    return (given + back) / 2 * (1 + 1 / workers)
