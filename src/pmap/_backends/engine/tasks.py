"""How a task is given to an engine: to executors, and to pools of `multiprocessing`."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast
from weakref import ref

from ..._calls.engine_options import submits
from ..._types import AppliesAsync, Engine
from ..protocol import ResultsArrived


class Held:
    """Refers to an engine; only weakly while no call runs, so that the program can drop it."""

    def __init__(self, engine: Engine | AppliesAsync) -> None:
        self._strong: Engine | AppliesAsync | None = None
        # Whether the result of `cancel` of its futures can be relied on. Futures of other libraries
        # may say that a task is cancelled, and yet it runs to its end.
        self._cancels: bool = type(engine).__module__.startswith("concurrent.futures.")
        self._weak: Callable[[], Engine | AppliesAsync | None]
        try:
            self._weak = ref(engine)
        except TypeError:
            # the engine allows no weak reference; what refers to it here serves a single call
            self._weak = lambda: engine

    def keep(self) -> Engine | AppliesAsync:
        """Return the engine, and refer to it strongly until `let_go` is called."""
        engine = self._strong or self._weak()
        if engine is None:
            raise RuntimeError("the engine does not exist any more: the program has dropped it")
        self._strong = engine
        return engine

    def has_cancelled(self, future: "Future[bytes] | Future[ResultsArrived]") -> bool:
        """Cancel a task that has not begun; return whether that is certain."""
        return self._cancels and future.cancel()

    def kill(self, future: "Future[bytes] | Future[ResultsArrived]") -> None:
        """Let an engine that can end a task do so."""
        end: object = getattr(self.keep(), "kill", None)
        if callable(end):
            end(future)

    def let_go(self) -> None:
        """Refer to the engine only weakly from now on."""
        self._strong = None


def submitted(
    engine: Engine | AppliesAsync, f: Callable[[bytes], bytes], data: bytes
) -> "Future[bytes]":
    """Give an engine the task ``f(data)``; return its future.

    Raises what the engine raises if it does not take the task.
    """
    if submits(engine):
        return engine.submit(f, data)
    pool = cast("AppliesAsync", engine)
    future: Future[bytes] = Future()
    # Such a pool cannot cancel a task, so the future cannot be cancelled either.
    future.set_running_or_notify_cancel()
    pool.apply_async(f, (data,), {}, future.set_result, future.set_exception)
    return future


def submitted_live(engine: object, run: Callable[[], ResultsArrived]) -> "Future[ResultsArrived]":
    """Let a ``ThreadPoolExecutor`` run `run()` in one of its threads; return its future."""
    assert isinstance(engine, ThreadPoolExecutor), "only its items run live"
    return engine.submit(run)
