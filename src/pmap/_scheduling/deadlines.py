"""How long items run: when to look, and what is done about an item that exceeds its limit."""

from .answer import Answer
from .commands import CheckDeadline
from .events import ItemRuns
from .state import Worker
from .worker_states import OVERDUE
from .workers import Workers

# Seconds that a worker gets to write its stack before it is killed.
LAST_WORDS = 0.5


class Deadlines:
    """When each worker is to be looked at next: `Worker.check_at`."""

    def __init__(self, workers: Workers, answer: Answer) -> None:
        """Begin with no worker to look at."""
        self._workers = workers
        self._answer = answer

    def start(self, worker: Worker, now: float) -> None:
        """Look at a worker when its first chunk, which may begin now, can exceed its limit."""
        limit = worker.chunks[0].job.rules.timeout if worker.chunks else None
        if not worker.leaving:
            worker.check_at = None if limit is None else now + limit

    def next_due(self) -> list[float]:
        """Return when workers are to be looked at."""
        return [w.check_at for w in self._workers.all.values() if w.check_at is not None]

    def check(self, now: float) -> None:
        """Look at the workers that are due."""
        for worker in self._workers.all.values():
            if worker.check_at is not None and worker.check_at <= now:
                worker.check_at = None
                if worker.state == OVERDUE:
                    self._workers.kill_overdue(worker)
                elif worker.chunks and not worker.leaving:
                    limit = worker.chunks[0].job.rules.timeout
                    if limit is not None:
                        self._answer.questions.append(CheckDeadline(worker.id, limit))

    def on_item_runs(self, event: ItemRuns, now: float) -> None:
        """Take in since when a worker runs its item: end the worker, or look again later."""
        worker = self._workers.all.get(event.worker)
        if worker is None or worker.leaving or not worker.chunks:
            return
        limit = worker.chunks[0].job.rules.timeout
        if limit is None:
            return
        if event.held:
            self._workers.end_overdue(worker)
            worker.check_at = now + LAST_WORDS
        else:
            worker.check_at = (now if event.since is None else event.since) + limit
