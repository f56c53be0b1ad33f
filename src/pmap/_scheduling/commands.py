"""The commands of the scheduler: plain values that the engine carries out on the backend."""

from typing import NamedTuple, TypeAlias


class StartWorker(NamedTuple):
    """Start a worker.

    Later, the event `WorkerReady` tells the scheduler that the worker can take chunks; or the event
    `WorkerGone` tells it that the worker has ended before it was ready.
    """

    worker: int


class SendChunk(NamedTuple):
    """Send a chunk, the items `start` to `stop` - 1 of a job, to a worker.

    The worker runs this chunk after the chunks that it already holds. `step` is how many items of
    the chunk begin together: items behind these can be taken back until they begin. If `step` is 0,
    all items begin together.
    """

    worker: int
    job: int
    start: int
    stop: int
    step: int = 0


class StopWorker(NamedTuple):
    """Tell a worker that holds no chunks to end.

    The event `WorkerGone` tells the scheduler when the worker has ended.
    """

    worker: int


class KillWorker(NamedTuple):
    """Kill a worker, whatever it is doing.

    The event `WorkerGone` tells the scheduler when the worker has ended. If `gently` is true, the
    worker writes the stack of its item before it ends.
    """

    worker: int
    gently: bool = False


class CheckDeadline(NamedTuple):
    """Ask the backend at what time a worker has begun its present item.

    If the item has run for longer than `limit` seconds, the backend also keeps the worker from
    beginning another item. The event `ItemRuns` brings the answer to the scheduler at once.
    """

    worker: int
    limit: float


class ReclaimChunks(NamedTuple):
    """Take back from a worker all items that the worker has not begun: other workers can run them.

    The event `ChunksReclaimed` tells the scheduler at once which chunks the worker keeps.
    """

    worker: int


class RetryItem(NamedTuple):
    """Forget the error of a failed item, because the item will be run again."""

    job: int
    item: int


class LoseItem(NamedTuple):
    """Make the error of an item that was lost when its worker ended.

    If `overdue` is true, the worker was killed because the item ran for longer than its `timeout`.
    """

    job: int
    item: int
    worker: int
    overdue: bool = False


class FinishJob(NamedTuple):
    """End a job with the failure of the item `failed`, or, if `failed` is None, with all results.

    The caller gets the outcome from the engine.
    """

    job: int
    failed: int | None


class FinishCalls(NamedTuple):
    """End jobs of one item each with their results, as one `FinishJob` for each of them does."""

    jobs: list[int]


class FailJob(NamedTuple):
    """End a job without results.

    `cancelled` is true if the caller has cancelled the job, and false if no worker could be started
    for the job.
    """

    job: int
    cancelled: bool


class DiscardChunks(NamedTuple):
    """Let a worker skip those chunks of an ended job that the worker has not begun."""

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
    | FinishCalls
    | FailJob
    | DiscardChunks
)
