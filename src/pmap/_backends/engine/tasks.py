"""How a task gets to an engine: one method `submit` for all kinds of engines."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast
from weakref import ref

from ..._calls.engine_options import submits
from ..._types import AppliesAsync, Engine
from ..protocol import ResultsArrived


class Held:
    """An engine, held weakly while no call runs: it is the program's to drop."""

    def __init__(self, engine: Engine | AppliesAsync) -> None:
        self._strong: Engine | AppliesAsync | None = None
        # Whether `cancel` of its futures can be believed. Those of other libraries may say that a
        # task is cancelled which runs to its end.
        self._cancels: bool = type(engine).__module__.startswith("concurrent.futures.")
        self._weak: Callable[[], Engine | AppliesAsync | None]
        try:
            self._weak = ref(engine)
        except TypeError:  # it allows no weak reference, so its driver serves one call only
            self._weak = lambda: engine

    def keep(self) -> Engine | AppliesAsync:
        """Return the engine, and hold it until `let_go`."""
        engine = self._strong or self._weak()
        if engine is None:
            raise RuntimeError("the engine does not exist any more: the program has dropped it")
        self._strong = engine
        return engine

    def has_cancelled(self, future: "Future[bytes] | Future[ResultsArrived]") -> bool:
        """Cancel a task that has not begun; return whether that is certain."""
        return self._cancels and future.cancel()

    def let_go(self) -> None:
        """Hold the engine no more."""
        self._strong = None


def submitted(
    engine: Engine | AppliesAsync, f: Callable[[bytes], bytes], data: bytes
) -> "Future[bytes]":
    """Give an engine the task ``f(data)``; return its future.

    Raises what the engine raises if it takes no task.
    """
    if submits(engine):
        return engine.submit(f, data)
    pool = cast("AppliesAsync", engine)
    future: Future[bytes] = Future()
    future.set_running_or_notify_cancel()  # the pool cannot take a task back
    pool.apply_async(f, (data,), {}, future.set_result, future.set_exception)
    return future


def submitted_live(engine: object, run: Callable[[], ResultsArrived]) -> "Future[ResultsArrived]":
    """Give the threads of a ``ThreadPoolExecutor`` a call; return its future."""
    assert isinstance(engine, ThreadPoolExecutor), "only its items run live"
    return engine.submit(run)
