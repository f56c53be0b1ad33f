"""The events of the scheduler: plain values that tell the scheduler what happened.

The scheduler answers an event with commands (see the module `commands`).
"""

from collections.abc import Hashable
from typing import NamedTuple, TypeAlias

from .run_rules import RunRules


class JobSubmitted(NamedTuple):
    """The caller submits a job with the items 0 to `size` - 1.

    `open`: more items may come later, with the event `InputArrived`. `like`: jobs whose `like` is
    equal share one measurement of how long an item takes; None: the items of this job are measured
    separately. `function`: jobs whose `function` is equal run the same function, so the cost of the
    last such job predicts whether this job will be short; None: nothing is known of the function.
    """

    job: int
    size: int
    rules: RunRules
    open: bool = False
    like: Hashable = None
    function: Hashable = None


class CallsSubmitted(NamedTuple):
    """The caller submits several jobs of one item each, with the same rules, such as a timeout.

    The event means the same as one `JobSubmitted` for each number in `jobs`, in their order.
    """

    jobs: tuple[int, ...]
    rules: RunRules
    like: Hashable = None


class InputArrived(NamedTuple):
    """More items have come for a job whose input comes bit by bit; `items` says how many."""

    job: int
    items: int


class InputEnded(NamedTuple):
    """The input of a job that comes bit by bit has ended."""

    job: int


class ItemsSorted(NamedTuple):
    """The caller has found out from its checkpoint file which items of a job have to run.

    All items of such a job come with this event, and not with `InputArrived`.

    Attributes:
        job: the number of the job.
        items: how many more items the job has; most often this event is about the same items.
        run: ranges of items that have to run; a range is its first index and the index behind its
            last.
        held: items that have to wait, because another process may be running them; a later event of
            this type decides about them.
        decided: items that had to wait, and about which this event decides.
        failed: the index of the first item that is known to have failed; None if there is none.
    """

    job: int
    items: int
    run: tuple[tuple[int, int], ...] = ()
    held: tuple[int, ...] = ()
    decided: tuple[int, ...] = ()
    failed: int | None = None


class JobCancelled(NamedTuple):
    """The caller wants no more results of a job, so items of the job that have not begun never run.

    If `kill` is true, the workers that run items of the job are killed. Otherwise these items run
    to their end, and the engine drops their results.
    """

    job: int
    kill: bool = True


class JobWithdrawn(NamedTuple):
    """The caller cancels a job, unless an item of the job has begun: then the job goes on.

    The scheduler may have to ask a worker with `ReclaimChunks` which items the worker has begun.
    Then the event `ChunksReclaimed`, which is the answer, decides whether the job is cancelled.
    """

    job: int


class Prestart(NamedTuple):
    """The caller wants all workers to be started now, and not only when there is work for them."""


class Retire(NamedTuple):
    """Every worker without work is to end; new workers are started for the next job.

    If there is no job, but a worker still runs items that nobody wants any more, the worker is
    stopped when these items have ended.
    """


class Renew(NamedTuple):
    """Every worker is to be replaced.

    If a worker holds chunks, it first finishes the items that it has begun.
    """


class Close(NamedTuple):
    """No more jobs will come: each worker is stopped as soon as all jobs are over."""


class Terminate(NamedTuple):
    """The pool is to end now: every worker is killed, and every job is cancelled.

    If `lose` is true, items that are running count as lost with their workers, and a job is
    cancelled only when no worker holds chunks of the job.
    """

    lose: bool = False


class CapacityChanged(NamedTuple):
    """The limit of workers has changed, or the overhead of a chunk has become known.

    An executor or cluster of the program, on which workers run, tells both. `limit`: how many
    workers there may be from now on. Workers beyond the limit stay until they are stopped for
    another reason. `overhead`: the seconds that a chunk takes beside those of its items.
    """

    limit: int
    overhead: float = 0.0


class WorkerReady(NamedTuple):
    """A started worker can take chunks.

    `can_reclaim_chunks`: chunks that the worker has not begun can be taken back from it.
    `can_reclaim_items`: in a chunk that the worker has begun, the items that it has not begun can
    be taken back, too.
    `one_ahead`: the worker is to hold one chunk more than the one that runs, if these are short.
    """

    worker: int
    can_reclaim_chunks: bool = True
    can_reclaim_items: bool = False
    one_ahead: bool = False


class ItemsFinished(NamedTuple):
    """The next `items` items of a worker's first chunk are finished; some may have failed.

    `failed`: the indices of the failed items in the job's input. `last`: the worker has done with
    the chunk, even if it has left out some items of the chunk. `elapsed`: seconds for the whole
    chunk, valid with `last`. `again`: the indices in `failed` of items that may be tried again.
    `replace`: the worker is to be replaced. `size`: bytes of the items and results of the whole
    chunk, valid with `last`.
    """

    worker: int
    items: int
    failed: tuple[int, ...]
    elapsed: float
    last: bool
    again: frozenset[int] = frozenset()
    replace: bool = False
    size: int = 0


class CallsFinished(NamedTuple):
    """The first `chunks` chunks of a worker are finished; each is the one item of its job.

    The event means the same as one `ItemsFinished` for each of them, with `last` and without a
    failure. `elapsed` and `size`: the seconds and the bytes of all these chunks together.
    """

    worker: int
    chunks: int
    elapsed: float
    size: int


class Tick(NamedTuple):
    """The time has come at which the scheduler wanted to be called, its `alarm`."""


class ChunksReclaimed(NamedTuple):
    """A worker has given chunks back: this is the answer to the command `ReclaimChunks`.

    The worker keeps only its first `kept` chunks: the scheduler can send the others again, as if it
    had never sent them. The worker has finished all kept chunks but the last, and the events
    `ItemsFinished` of these chunks come later. Of the last kept chunk the worker holds the first
    `items` items only; None: all items.
    """

    worker: int
    kept: int
    items: int | None = None


class ItemRuns(NamedTuple):
    """Tells when a worker has begun its present item; this answers the command `CheckDeadline`.

    `since` is the time; it is None if the chunk has not begun. `held` is true if the item has run
    for longer than its `timeout`: then the worker will not begin another item.
    """

    worker: int
    since: float | None
    held: bool


class WorkerGone(NamedTuple):
    """A worker has ended, for whatever reason.

    `begun`: how many items of its first chunk the worker had begun and not finished; these items
    are lost. `hopeless`: the worker could not start, for a reason that would stop every other
    worker, too.
    """

    worker: int
    begun: int
    hopeless: bool = False


Event: TypeAlias = (
    JobSubmitted
    | CallsSubmitted
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
    | CallsFinished
    | WorkerGone
)
