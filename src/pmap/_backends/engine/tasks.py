"""How an engine gets a task: as an executor, or as a pool of `multiprocessing`."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast
from weakref import ref

from ..._calls.engine_options import submits
from ..._types import AppliesAsync, Engine
from ..protocol import ResultsArrived


class Held:
    """Refers to an engine, but only weakly while no call runs, so that the program can drop it."""

    def __init__(self, engine: Engine | AppliesAsync) -> None:
        self._strong: Engine | AppliesAsync | None = None
        # Whether the result of `cancel` can be relied on for futures of this engine. Futures of
        # other libraries may say that a task is cancelled while the task runs to its end.
        self._cancels: bool = type(engine).__module__.startswith("concurrent.futures.")
        self._weak: Callable[[], Engine | AppliesAsync | None]
        try:
            self._weak = ref(engine)
        except TypeError:
            # The engine allows no weak reference, so this object keeps it alive. Such an object
            # serves a single call.
            self._weak = lambda: engine

    def keep(self) -> Engine | AppliesAsync:
        """Return the engine, and keep it alive until `let_go` is called."""
        engine = self._strong or self._weak()
        if engine is None:
            raise RuntimeError("the engine does not exist any more: the program has dropped it")
        self._strong = engine
        return engine

    def has_cancelled(self, future: "Future[bytes] | Future[ResultsArrived]") -> bool:
        """Cancel a task that has not begun; return whether it will certainly never run."""
        return self._cancels and future.cancel()

    def kill(self, future: "Future[bytes] | Future[ResultsArrived]") -> None:
        """If the engine has a method to end a task, call it for the task of `future`."""
        end: object = getattr(self.keep(), "kill", None)
        if callable(end):
            end(future)

    def let_go(self) -> None:
        """From now on do not keep the engine alive any more."""
        self._strong = None


def submitted(
    engine: Engine | AppliesAsync, f: Callable[..., bytes], arguments: tuple[object, ...]
) -> "Future[bytes]":
    """Give an engine the task ``f(*arguments)``; return its future.

    If the engine does not take the task, its exception is passed on.
    """
    if submits(engine):
        return engine.submit(f, *arguments)
    pool = cast("AppliesAsync", engine)
    future: Future[bytes] = Future()
    # A pool of `multiprocessing` cannot cancel a task, so the future must not be cancelled either.
    future.set_running_or_notify_cancel()
    pool.apply_async(f, arguments, {}, future.set_result, future.set_exception)
    return future


def submitted_live(engine: object, run: Callable[[], ResultsArrived]) -> "Future[ResultsArrived]":
    """Let a ``ThreadPoolExecutor`` call `run()` in one of its threads; return the future."""
    assert isinstance(engine, ThreadPoolExecutor), "only its items run live"
    return engine.submit(run)
