"""Chooses the pool that runs a call of a verb: the pool given to the call, or a shared one."""

import os
import sys
import weakref
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from .._backends.permission import may_start_processes
from .._backends.processes import ProcessBackend
from .._backends.protocol import Backend
from .._calls.call import Call, Streamed
from .._calls.cpus import cpu_count
from .._calls.describe import name_of
from .._calls.options import Settings, WorkerOptions
from .._engine.driver import Driver
from .._engine.leadership import exiting
from .._errors import OptionError
from .._jobs.job import Job
from .._transport.environment import thread_limits
from .._transport.importable import look_for_files
from .._transport.process_role import inside_item
from .._transport.started import DEPTH, depth
from .._types import GivenPool
from .async_result import AsyncResult, every, first
from .result_stream import ResultStream

if TYPE_CHECKING:
    from .engine_drivers import EngineDrivers

# A shared pool ends its idle workers after this many seconds. That is long enough for a user to
# think in a REPL. And it is short enough that a program does not keep processes for hours after its
# last call.
IDLE_TIMEOUT = 60.0

# At most this many shared pools exist at a time; each distinct set of worker options has one.
MOST_SHARED = 8

# All idle shared pools together may have this many worker processes for each CPU, but at least
# `_IDLE`. A program may use a few sets of options in turn; more idle processes would take memory
# from other programs.
_IDLE_PER_CPU = 2
_IDLE = 8


class DriverOwner(Protocol):
    """The attributes of a `Pool` that a call on the pool uses."""

    _driver: Driver
    # The streams that run on this pool and have not ended.
    _streams: "weakref.WeakSet[ResultStream[Any]]"


def _is_given(pool: GivenPool | None) -> TypeGuard[DriverOwner]:
    """Return whether a `Pool` was given for a call, and not None."""
    return pool is not None


class SharedPools:
    """The pools behind the verbs, such as `pmap`; calls with equal worker options share a pool."""

    def __init__(self) -> None:
        self.drivers: dict[WorkerOptions, Driver] = {}
        # The drivers for engines (executors and the like) that the program gives. The module of
        # this class is imported when the first engine is used.
        self.engines: EngineDrivers | None = None

    def run(self, call: Call, settings: Settings) -> list[Any]:
        """Run `call`; return its results, or raise its first failure."""
        return run_with(self.driver_for(settings), _prepared(call, settings))

    def start(self, call: Call | Streamed, settings: Settings) -> AsyncResult[list[Any]]:
        """Start `call`; return the handle of its results."""
        if isinstance(call, Streamed):
            from .async_input_result import Collected  # few programs have such input

            asked = call.call
            name = f"{asked.verb}({name_of(asked.function)})"
            collected = Collected(self.stream(call, settings, ordered=True), name)
            return AsyncResult(collected, every)
        job = submit_with(self.driver_for(settings), _prepared(call, settings))
        return AsyncResult(job, every)

    def start_one(self, call: Call, settings: Settings) -> AsyncResult[Any]:
        """Start `call`, which has one item; return the handle of its result."""
        job = submit_with(self.driver_for(settings), _prepared(call, settings))
        return AsyncResult(job, first)

    def start_tuple(self, call: Call, settings: Settings) -> AsyncResult[tuple[Any, ...]]:
        """Start `call`; return a handle whose result is a tuple."""
        job = submit_with(self.driver_for(settings), _prepared(call, settings))
        return AsyncResult(job, tuple)

    def stream(self, streamed: Streamed, settings: Settings, ordered: bool) -> ResultStream[Any]:
        """Return a stream of the results of a call; it reads the input while results are taken."""
        driver, ours = self.driver_for(settings)
        made: ResultStream[Any] = ResultStream(
            driver,
            streamed._replace(call=_prepared(streamed.call, settings)),
            ordered=ordered,
            buffersize=settings.call.buffersize,
            as_values=streamed.call.rules.collect,
            own_driver=ours,
        )
        if _is_given(settings.pool) and driver is settings.pool._driver:
            # The pool knows its open streams, because `Pool.join` has to read their input to the
            # end.
            settings.pool._streams.add(made)
        return made

    def driver_for(self, settings: Settings) -> tuple[Driver, bool]:
        """Return the driver (engine of a pool) for a call, and whether it runs only this call."""
        if _is_given(settings.pool):
            driver = settings.pool._driver
            if not inside_item() and not driver.holds_lock():
                return driver, False
        # In three cases the given or shared pool cannot be used. Inside an item, all workers of the
        # pool may be busy with the call to which the item belongs. If this thread holds the lock of
        # the pool's state, no thread can run the pool's loop. And when the interpreter is ending,
        # no thread or process can be started.
        options = settings.worker
        inside = inside_item()
        if inside:
            _refuse_a_limit(settings.call.timeout)
        if inside or exiting():
            return make_driver(options._replace(backend="serial", initializer=None)), True
        if not isinstance(options.backend, str):
            return self._engine_driver_for(options)
        try:
            shared = self.drivers.get(options)
            if shared is None:
                if not _may_start(options):
                    return make_driver(options._replace(backend="serial")), True
                shared = self.drivers.setdefault(options, make_driver(options, IDLE_TIMEOUT))
        except TypeError:
            # The arguments of the initializer cannot be hashed, so a later call could not find this
            # pool.
            return make_driver(options), True
        if shared.holds_lock():
            return make_driver(options._replace(backend="serial", initializer=None)), True
        # The pool has no workers, because it is new or was idle for long, so it will start some.
        if not shared.workers:
            self._make_room(shared)
        return shared, False

    def _engine_driver_for(self, options: WorkerOptions) -> tuple[Driver, bool]:
        if self.engines is None:
            from .engine_drivers import EngineDrivers

            self.engines = EngineDrivers()
        driver, ours = self.engines.driver_for(options, IDLE_TIMEOUT)
        if driver.holds_lock():
            return make_driver(WorkerOptions(backend="serial")), True
        return driver, ours

    def restart(self) -> None:
        """Replace the workers of all shared pools, for the function `pmap.restart`."""
        look_for_files()
        for driver in [*self.drivers.values()]:
            driver.renew()

    def shutdown(self) -> None:
        """End the workers of all shared pools, for the function `pmap.shutdown`."""
        drivers = [*self.drivers.values()]
        self.drivers.clear()
        if self.engines is not None:
            drivers += self.engines.taken()
        for driver in drivers:
            driver.let_go()

    def after_fork_in_child(self) -> None:
        """Forget all pools: this process is a fork, and their workers belong to its parent."""
        self.drivers.clear()
        self.engines = None

    def _make_room(self, new: Driver) -> None:
        """End workers of idle pools, the longest idle first, until pools and workers are few."""
        most = max(_IDLE, _IDLE_PER_CPU * cpu_count(), new.limit)
        idle = [
            (options, driver)
            for options, driver in [*self.drivers.items()]
            if driver is not new and not driver.busy
        ]
        idle.sort(key=lambda pair: pair[1].last_used)
        pools = len(self.drivers)
        workers = sum(driver.workers for _, driver in idle)
        if new.backend.can_kill:
            workers += new.limit
        for options, driver in idle:
            if pools <= MOST_SHARED and (workers <= most or not driver.workers):
                continue
            if self.drivers.pop(options, None) is driver:
                # The workers of the pool end, but the pool stays open. Another thread may just have
                # chosen it for a call. Then new workers run that call, and end when they have been
                # idle for long.
                pools -= 1
                workers -= driver.workers
                driver.retire()


