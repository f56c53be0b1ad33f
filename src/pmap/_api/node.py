"""Runs a chunk of items as a task of an engine (an executor or cluster), where the engine runs it.

The items run in an inner worker, a process that pmap starts there, as the only worker of an
ordinary pool. The inner worker stays for the next chunk that comes to this node from the same call,
or from a call with the same options.
"""

import os
import pickle
import threading
from collections.abc import Callable
from contextvars import Context
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from .._backends.engine import marks, wire
from .._backends.permission import may_start_processes
from .._backends.processes import Polled, ProcessBackend, environment_here
from .._backends.start_method import usual_start_method
from .._calls.call import Call, Elsewhere, Kind
from .._calls.cpus import cpu_count
from .._calls.failure import Failure
from .._engine.driver import Driver
from .._errors import ItemError, PmapError, TaskTimeout, WorkerLost, WorkerStartError
from .._scheduling.run_rules import RunRules
from .._transport.environment import thread_limits
from .._transport.packing import packed, unpacked
from .._transport.process_role import item_threads
from .._transport.randomness import put_back, take_state
from .._transport.started import DEPTH, depth
from .._transport.values import loads
from .._worker.relay import Relay, initialize

if TYPE_CHECKING:
    from .._transport.environment import Environment

# An inner worker (a process that pmap starts where an engine runs a task) ends when it has had no
# work for this many seconds.
_IDLE: Final = 20.0
# This process keeps the functions of this many calls, so that a chunk need not bring its function
# again.
_MOST_KEPT: Final = 64

_specs: dict[bytes, wire.TaskSpec] = {}
# The drivers (engines of pools) of inner workers that run no chunk at the moment, by the options of
# the workers.
_free: dict[wire.InnerOptions, list[Driver]] = {}
# A list with an element if this process itself, and not an inner worker, has run a chunk.
_warm_here: Final[list[bool]] = []
# A task holds this lock while it runs items of a call with a seed. Other tasks may run in this
# process at the same time, and all share the random generators.
_generators: Final = threading.RLock()


def run(data: bytes, shared: bytes | None = None, shipped: str = "") -> bytes:
    """Run a chunk of items, given as bytes, and return the answer for the caller as bytes.

    Args:
        data: the task.
        shared: the description of the call, if the engine has brought it to the node.
        shipped: the folder with the packages that were sent to the node; empty if none were.
    """
    try:
        task = wire.opened_task(data)
    except wire.OtherVersionError as error:
        return _unstarted(str(error), None)
    spec = _spec_of(task, shared)
    if spec is None:
        return wire.packed_answer(wire.Answer(wire.UNKNOWN, wire.host_name()))
    if spec.claim and not loads(spec.claim)(task.chunk.hex()):
        return wire.packed_answer(wire.Answer(wire.REPEATED, wire.host_name()))
    relay = Relay(task.chunk, task.key, spec.spec, task.start, task.pickled)
    items = [*enumerate(unpacked(task.items))]
    if spec.inner is None:
        return _run_here(relay, items, spec)
    try:
        worker, cold = _inner_worker(spec.inner)
    except WorkerStartError as error:
        if not spec.inner.falls_back or spec.timeout is not None:
            return _unstarted(error.reason, error.__cause__)
        # No item of the chunk has begun. The further chunks of this call do not try again to start
        # an inner worker in this process.
        _specs[task.key] = bare = spec._replace(inner=None)
        return _run_here(relay, items, bare, error.reason)
    try:
        return _run_inside(relay, items, spec, shipped, worker, cold)
    except WorkerStartError as error:
        return _unstarted(error.reason, error.__cause__)
    except _UnwantedError:
        return wire.packed_answer(wire.Answer(wire.ENDED, wire.host_name()))
    finally:
        _free.setdefault(spec.inner, []).append(worker)


