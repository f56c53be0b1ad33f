"""What pmap does on a node where an engine runs a task: it hands the chunk to an inner worker.

The inner worker is the only worker of an ordinary pool. It stays for the next chunk that the same
call, or a call with the same options, has on this node.
"""

import os
import pickle
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import Context
from time import perf_counter
from typing import Any, Final

from .._backends.engine import wire
from .._backends.permission import may_start_processes
from .._backends.processes import ProcessBackend
from .._backends.start_method import usual_start_method
from .._calls.call import Call, Elsewhere, Kind
from .._calls.cpus import cpu_count
from .._calls.failure import Failure
from .._engine.driver import Driver
from .._errors import ItemError, PmapError, TaskTimeout, WorkerLost, WorkerStartError
from .._jobs.job import Job
from .._scheduling.run_rules import RunRules
from .._transport.environment import thread_limits
from .._transport.packing import packed, unpacked
from .._transport.process_role import item_threads
from .._transport.randomness import put_back, take_state
from .._transport.started import DEPTH, depth
from .._worker.relay import Relay, initialize

# Seconds after which an inner worker that has no chunk ends.
_IDLE: Final = 20.0
# Seconds after which a thread that waits for an inner worker looks whether the engine ends its
# task, and how long the thread then waits for the end of the inner worker.
_STEP: Final = 0.1
_LAST: Final = 5.0
# How many calls a node keeps, so that their functions need not come again with each chunk.
_MOST_KEPT: Final = 64

_specs: dict[bytes, wire.TaskSpec] = {}
# The drivers of inner workers that have no chunk at the moment, by the options of their workers.
_free: dict[wire.InnerOptions, list[Driver]] = {}
# In a process that runs several tasks at the same time, the random generators belong to all.
_generators: Final = threading.RLock()


def run(data: bytes) -> bytes:
    """Run the chunk that `data` is; return the answer for the caller. The engine calls this."""
    try:
        task = wire.opened_task(data)
    except wire.OtherVersionError as error:
        return _unstarted(str(error), None)
    spec = _spec_of(task)
    if spec is None:
        return wire.packed_answer(wire.Answer(wire.UNKNOWN, wire.host_name()))
    relay = Relay(task.chunk, task.key, spec.spec, task.start, task.pickled)
    items = [*enumerate(unpacked(task.items))]
    if spec.inner is None:
        return _run_here(relay, items, spec)
    try:
        return _run_inside(relay, items, spec, spec.inner)
    except WorkerStartError as error:
        return _unstarted(error.reason, error.__cause__)


def _spec_of(task: wire.Task) -> wire.TaskSpec | None:
    """Return the call of a task; None if this process does not have it."""
    known = _specs.pop(task.key, None)
    if known is None and task.data is not None:
        known = wire.opened_spec(task.data)
    if known is not None:
        while len(_specs) >= _MOST_KEPT:
            _specs.pop(next(iter(_specs), b""), None)
        _specs[task.key] = known  # as the last one: the first is that which was used longest ago
    return known


def _unstarted(reason: str, cause: BaseException | None) -> bytes:
    try:
        data = None if cause is None else pickle.dumps(cause)
    except Exception:  # the user's exception may not be picklable
        data = None
    host = wire.host_name()
    return wire.packed_answer(wire.Answer(wire.UNSTARTED, host, reason=reason, cause=data))


def _answer(entries: list[Any], elapsed: float) -> bytes:
    sent = packed(entries)
    done = wire.Answer(wire.DONE, wire.host_name(), elapsed, entries if sent is None else sent)
    return wire.packed_answer(done)


def _run_here(relay: Relay, items: list[tuple[int, Any]], spec: wire.TaskSpec) -> bytes:
    """Run a chunk in this process, which is the engine's."""
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
    return _answer(entries, perf_counter() - begin)


def _run_all(relay: Relay, items: list[tuple[int, Any]], entries: list[object]) -> None:
    for item in items:
        entry = relay(item)
        if entry == ():  # an item before it has failed
            return
        entries.append(entry)


def _run_inside(
    relay: Relay, items: list[tuple[int, Any]], spec: wire.TaskSpec, inner: wire.InnerOptions
) -> bytes:
    """Run a chunk in an inner worker."""
    stop = spec.spec[2]
    rules = RunRules(
        chunksize=1 if inner.isolate else len(items),
        collect=not stop,
        stop=stop,
        timeout=spec.timeout,
        logs=spec.logs,
        trace_as_text=True,  # `_relayed` sends the stack of a lost worker as a text
    )
    environment = wire.on_the_node(spec.environment, spec.host)
    elsewhere = Elsewhere(environment)
    call = Call("the chunk", relay, Kind.EACH, items, rules, elsewhere=elsewhere)
    with _inner_worker(inner) as driver:
        begin = perf_counter()
        # In an empty context: the context variables of the engine's own code are not for the items.
        job = (
            Context().run(_in_steps, driver, call)
            if spec.killed
            else Context().run(driver.run, call)
        )
        elapsed = perf_counter() - begin
    entries: list[Any] = job.values
    error = job.error
    if error is not None:
        if not isinstance(error, ItemError) or error.index is None:
            raise error
        entries = [*entries[: error.index], error]
    if () in entries:
        del entries[entries.index(()) :]
    return _answer([_relayed(entry) for entry in entries], elapsed)


def _in_steps(driver: Driver, call: Call) -> Job:
    """Run a call; end what it runs if the engine raises an exception in this thread.

    An engine may raise it when Python code runs in this thread, and not interrupt a system call. So
    the thread wakes now and then.
    """
    job = driver.submit(call)
    try:
        while not job.wait(_STEP):
            pass
    finally:
        if not job.over:
            driver.cancel(job)
            job.wait(_LAST)
    return job


def _relayed(entry: Any) -> Any:
    """Return the result of an item as it travels to the caller."""
    error: object = entry.error if isinstance(entry, Failure) else entry
    if isinstance(error, WorkerLost):
        stack = str(getattr(error.__cause__, "tb", "")).strip().strip('"').strip()
        return wire.LOST, error.pid, error.exitcode, error.reason, error.begun, stack
    if isinstance(error, TaskTimeout):
        return wire.LATE, error.stack, None
    if isinstance(error, PmapError):  # pmap itself could not do what it does for every item
        raise error
    return entry


@contextmanager
def _inner_worker(inner: wire.InnerOptions) -> Generator[Driver, None, None]:
    """Yield the driver of an inner worker that has no other chunk."""
    free = _free.setdefault(inner, [])
    try:
        driver = free.pop()
    except IndexError:
        driver = _new_driver(inner)
        _warm(driver)
    try:
        yield driver
    finally:
        free.append(driver)


def _warm(driver: Driver) -> None:
    """Start the worker, so that its start does not count as time of the first items."""
    job = Context().run(driver.run, Call("the start", abs, Kind.EACH, (0,)))
    if job.error is not None:
        driver.close()
        raise job.error


def _new_driver(inner: wire.InnerOptions) -> Driver:
    """Return the driver of a pool of one worker, which has not started."""
    if not may_start_processes():
        raise WorkerStartError(1, "this process may start no processes")
    usual = max(1, cpu_count() // inner.slots)
    limits, forced = thread_limits(inner.threads_per_worker, usual)
    # The start method that the engine has set in this process is for the engine's own processes.
    backend = ProcessBackend(
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
    """End the inner workers of this process that have no chunk."""
    for drivers in [*_free.values()]:
        while drivers:
            drivers.pop().let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free.clear)  # a fork has no workers
