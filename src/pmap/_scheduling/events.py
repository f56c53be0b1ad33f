"""What the scheduler is told: events, all plain values. What it answers is in `commands`."""

from collections.abc import Hashable
from typing import NamedTuple, TypeAlias

from .run_rules import RunRules


class JobSubmitted(NamedTuple):
    """The caller wants items 0 to size - 1 of a function run.

    `open`: these are only the first items, and `InputArrived` brings more. `like`: jobs for which
    it is equal share the measured cost of an item; None: it shares that with no other job.
    """

    job: int
    size: int
    rules: RunRules
    open: bool = False
    like: Hashable = None


class InputArrived(NamedTuple):
    """An open job has `items` more items."""

    job: int
    items: int


class InputEnded(NamedTuple):
    """No more items come for an open job."""

    job: int


class JobCancelled(NamedTuple):
    """The caller wants no more results of a job: what waits is dropped.

    `kill`: workers that run its items are killed; else these items run to their end, and their
    results are dropped.
    """

    job: int
    kill: bool = True


class JobWithdrawn(NamedTuple):
    """The caller cancels a job if none of its items has begun; else the job goes on.

    When this event and the answers to its questions are handled, it is decided.
    """

    job: int


class Prestart(NamedTuple):
    """Start all workers now rather than at need."""


class Retire(NamedTuple):
    """Stop every worker that holds nothing; new ones start when there is work again.

    If there is no job, a worker that still runs unwanted items is stopped when it is done.
    """


class Renew(NamedTuple):
    """Replace every worker; one that holds chunks when it has finished what it has begun."""


class Close(NamedTuple):
    """No more jobs will come: workers are stopped as soon as there is no work for them."""


class Terminate(NamedTuple):
    """End everything now: every worker is killed, and every job cancelled.

    `lose`: what runs is lost with its worker instead, and only what has not begun is cancelled.
    """

    lose: bool = False


class WorkerReady(NamedTuple):
    """A started worker can take work.

    `can_reclaim_chunks`: chunks that have not begun can be reclaimed at any moment.
    `can_reclaim_items`: so can the items of a chunk that have not begun.
    """

    worker: int
    can_reclaim_chunks: bool = True
    can_reclaim_items: bool = False


class ItemsFinished(NamedTuple):
    """The next `items` items of a worker's first chunk are finished, `failed` among them.

    `failed` holds indices of the job's input. `last`: the worker is done with the chunk, also when
    it left items of it out. `elapsed`: seconds for the whole chunk, with `last`. `again`: those
    among the failed that may be tried again. `replace`: the worker is to be replaced. `size`: bytes
    that the whole chunk took, there and back, with `last`.
    """

    worker: int
    items: int
    failed: tuple[int, ...]
    elapsed: float
    last: bool
    again: frozenset[int] = frozenset()
    replace: bool = False
    size: int = 0


class Tick(NamedTuple):
    """Time has passed."""


class ChunksReclaimed(NamedTuple):
    """A worker holds only its first `kept` chunks any more: the others are as if never sent.

    It has finished the kept ones but the last, and `ItemsFinished` for them comes later. Of the
    last it holds the first `items` only; None: all.
    """

    worker: int
    kept: int
    items: int | None = None


class ItemRuns(NamedTuple):
    """The answer to `CheckDeadline`: since when a worker runs its present item.

    `since`: None if the chunk has not begun. `held`: it ran for longer than it may, and the worker
    will not begin another one.
    """

    worker: int
    since: float | None
    held: bool


class WorkerGone(NamedTuple):
    """A worker is no more, by whatever cause.

    `begun`: how many unfinished items of its first chunk it had begun; they are lost. `hopeless`:
    it could not start, and no other one could.
    """

    worker: int
    begun: int
    hopeless: bool = False


Event: TypeAlias = (
    JobSubmitted
    | InputArrived
    | InputEnded
    | JobCancelled
    | JobWithdrawn
    | Prestart
    | Retire
    | Renew
    | Close
    | Terminate
    | Tick
    | WorkerReady
    | ItemRuns
    | ChunksReclaimed
    | ItemsFinished
    | WorkerGone
)
