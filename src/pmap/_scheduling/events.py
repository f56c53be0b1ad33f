"""The events of the scheduler: plain values that tell the scheduler what happened.

The scheduler answers an event with commands (see the module `commands`).
"""

from collections.abc import Hashable
from typing import NamedTuple, TypeAlias

from .run_rules import RunRules


class JobSubmitted(NamedTuple):
    """The caller submits a job with the items 0 to `size` - 1.

    `open`: more items may come later, with the event `InputArrived`. `like`: jobs whose `like` is
    equal share one measurement of how long an item takes; None: the job measures for itself.
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
    """More items have come for a job whose input comes bit by bit: `items` of them."""

    job: int
    items: int


class InputEnded(NamedTuple):
    """The input of a job that comes bit by bit has ended."""

    job: int


class ItemsSorted(NamedTuple):
    """The caller has found out, from its checkpoint file, which items of a job are to be run.

    All items of such a job come with this event, and not with `InputArrived`.

    Attributes:
        job: the number of the job.
        items: how many more items the job has; most often those that this event is about.
        run: ranges of items that are to be run, each from its start to before its end.
        held: items that wait, because another process may be running them; a later event of this
            kind decides about them.
        decided: items that waited, and wait no more.
        failed: the first item that is known to have failed; None: no item is.
    """

    job: int
    items: int
    run: tuple[tuple[int, int], ...] = ()
    held: tuple[int, ...] = ()
    decided: tuple[int, ...] = ()
    failed: int | None = None


class JobCancelled(NamedTuple):
    """The caller wants no more results of a job: its items that have not begun are dropped.

    `kill`: workers that run items of the job are killed; else these items run to their end, and
    their results are dropped.
    """

    job: int
    kill: bool = True


class JobWithdrawn(NamedTuple):
    """The caller cancels a job if none of its items has begun; else the job goes on.

    The scheduler may have to ask a worker with `ReclaimChunks` whether it has begun; the decision
    then comes with the answer, `ChunksReclaimed`.
    """

    job: int


class Prestart(NamedTuple):
    """The caller wants all workers started now rather than at need."""


class Retire(NamedTuple):
    """Every worker without work is to stop; workers are started again for the next job.

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


class CapacityChanged(NamedTuple):
    """The place where workers are has changed, or more is known of it.

    `limit`: how many workers there may be from now on. Workers beyond it stay until they are
    stopped for another reason. `overhead`: the seconds that a chunk takes beside its items.
    """

    limit: int
    overhead: float = 0.0


class WorkerReady(NamedTuple):
    """A started worker can take chunks.

    `can_reclaim_chunks`: chunks that the worker has not begun can be taken back from it.
    `can_reclaim_items`: so can the items not yet begun of a chunk that has begun.
    """

    worker: int
    can_reclaim_chunks: bool = True
    can_reclaim_items: bool = False


class ItemsFinished(NamedTuple):
    """The next `items` items of a worker's first chunk are finished; some may have failed.

    `failed`: the failed ones, as indices into the job's input. `last`: the worker is done with the
    chunk, even if the worker left items of the chunk out. `elapsed`: seconds for the whole chunk,
    valid with `last`. `again`: the indices in `failed` of items that may be tried again. `replace`:
    the worker is to be replaced. `size`: bytes of the items and results of the whole chunk, valid
    with `last`.
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
    """The time has come for which the scheduler has set its alarm."""


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
    """Tells when a worker began its present item, in answer to the command `CheckDeadline`.

    `since`: a time; None if the chunk has not begun. `held`: the item has run for longer than its
    `timeout`, and the worker will not begin another item.
    """

    worker: int
    since: float | None
    held: bool


class WorkerGone(NamedTuple):
    """A worker has ended, by whatever cause.

    `begun`: how many unfinished items of its first chunk the worker had begun; these items are
    lost. `hopeless`: it could not start, for a reason that would also stop every other worker.
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
    | CapacityChanged
    | WorkerReady
    | ItemRuns
    | ChunksReclaimed
    | ItemsFinished
    | WorkerGone
)
