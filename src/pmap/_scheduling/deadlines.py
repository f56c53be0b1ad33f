"""The time limits of items: when the scheduler checks an item, and how it ends a late item."""

from .answer import Answer
from .commands import CheckDeadline
from .events import ItemRuns
from .state import Worker
from .worker_states import OVERDUE
from .workers import Workers

# Seconds that a worker whose item is late gets to write its stack before the worker is killed.
LAST_WORDS = 0.5


class Deadlines:
    """Checks that items keep their `timeout`; `Worker.check_at` is the time of the next check."""

    def __init__(self, workers: Workers, answer: Answer) -> None:
        """Begin with no worker to check."""
        self._workers = workers
        self._answer = answer

    def start(self, worker: Worker, now: float) -> None:
        """Set the time at which a worker is next checked, as its first chunk may begin now.

        The first item of that chunk cannot exceed its `timeout` before that time.
        """
        limit = worker.chunks[0].job.rules.timeout if worker.chunks else None
        if not worker.leaving:
            worker.check_at = None if limit is None else now + limit

    def next_due(self) -> list[float]:
        """Return the times at which workers are to be checked."""
        return [w.check_at for w in self._workers.all.values() if w.check_at is not None]

    def check(self, now: float) -> None:
        """Ask how long the present item of a worker has run, if it is time to check the worker."""
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
        """End a worker whose item is late; check later if it is not late yet.

        The event tells when the worker began the item.
        """
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