def _spec_of(task: wire.Task, shared: bytes | None) -> wire.TaskSpec | None:
    """Return the description of the call that a task belongs to; None if this process lacks it."""
    known = _specs.pop(task.key, None)
    data = shared if task.data is None else task.data
    if known is None and data is not None:
        known = wire.opened_spec(data)
    if known is not None:
        while len(_specs) >= _MOST_KEPT:
            _specs.pop(next(iter(_specs), b""), None)
        # The entry of this call moves to the end of the dict. So the first entry is that of the
        # call which was used longest ago.
        _specs[task.key] = known
    return known


def _unstarted(reason: str, cause: BaseException | None) -> bytes:
    try:
        data = None if cause is None else pickle.dumps(cause)
    except Exception:  # an exception of the user's initializer may be impossible to pickle
        data = None
    host = wire.host_name()
    return wire.packed_answer(wire.Answer(wire.UNSTARTED, host, reason=reason, cause=data))


def _answer(entries: list[Any], elapsed: float, cold: bool, reason: str = "") -> bytes:
    packed_entries = packed(entries)
    sent = entries if packed_entries is None else packed_entries
    done = wire.Answer(wire.DONE, wire.host_name(), elapsed, sent, reason, cold=cold)
    return wire.packed_answer(done)


def _run_here(
    relay: Relay, items: list[tuple[int, Any]], spec: wire.TaskSpec, reason: str = ""
) -> bytes:
    """Run a chunk in this process, which belongs to the engine.

    `reason` says why no inner worker could be started, if the call wanted one.
    """
    cold = bool(reason) or not _warm_here
    _warm_here[:] = [True]
    begin = perf_counter()
    entries: list[object] = []
    item_threads.depth = getattr(item_threads, "depth", 0) + 1
    try:
        if spec.spec[4] is None:
            _run_all(relay, items, entries)
        else:
            with _generators:
                state = take_state()
                try:
                    _run_all(relay, items, entries)
                finally:
                    put_back(state)
    finally:
        item_threads.depth -= 1
    return _answer(entries, perf_counter() - begin, cold, reason)


def _run_all(relay: Relay, items: list[tuple[int, Any]], entries: list[object]) -> None:
    for item in items:
        entry = relay(item)
        # An item after a failed one does not run, and has no result.
        if entry == ():
            return
        entries.append(entry)


def _run_inside(
    relay: Relay,
    items: list[tuple[int, Any]],
    spec: wire.TaskSpec,
    shipped: str,
    worker: Driver,
    cold: bool,
) -> bytes:
    """Run the items of a chunk in an inner worker, a process that pmap starts."""
    isolate = spec.inner is not None and spec.inner.isolate
    stop = spec.spec[2]
    rules = RunRules(
        chunksize=1 if isolate else len(items),
        collect=not stop,
        stop=stop,
        timeout=spec.timeout,
        logs=spec.logs,
        trace_as_text=True,  # the stack of a lost worker is sent to the caller as a text
    )
    environment = wire.on_the_node(spec.environment, spec.host, shipped)
    elsewhere = Elsewhere(environment)
    call = Call("the chunk", relay, Kind.EACH, items, rules, elsewhere=elsewhere)
    watch = _watched(relay.given[0], spec)
    begin = perf_counter()
    # Items run in an empty context, because they must not see context variables of the engine's own
    # code.
    job = Context().run(worker.run, call, watch)
    elapsed = perf_counter() - begin
    entries: list[Any] = job.values
    error = job.error
    if error is not None:
        if not isinstance(error, ItemError) or error.index is None:
            raise error
        entries = [*entries[: error.index], error]
    if () in entries:
        del entries[entries.index(()) :]
    return _answer([_relayed(entry) for entry in entries], elapsed, cold)


class _UnwantedError(Exception):
    """Raised in the thread of a task if nobody wants the chunk any more."""