def _prepared(call: Call, settings: Settings) -> Call:
    """Return a call with the checkpoint, trace and progress that the options ask for."""
    call = call.showing(settings.call)
    given = settings.call.checkpoint
    if given is None:
        return call
    # The module is imported only for a call with a checkpoint.
    from .._checkpoint.checkpoint import Checkpoint

    keeper = given if isinstance(given, Checkpoint) else Checkpoint(given)
    return call._replace(keeper=keeper)


def _refuse_a_limit(timeout: float | None) -> None:
    """Raise `OptionError` if a call that runs in an item's own thread has a time limit."""
    if timeout is not None:
        raise OptionError(
            "timeout",
            timeout,
            "a call inside of an item runs its items there, one after the other, where none can be "
            "ended: give the outer call a timeout",
        )


def run_with(taker: tuple[Driver, bool], call: Call) -> list[Any]:
    """Run `call` on a driver; return its results, or raise its first failure.

    `taker` is the driver (engine), and whether the driver was made for this call only: then it is
    closed at the end.
    """
    driver, ours = taker
    try:
        return _results(driver.run(call))
    finally:
        if ours:
            driver.close()


def submit_with(taker: tuple[Driver, bool], call: Call) -> Job:
    """Start `call` on a driver, and return the job.

    `taker` is the driver (engine), and whether the driver was made for this call only: then it is
    closed.
    """
    driver, ours = taker
    job = driver.submit(call)
    if ours:
        driver.close()  # closed, the driver finishes this call and takes no others
    return job


def _results(job: Job) -> list[Any]:
    if job.error is not None:
        try:
            raise job.error
        finally:
            # The traceback of the exception refers to this frame, and the job refers to the
            # exception. If the frame also referred to the job, there would be a reference cycle.
            del job
    return job.values


def _may_start(options: WorkerOptions) -> bool:
    return options.backend != "processes" or may_start_processes()


def _refuse_at_the_start_of_a_child() -> None:
    """Raise an error in a child process of multiprocessing that still imports the script.

    Workers that it starts would import the script, too, and would start workers again, without end.
    """
    module = sys.modules.get("multiprocessing.process")
    if module is not None and getattr(module.current_process(), "_inheriting", False):
        raise RuntimeError(
            "this process is a child of multiprocessing, which imports the script before it does "
            "what it is for, and here the script starts workers: each of these would have such "
            'children again. Put what starts them behind if __name__ == "__main__":'
        )


def make_driver(options: WorkerOptions, idle_timeout: float | None = None) -> Driver:
    """Return the driver (the engine) of a new pool.

    The idle workers of the pool end after `idle_timeout` seconds; None: they stay.

    Raises:
        NotPicklableError: the initializer or its arguments cannot be sent.
    """
    limit = options.processes or cpu_count()
    backend: Backend[Any]
    if options.backend == "serial" or not _may_start(options):
        from .._backends.serial import SerialBackend

        limit = 1
        backend = SerialBackend(options.initializer, options.initargs)
    elif options.backend == "threads":
        from .._backends.threads import ThreadBackend

        backend = ThreadBackend(options.initializer, options.initargs)
    elif options.backend == "interpreters":
        from .._backends.interpreters import InterpreterBackend

        backend = InterpreterBackend(limit, options.initializer, options.initargs, options.main)
    else:
        _refuse_at_the_start_of_a_child()
        usual, forced = thread_limits(options.threads_per_worker, max(1, cpu_count() // limit))
        backend = ProcessBackend(
            options.start_method,
            limit,
            options.initializer,
            options.initargs,
            options.max_memory_per_child,
            options.kill_over_memory,
            (usual, {**forced, DEPTH: str(depth() + 1)}),
            options.main,
        )
    backend.check()
    prefetch = options.max_memory_per_child is None
    return Driver(backend, limit, options.most_tasks, idle_timeout, prefetch)


shared_pools = SharedPools()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=shared_pools.after_fork_in_child)
