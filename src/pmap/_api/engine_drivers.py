"""Keeps the drivers of engines, which are executors and the like that the program gives."""

import sys
import weakref
from collections.abc import Callable
from functools import partial

from .._backends.engine.backend import EngineBackend
from .._backends.engine.wire import InnerOptions
from .._calls.cpus import cpu_count
from .._calls.engine_options import OF_INNER_WORKERS, runs_live, slots_of
from .._calls.options import WorkerOptions
from .._engine.driver import Driver
from .._jobs.item_errors import INITIALIZER, unsent_argument
from .._transport.by_value.picklers import Whole
from .._transport.values import dumps
from .node import run, shut_down


class EngineDrivers:
    """The driver for each engine and each set of options, while the engine exists.

    A driver runs pmap's loop for an engine, which is the program's executor or cluster. The engine
    is referred to weakly, so that nothing here keeps it alive.
    """

    def __init__(self) -> None:
        self._drivers: dict[int, dict[WorkerOptions, Driver]] = {}
        self._known: dict[int, weakref.ref[object]] = {}

    def driver_for(self, options: WorkerOptions, idle_timeout: float | None) -> tuple[Driver, bool]:
        """Return the driver for an engine, and whether the driver was made for one call alone."""
        engine: object = options.backend
        number = id(engine)
        # The engine itself may not be hashable, so the key is the options without the engine.
        key = options._replace(backend="processes")
        known = self._known.get(number)
        if known is None or known() is not engine:
            try:
                known = _weak(engine, partial(self._forget, number))
            except TypeError:
                # Python cannot refer to this engine weakly, so the driver is not remembered.
                return make_engine_driver(options, None), True
            self._known[number] = known
            self._drivers[number] = {}
        ours = self._drivers[number]
        try:
            driver = ours.get(key)
        except TypeError:
            # The arguments of the initializer cannot be hashed, so the driver is not remembered.
            return make_engine_driver(options, None), True
        if driver is None:
            driver = ours.setdefault(key, make_engine_driver(options, idle_timeout))
        return driver, False

    def _forget(
        self,
        number: int,
        gone: "weakref.ref[object]",
        # `sys.is_finalizing` is a parameter, because this module's globals may be gone at the end
        # of the program.
        ends: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        # Another engine may have the address of the freed engine by now. Then the entry is that of
        # the other engine, and is kept.
        if self._known.get(number) is gone and not ends():
            del self._known[number]
            for driver in self._drivers.pop(number, {}).values():
                driver.close()

    def all(self) -> list[Driver]:
        """Return the drivers of all engines that still exist."""
        return [driver for ours in [*self._drivers.values()] for driver in [*ours.values()]]

    def taken(self) -> list[Driver]:
        """Return the drivers of all engines and forget them; end inner workers that are idle."""
        drivers = self.all()
        self._known.clear()
        self._drivers.clear()
        shut_down()
        return drivers


def _weak(engine: object, then: "Callable[[weakref.ref[object]], None]") -> "weakref.ref[object]":
    return weakref.ref(engine, then)


def make_engine_driver(options: WorkerOptions, idle_timeout: float | None) -> Driver:
    """Return a new driver that sends chunks of items to the engine ``options.backend``.

    Raises:
        OptionError: the number of the engine's workers is not known, or the files of a package to
            ship are not there.
        NotPicklableError: the initializer or its arguments cannot be sent.
    """
    engine = options.backend
    assert not isinstance(engine, str), "this is for engines"
    live = runs_live(engine, options.inner_worker)
    slots = slots_of(engine, options.processes, live)
    task: Callable[..., bytes] = run
    shipment = None
    if options.ship:
        # The module is imported only for this option.
        from .._backends.engine.shipping import Shipped, packed_packages

        shipment = packed_packages(options.ship)
        task = Shipped(run, shipment.key)
    shipped = shipment.key if shipment is not None else ""
    inner = None if live or options.inner_worker is False else _inner(options, slots, shipped)
    asks = options.processes is None
    backend = EngineBackend(engine, task, inner, live, slots, asks, shipment)
    return Driver(backend, slots, None, idle_timeout, False)


def _inner(options: WorkerOptions, slots: int, shipped: str) -> InnerOptions:
    initializer: Callable[..., object] | None = options.initializer
    data = b""
    if initializer is not None:
        try:
            data = dumps((initializer, options.initargs), role=Whole())
        except Exception as error:
            raise unsent_argument(error, "", INITIALIZER) from error
    return InnerOptions(
        options.start_method,
        data,
        options.max_tasks_per_child,
        options.max_memory_per_child,
        options.kill_over_memory,
        options.isolate,
        options.threads_per_worker,
        min(slots, cpu_count()),
        shipped,
        _may_fall_back(options),
    )


def _may_fall_back(options: WorkerOptions) -> bool:
    """Return whether items may run in the engine's own worker where no inner worker can start.

    They may not if the program has asked for inner workers, or for what only these can do.
    """
    usual = WorkerOptions()
    needing = [name for name in OF_INNER_WORKERS if name in usual._fields]
    return options.inner_worker is None and all(
        getattr(options, name) == getattr(usual, name) for name in needing
    )
