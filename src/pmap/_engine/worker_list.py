"""The workers of a pool one by one, as old clients of `multiprocessing` ask for them."""

import threading
from functools import partial

from .leadership import Leadership
from .state import EngineState, WorkerEnd

_MOMENT = 0.005  # seconds between two looks whether a worker's process id is known


class WorkerList:
    """Reads and ends the workers of one pool by their numbers."""

    def __init__(self, state: EngineState, leadership: Leadership) -> None:
        """Take the state of the pool, and what lets a thread lead it."""
        self._state = state
        self._leadership = leadership

    def pids(self) -> dict[int, int | None]:
        """Return the process ids of the workers there are, by their numbers; of threads None."""
        state = self._state
        if not state.leader and state.backend.workers() and not state.holds_lock():
            # An idle worker may have ended since a thread led last.
            look = partial(state.backend.poll, 0.0)
            self._leadership.claim(threading.get_ident(), lambda: state.enter(look()))
        return state.backend.workers()

    def known_pids(self) -> dict[int, int | None]:
        """Return the same, once the process ids of workers that are being started are known."""
        state = self._state
        if state.backend.can_kill and not state.holds_lock():
            self._leadership.run_until(
                lambda: state.ended.is_set() or None not in state.backend.workers().values(),
                lambda: state.ended.wait(_MOMENT),
            )
        return self.pids()

    def end_of(self, number: int) -> WorkerEnd:
        """Return the object that will say how a present worker has ended."""
        return self._state.ends.setdefault(number, WorkerEnd())

    def end(self, number: int, *, softly: bool) -> None:
        """End a worker, if it is there, whatever it does; `softly`: unless it handles SIGTERM."""
        backend = self._state.backend
        how = backend.terminate if softly else backend.kill

        def end_it() -> None:
            if number in backend.workers():
                how(number)

        self._state.post(end_it)
