"""The workers of a pool, as the scheduler sees them: how each worker begins and ends."""

from .answer import Answer
from .commands import KillWorker, StartWorker, StopWorker
from .events import Prestart, Retire, WorkerGone, WorkerReady
from .job_queue import JobQueue
from .prefetch import Prefetch
from .state import Job, Worker
from .worker_states import IDLE, KILLED, OVERDUE, STARTING, STOPPING

# If this many workers in a row die while they start, no more workers are started. One start may
# fail by bad luck, but an initializer that always fails must not be run for ever.
MAX_START_FAILURES = 3


class Workers:
    """The workers that were started and have not ended.

    Attributes:
        all: the workers by their numbers.
        idle: the workers that wait for work; the worker that finished work last comes last.
        leaving: how many workers are about to end (those whose attribute `leaving` is true).
        closed: whether no more jobs will come.
    """

    def __init__(
        self,
        limit: int,
        max_chunks: int | None,
        jobs: JobQueue,
        prefetch: Prefetch,
        answer: Answer,
    ) -> None:
        self.limit = limit
        self._max_chunks = max_chunks
        self._jobs = jobs
        self._prefetch = prefetch
        self._answer = answer
        self.all: dict[int, Worker] = {}
        self.idle: dict[int, Worker] = {}
        self.leaving = 0
        self.closed = False
        # Seconds that a chunk takes beside those of its items; 0 if that is very little.
        self.overhead = 0.0
        # Whether the idle workers were told to end, and no call has come since then.
        self._retired = False
        # How many workers are started once those have ended that took their places at `prestart`.
        self._start_later = 0
        self._next = 0
        self._start_failures = 0

    @property
    def starting(self) -> int:
        """How many workers were started and are not ready for chunks yet."""
        return sum([1 for worker in self.all.values() if worker.state == STARTING])

    @property
    def are_hopeless(self) -> bool:
        """Whether there are no workers because the last ones have all died while they started."""
        return not self.all and self._start_failures >= MAX_START_FAILURES

    def start(self, wanted: int) -> None:
        """Start workers until there are `wanted` workers, or as many as the limit allows."""
        if self._start_failures >= MAX_START_FAILURES:
            return
        for _ in range(min(wanted, self.limit) - len(self.all)):
            worker = Worker(self._next, self._max_chunks)
            self._next += 1
            self.all[worker.id] = worker
            self._answer.commands.append(StartWorker(worker.id))

    def prestart(self, _: Prestart) -> None:
        """Start all workers that the limit allows, some of them when others have ended."""
        self._retired = False
        self._start_later = self.leaving
        self.start(self.limit)

    def expect_job(self) -> None:
        """Allow workers to be started for a new job, even if the last ones died at their start."""
        self._start_failures = 0
        self._retired = False

    def begin(self, ready: WorkerReady) -> None:
        """Record that a worker can take chunks."""
        self._start_failures = 0
        worker = self.all[ready.worker]
        worker.ready = True
        worker.can_reclaim_chunks = ready.can_reclaim_chunks
        worker.can_reclaim_items = ready.can_reclaim_items
        worker.one_ahead = ready.one_ahead
        self.idle_or_stop(worker)

    def idle_or_stop(self, worker: Worker) -> None:
        """Let a worker that holds no chunks wait for work, or stop a worker that is not needed."""
        if worker.leaving:
            return
        no_more_comes = (self.closed or self._retired) and not self._jobs
        if no_more_comes or worker.needs_replacement():
            self.stop(worker)
        elif worker.ready:
            worker.state = IDLE
            self.idle[worker.id] = worker

    def holders_of(self, job: Job) -> list[Worker]:
        """Return the workers that hold a chunk of a job."""
        return [w for w in self.all.values() if any(chunk.job is job for chunk in w.chunks)]

    def remove(self, gone: WorkerGone) -> Worker:
        """Record that a worker has ended, and return its `Worker` object."""
        worker = self.all.pop(gone.worker)
        self.idle.pop(worker.id, None)
        self._prefetch.forget(worker.id)
        self.leaving -= worker.leaving
        if worker.ready:
            # A worker has started now, so earlier failures to start no longer count.
            self._start_failures = 0
        elif not worker.leaving:
            self._start_failures += MAX_START_FAILURES if gone.hopeless else 1
        if self._start_later and worker.leaving:
            self._start_later -= 1
            if not (self.closed or self._retired):
                self.start(len(self.all) + 1)
        return worker

    # --- the ends of workers -------------------------------------------------------------------

    def retire(self, _: Retire | None = None) -> None:
        """Stop all workers that hold no chunks."""
        self._retired = not self._jobs
        for worker in self.all.values():
            # A worker that is being started is stopped later, when it is ready.
            if worker.state in (STARTING, IDLE):
                self.stop(worker)

    def retire_if_done(self) -> None:
        """Stop all idle workers of a closed pool that has no jobs left."""
        if not self._jobs:
            self.retire()

    def stop(self, worker: Worker) -> None:
        """Tell a worker that holds no chunks to end."""
        self._leave(worker, STOPPING)
        self._answer.commands.append(StopWorker(worker.id))

    def kill(self, worker: Worker) -> None:
        """Kill a worker, even one that was told to end: it may be unable to end by itself."""
        if worker.state < OVERDUE:
            self._leave(worker, KILLED)
            self._answer.commands.append(KillWorker(worker.id))

    def end_overdue(self, worker: Worker) -> None:
        """Let a worker whose item is late write its stack before `kill_overdue` kills it."""
        self._leave(worker, OVERDUE)
        self._answer.commands.append(KillWorker(worker.id, gently=True))

    def kill_overdue(self, worker: Worker) -> None:
        """Kill a worker whose item ran for too long: its time to write its stack is over."""
        self._answer.commands.append(KillWorker(worker.id))

    def _leave(self, worker: Worker, state: int) -> None:
        """Record that a worker is about to end, so that it is sent no more chunks."""
        self.leaving += not worker.leaving
        worker.state = state
        worker.leaving = True
        self.idle.pop(worker.id, None)
        self._prefetch.forget(worker.id)
