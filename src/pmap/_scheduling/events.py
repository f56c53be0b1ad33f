"""The events of the scheduler: plain values that tell the scheduler what happened.

The scheduler answers an event with the commands in the module `commands`.
"""

from collections.abc import Hashable
from typing import NamedTuple, TypeAlias

from .run_rules import RunRules


class JobSubmitted(NamedTuple):
    """The caller submits a job with the items 0 to `size` - 1.

    `open`: more items may come later, with the event `InputArrived`. `like`: jobs whose `like` is
    equal share the measured cost of an item; None: the job shares that cost with no other job.
    `function`: jobs whose `function` is equal run the same function, so the last such job tells
    whether this job will be short; None: nothing is known of the function.
    """

    job: int
    size: int
    rules: RunRules
    open: bool = False
    like: Hashable = None
    function: Hashable = None


class InputArrived(NamedTuple):
    """An open job has `items` more items."""

    job: int
    items: int


class InputEnded(NamedTuple):
    """No more items come for an open job."""

    job: int


class ItemsSorted(NamedTuple):
    """The caller has found out which items of an open or running job are to be run.

    All items of such a job come with this event, and not with `InputArrived`.

    Attributes:
        job: the number of the job.
        items: how many more items the job has; most often those that this event is about.
        run: ranges of items that are to be run: start, and the index behind the last.
        held: items that are not run before another such event names them.
        decided: items that were held, and are held no more.
        failed: the first item that is known to have failed; None: no item is.
    """

    job: int
    items: int
    run: tuple[tuple[int, int], ...] = ()
    held: tuple[int, ...] = ()
    decided: tuple[int, ...] = ()
    failed: int | None = None


class JobCancelled(NamedTuple):
    """The caller wants no more results of a job: items that have not begun are dropped.

    `kill`: workers that run items of the job are killed; else these items run to their end, and
    their results are dropped.
    """

    job: int
    kill: bool = True


class JobWithdrawn(NamedTuple):
    """The caller cancels a job if none of its items has begun; else the job goes on.

    The job is cancelled, or known to go on, when the scheduler has handled this event and the event
    `ChunksReclaimed` that may answer its command `ReclaimChunks`.
    """

    job: int


class Prestart(NamedTuple):
    """The caller wants all workers started now rather than at need."""


class Retire(NamedTuple):
    """Every worker that holds no chunks is to stop; workers are started again for the next job.

    If there is no job, a worker that still runs unwanted items is stopped when these have ended.
    """


class Renew(NamedTuple):
    """Every worker is to be replaced.

    A worker that holds chunks is replaced when it has finished the items that it has begun.
    """


class Close(NamedTuple):
    """No more jobs will come: all workers are stopped as soon as all jobs are over."""


class Terminate(NamedTuple):
    """The pool is to end now: every worker is killed, and every job is cancelled.

    `lose`: items that run are lost with their workers instead, and a job is cancelled only when no
    worker holds chunks of the job.
    """

    lose: bool = False


class WorkerReady(NamedTuple):
    """A started worker can take chunks.

    `can_reclaim_chunks`: chunks that the worker has not begun can be reclaimed at any moment.
    `can_reclaim_items`: items that have not begun can be reclaimed also from a chunk that has.
    """

    worker: int
    can_reclaim_chunks: bool = True
    can_reclaim_items: bool = False


class ItemsFinished(NamedTuple):
    """The next `items` items of a worker's first chunk are finished, `failed` among them.

    `failed`: indices into the job's input. `last`: the worker is done with the chunk, even if the
    worker left items of the chunk out. `elapsed`: seconds for the whole chunk, valid with `last`.
    `again`: the indices in `failed` of items that may be tried again. `replace`: the worker is to
    be replaced. `size`: bytes of the items and results of the whole chunk, valid with `last`.
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
    """The time has come at which the scheduler wanted to be told: see `Scheduler.alarm`."""


class ChunksReclaimed(NamedTuple):
    """A worker has given chunks back, in answer to the command `ReclaimChunks`.

    The worker keeps only its first `kept` chunks: the other chunks are as if never sent. It has
    finished all kept chunks but the last, and the events `ItemsFinished` for these come later. Of
    the last kept chunk the worker holds the first `items` items only; None: all items.
    """

    worker: int
    kept: int
    items: int | None = None


class ItemRuns(NamedTuple):
    """Since when a worker runs its present item, in answer to the command `CheckDeadline`.

    `since`: a time; None if the chunk has not begun. `held`: the item has run for longer than its
    `timeout`, and the worker will not begin another item.
    """

    worker: int
    since: float | None
    held: bool


class WorkerGone(NamedTuple):
    """A worker has ended, by whatever cause.

    `begun`: how many unfinished items of its first chunk the worker had begun; these items are
    lost. `hopeless`: the worker could not start, and no other worker could start either.
    """

    worker: int
    begun: int
    hopeless: bool = False


Event: TypeAlias = (
    JobSubmitted
    | InputArrived
    | ItemsSorted
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
