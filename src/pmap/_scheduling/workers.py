"""The workers of a pool: those there are, and how each begins and ends."""

from collections.abc import Callable

from .commands import Command, KillWorker, StartWorker, StopWorker
from .events import WorkerGone, WorkerReady
from .state import Worker
from .worker_states import IDLE, KILLED, OVERDUE, STARTING, STOPPING

# How many workers in a row may die before they are ready: an initializer may fail by bad luck
# once, but one that always does must not be tried for ever.
MAX_START_FAILURES = 3


class Workers:
    """The workers that are started and not gone.

    Attributes:
        all: by their numbers.
        idle: those that hold nothing and take something, the last to work last.
        leaving: how many of them are on their way out.
    """

    def __init__(
        self,
        limit: int,
        max_chunks: int | None,
        emit: Callable[[Command], None],
        forget: Callable[[int], None],
    ) -> None:
        """Begin with none.

        Args:
            limit: how many there may be at a time.
            max_chunks: how many chunks one may run before it is replaced; None for no limit.
            emit: is given the commands for them.
            forget: is told of each one that takes nothing more.
        """
        self.limit = limit
        self._max_chunks = max_chunks
        self._emit = emit
        self._forget = forget
        self.all: dict[int, Worker] = {}
        self.idle: dict[int, Worker] = {}
        self.leaving = 0
        self._next = 0
        self._start_failures = 0

    @property
    def starting(self) -> int:
        """How many are started and not ready yet."""
        return sum([1 for worker in self.all.values() if worker.state == STARTING])

    @property
    def are_hopeless(self) -> bool:
        """Whether there is none, and none that is started comes to be ready."""
        return not self.all and self._start_failures >= MAX_START_FAILURES

    def start(self, wanted: int) -> None:
        """Start as many as are missing to `wanted`, or to the limit."""
        if self._start_failures >= MAX_START_FAILURES:
            return
        for _ in range(min(wanted, self.limit) - len(self.all)):
            worker = Worker(self._next, self._max_chunks)
            self._next += 1
            self.all[worker.id] = worker
            self._emit(StartWorker(worker.id))

    def try_again(self) -> None:
        """Let workers be started again, however many could not begin."""
        self._start_failures = 0

    def begin(self, ready: WorkerReady) -> Worker:
        """Take in that a worker is ready, and return it."""
        self._start_failures = 0
        worker = self.all[ready.worker]
        worker.ready = True
        worker.can_reclaim_chunks, worker.can_reclaim_items = (
            ready.can_reclaim_chunks,
            ready.can_reclaim_items,
        )
        return worker

    def remove(self, gone: WorkerGone) -> Worker:
        """Take in that a worker is gone, and return what is known of it."""
        worker = self.all.pop(gone.worker)
        self.idle.pop(worker.id, None)
        self._forget(worker.id)
        self.leaving -= worker.leaving
        if worker.ready:
            self._start_failures = 0  # it shows that a worker can start: others are tried again
        elif not worker.leaving:
            self._start_failures += MAX_START_FAILURES if gone.hopeless else 1
        return worker

    def rest(self, worker: Worker) -> None:
        """Let a worker that holds nothing wait for work, when it is ready."""
        if worker.ready:
            worker.become(IDLE)
            self.idle[worker.id] = worker

    def stop(self, worker: Worker) -> None:
        """Tell a worker to end, which holds nothing."""
        self._leave(worker, STOPPING)
        self._emit(StopWorker(worker.id))

    def kill(self, worker: Worker) -> None:
        """Kill a worker, also one that was only stopped: it may not be able to go."""
        if worker.state < OVERDUE:
            self._leave(worker, KILLED)
            self._emit(KillWorker(worker.id))

    def end_overdue(self, worker: Worker) -> None:
        """Let a worker say where it is, and end; `kill_overdue` follows."""
        self._leave(worker, OVERDUE)
        self._emit(KillWorker(worker.id, gently=True))

    def kill_overdue(self, worker: Worker) -> None:
        """Kill a worker that had its time to speak."""
        self._emit(KillWorker(worker.id))

    def _leave(self, worker: Worker, state: int) -> None:
        """Note that a worker is on its way out: it takes nothing more."""
        self.leaving += not worker.leaving
        worker.become(state)
        self.idle.pop(worker.id, None)
        self._forget(worker.id)
