"""What the scheduler answers: commands, all plain values, that the engine carries out."""

from typing import NamedTuple, TypeAlias


class StartWorker(NamedTuple):
    """Start a worker; `WorkerReady` or `WorkerGone` answers."""

    worker: int


class SendChunk(NamedTuple):
    """Send items `start` to `stop` - 1 of a job to a worker, behind the chunks that it holds.

    `step`: how many of them begin together, so that the others can be reclaimed; 0: all.
    """

    worker: int
    job: int
    start: int
    stop: int
    step: int = 0


class StopWorker(NamedTuple):
    """Tell a worker that holds nothing to end; `WorkerGone` answers."""

    worker: int


class KillWorker(NamedTuple):
    """Kill a worker whatever it does; `WorkerGone` answers.

    `gently`: let it write its stack first.
    """

    worker: int
    gently: bool = False


class CheckDeadline(NamedTuple):
    """Ask since when a worker runs its item.

    If that is longer than `limit` seconds, keep the worker from beginning another one. `ItemRuns`
    answers at once.
    """

    worker: int
    limit: float


class ReclaimChunks(NamedTuple):
    """Take back from a worker all items that it has not begun.

    `ChunksReclaimed` answers at once.
    """

    worker: int


class RetryItem(NamedTuple):
    """Forget the error of a failed item: the item is tried again."""

    job: int
    item: int


class LoseItem(NamedTuple):
    """Make the error of an item that was lost with its worker.

    `overdue`: the worker was killed because the item ran for too long.
    """

    job: int
    item: int
    worker: int
    overdue: bool = False


class FinishJob(NamedTuple):
    """End a job: with the failure at index `failed`, or, if that is None, with all results."""

    job: int
    failed: int | None


class FailJob(NamedTuple):
    """End a job without results: it is cancelled, or no worker could be started for it."""

    job: int
    cancelled: bool


class DiscardChunks(NamedTuple):
    """Let a worker skip the chunks that it has not begun of a job: the job is over."""

    worker: int
    job: int


Command: TypeAlias = (
    StartWorker
    | SendChunk
    | StopWorker
    | KillWorker
    | CheckDeadline
    | ReclaimChunks
    | RetryItem
    | LoseItem
    | FinishJob
    | FailJob
    | DiscardChunks
)
