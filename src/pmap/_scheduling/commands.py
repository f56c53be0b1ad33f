"""What the scheduler answers: commands, all plain values, that the engine carries out."""

from typing import NamedTuple, TypeAlias


class StartWorker(NamedTuple):
    """Start a worker; `WorkerReady` or `WorkerGone` answers."""

    worker: int


class SendChunk(NamedTuple):
    """Send items `start` to `stop` - 1 of a job to a worker, behind what it has already.

    So many begin `step`, and those that have not can be taken back; 0: all begin together.
    """

    worker: int
    job: int
    start: int
    stop: int
    step: int = 0


class StopWorker(NamedTuple):
    """Let a worker that holds nothing go; `WorkerGone` answers."""

    worker: int


class KillWorker(NamedTuple):
    """End a worker whatever it does; `WorkerGone` answers.

    `gently`: it may first say where it was, if it does so at once.
    """

    worker: int
    gently: bool = False


class CheckDeadline(NamedTuple):
    """Find out what a worker runs, and if for longer than `limit` seconds, hold it there.

    `ItemRuns` answers, at once.
    """

    worker: int
    limit: float


class ReclaimChunks(NamedTuple):
    """Take back all that a worker has not begun.

    `ChunksReclaimed` answers, at once.
    """

    worker: int


class RetryItem(NamedTuple):
    """A failed item is tried again: its error is of no consequence."""

    job: int
    item: int


class LoseItem(NamedTuple):
    """An item was lost with its worker: its error must be made.

    `overdue`: the worker was killed because the item ran for too long.
    """

    job: int
    item: int
    worker: int
    overdue: bool = False


class FinishJob(NamedTuple):
    """A job is over: with the failure at index `failed`, or, if that is None, with all results."""

    job: int
    failed: int | None


class FailJob(NamedTuple):
    """A job is over without results: cancelled, or no worker could be started for it."""

    job: int
    cancelled: bool


class DiscardChunks(NamedTuple):
    """Let a worker skip the chunks of a job that it has not begun: the job is over."""

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