def _watched(chunk: bytes, spec: wire.TaskSpec) -> Callable[[], None]:
    """Return a function that raises `_UnwantedError` when nobody wants a chunk any more.

    The task of the chunk runs in the thread that calls this function.
    """
    mark = marks.path_of(spec.marks, chunk)
    # If this process is a child of the caller, it can see whether the caller has ended.
    ours = spec.caller if spec.host == wire.host_name() and os.getppid() == spec.caller else 0
    watch: Callable[[], Callable[[], bool]] | None = loads(spec.watch) if spec.watch else None
    running = watch() if watch is not None else None

    def watch_chunk() -> None:
        left = ours and os.getppid() != ours
        if left or os.path.exists(mark) or (running is not None and not running()):
            raise _UnwantedError

    return watch_chunk


def _environment_of_inner_workers() -> "Environment":
    """Return the environment in which an inner worker begins, and runs its initializer."""
    return wire.without_rank(environment_here())


class _InSteps(ProcessBackend):
    """A processes backend whose `poll` returns often, so that its thread can do something else.

    A thread that waits for an inner worker can then check whether the chunk is still wanted.
    Besides, some engines end a task by an exception in the thread of the task, and that exception
    comes only when the thread runs Python code.
    """

    _environment = staticmethod(_environment_of_inner_workers)

    def poll(self, timeout: float | None) -> Polled:
        return super().poll(marks.STEP if timeout is None else min(timeout, marks.STEP))


def _relayed(entry: Any) -> Any:
    """Return the result of an item in the form in which the caller gets it."""
    error: object = entry.error if isinstance(entry, Failure) else entry
    if isinstance(error, WorkerLost):
        stack = str(getattr(error.__cause__, "tb", "")).strip().strip('"').strip()
        return wire.LOST, error.pid, error.exitcode, error.reason, error.begun, stack
    if isinstance(error, TaskTimeout):
        return wire.LATE, error.stack, None
    if isinstance(error, PmapError):  # the failure is one of pmap, such as a lost worker
        raise error
    return entry


def _inner_worker(inner: wire.InnerOptions) -> tuple[Driver, bool]:
    """Return the driver of an inner worker without a chunk, and whether the worker is new.

    Raises:
        WorkerStartError: the worker cannot be started.
    """
    try:
        return _free.setdefault(inner, []).pop(), False
    except IndexError:
        driver = _new_driver(inner)
        _warm(driver)
        return driver, True


def _warm(driver: Driver) -> None:
    """Start the worker now, so that its start does not count as time of the first items."""
    job = Context().run(driver.run, Call("the start", abs, Kind.EACH, (0,)))
    if job.error is not None:
        driver.close()
        raise job.error


def _new_driver(inner: wire.InnerOptions) -> Driver:
    """Return the driver (the engine) of a new pool with one worker, which has not started yet."""
    if not may_start_processes():
        raise WorkerStartError(1, "this process may start no processes")
    usual = max(1, cpu_count() // inner.slots)
    limits, forced = thread_limits(inner.threads_per_worker, usual)
    # The start method is chosen here. The one that the engine has set in this process is meant for
    # the engine's own processes.
    backend = _InSteps(
        inner.start_method or usual_start_method(),
        1,
        initialize if inner.initializer else None,
        (inner.initializer,) if inner.initializer else (),
        inner.max_memory_per_child,
        inner.kill_over_memory,
        (limits, {**forced, DEPTH: str(depth() + 1)}),
    )
    backend.check()
    most = 1 if inner.isolate else inner.max_tasks_per_child
    return Driver(backend, 1, most, _IDLE, inner.max_memory_per_child is None)


def shut_down() -> None:
    """End those inner workers of this process that run no chunk."""
    for drivers in [*_free.values()]:
        while drivers:
            drivers.pop().let_go()


if hasattr(os, "register_at_fork"):
    # The workers of a process are not workers of its forks, so a fork forgets them.
    os.register_at_fork(after_in_child=_free.clear)
