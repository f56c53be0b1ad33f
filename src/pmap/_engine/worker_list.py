"""The list of a pool's workers, for programs that read the private attribute `Pool._pool`."""

import threading
from functools import partial

from .leadership import Leadership
from .state import EngineState
from .worker_end import WorkerEnd

_MOMENT = 0.005  # seconds between two checks of whether the process ids of new workers are known


class WorkerList:
    """Looks up the workers of one pool by their numbers, and ends them."""

    def __init__(self, state: EngineState, leadership: Leadership) -> None:
        self._state = state
        self._leadership = leadership

    def pids(self) -> dict[int, int | None]:
        """Return the process ids of the present workers by number; threads have the id None."""
        state = self._state
        if not state.leader and state.backend.workers() and not state.holds_lock():
            # An idle worker may have ended while no thread was in the engine's loop. So this thread
            # asks the backend for events once.
            look = partial(state.backend.poll, 0.0)
            self._leadership.claim(threading.get_ident(), lambda: state.enter(look()))
        return state.backend.workers()

    def notice_ends(self) -> None:
        """Wait until the engine knows of each worker that has ended by now."""
        from .._backends.launch import has_ended  # few programs need it

        state = self._state
        self.pids()
        # The fork server tells the engine of the end of a worker, a moment after that end.
        if not state.holds_lock():
            self._leadership.run_until(
                lambda: (
                    state.ended.is_set()
                    or not any(map(has_ended, state.backend.workers().values()))
                ),
                lambda: state.ended.wait(_MOMENT),
            )

    def known_pids(self) -> dict[int, int | None]:
        """Wait until the process ids of all workers are known, then return them as `pids` does."""
        state = self._state
        found = self.pids()
        # `pids` may find that a worker has ended, and then the worker in its place has no process
        # id yet. So this asks again until all ids are known.
        while None in found.values() and state.backend.can_kill and not state.holds_lock():
            if state.ended.is_set():
                break
            self._leadership.run_until(
                lambda: state.ended.is_set() or None not in state.backend.workers().values(),
                lambda: state.ended.wait(_MOMENT),
            )
            found = self.pids()
        return found

    def end_of(self, number: int) -> WorkerEnd:
        """Return an object that will hold the exit code of a worker when the worker has ended."""
        return self._state.ends.setdefault(number, WorkerEnd())

    def end(self, number: int, *, softly: bool) -> None:
        """End a worker, if it has not ended: by SIGTERM if `softly` is true, else by SIGKILL."""
        backend = self._state.backend
        how = backend.terminate if softly else backend.kill

        def end_it() -> None:
            if number in backend.workers():
                how(number)

        self._state.post(end_it)
