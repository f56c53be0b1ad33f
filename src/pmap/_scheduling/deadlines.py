"""The time limits of items: when the scheduler checks an item, and how it ends a late item."""

from .answer import Answer
from .commands import CheckDeadline
from .events import ItemRuns
from .state import Worker
from .worker_states import OVERDUE
from .workers import Workers

# A worker whose item is late gets this many seconds to write its stack; then it is killed.
LAST_WORDS = 0.5


class Deadlines:
    """Checks that items keep to their `timeout`; `Worker.check_at` is when the next check is."""

    def __init__(self, workers: Workers, answer: Answer) -> None:
        self._workers = workers
        self._answer = answer

    def start(self, worker: Worker, now: float) -> None:
        """Set the time of the next check of a worker, which may begin its first chunk now.

        Before that time no item of the chunk can have run for longer than its `timeout`.
        """
        limit = worker.chunks[0].job.rules.timeout if worker.chunks else None
        if not worker.leaving:
            worker.check_at = None if limit is None else now + limit

    def next_due(self) -> list[float]:
        """Return the times at which the scheduler has to check workers."""
        return [w.check_at for w in self._workers.all.values() if w.check_at is not None]

    def check(self, now: float) -> None:
        """For each worker that is due for a check, ask how long its present item has run."""
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
        """Kill the worker of an item that runs for too long; else set the time of the next check.

        `event` tells when the worker began the item. Before the kill the worker gets `LAST_WORDS`
        seconds to write its stack.
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
