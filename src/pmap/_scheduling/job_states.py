"""The states of a job, for the scheduler, and the transitions between them.

The states are plain numbers: the module `enum` takes as long to import as all modules that a first
call of pmap needs. A job in `FINISHED` or a later state is over: the scheduler forgets the job.
"""

from typing import Final

OPEN: Final = 0  # more input of the job may come
RUNNING: Final = 1  # all input of the job has come
# A worker was asked to give back all items of the job, because the job may be cancelled.
WITHDRAWING: Final = 2
FAILING: Final = 3  # an item has failed: no item behind the failed one is wanted
KILLING: Final = 4  # the job is cancelled, and workers that hold items of the job are being killed
FINISHED: Final = 5  # the job has all results, or all results in front of its first failure
CANCELLED: Final = 6  # the caller wants no result of the job
UNSTARTED: Final = 7  # no worker could be started for the job

NAMES: Final = (
    "open",
    "running",
    "withdrawing",
    "failing",
    "killing",
    "finished",
    "cancelled",
    "unstarted",
)
STARTS: Final = {OPEN: "its first items are submitted", RUNNING: "all its items are submitted"}

TRANSITIONS: Final = {
    OPEN: {
        RUNNING: "its input has ended",
        FAILING: "an item has failed",
        KILLING: "it is cancelled, and workers that hold items of it are killed",
        CANCELLED: "it is cancelled, and what runs is let run",
        UNSTARTED: "no worker can be started",
    },
    RUNNING: {
        WITHDRAWING: "it is withdrawn, and a worker holds items of it",
        FAILING: "an item has failed",
        KILLING: "it is cancelled, and workers that hold items of it are killed",
        FINISHED: "all items are finished",
        CANCELLED: "it is cancelled, and what runs is let run",
        UNSTARTED: "no worker can be started",
    },
    # The worker that was asked to give back items answers before any other event comes, so only
    # these states can follow.
    WITHDRAWING: {
        RUNNING: "the worker has begun some of it",
        CANCELLED: "the worker gave all of it back",
    },
    FAILING: {
        KILLING: "it is cancelled, and workers that hold items of it are killed",
        FINISHED: "all items before the failed one are finished",
        CANCELLED: "it is cancelled, and what runs is let run",
        UNSTARTED: "no worker can be started",
    },
    KILLING: {CANCELLED: "these workers are gone, or what runs is let run after all"},
    FINISHED: {},
    CANCELLED: {},
    UNSTARTED: {},
}
