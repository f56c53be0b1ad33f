"""The states of a worker, for the scheduler, and the transitions between them.

The states are plain numbers: the module `enum` takes as long to import as all modules that a first
call of pmap needs. A worker in `STOPPING` or a later state is leaving: it gets no more chunks.
"""

from typing import Final

STARTING: Final = 0  # the worker's process or thread is being started
IDLE: Final = 1  # the worker holds no chunks, and waits for work
BUSY: Final = 2  # the worker holds chunks
# The worker holds chunks, and was asked to give back the items it has not begun.
RECLAIMING: Final = 3
STOPPING: Final = 4  # the worker holds no chunks, and was told to end
OVERDUE: Final = 5  # an item runs for too long: the worker may write its stack before it is killed
KILLED: Final = 6  # the worker was killed

NAMES: Final = ("starting", "idle", "busy", "reclaiming", "stopping", "overdue", "killed")

STARTS: Final = {STARTING: "more work waits than there are workers for"}

# A worker may also end by itself in any state; then the scheduler forgets it.
TRANSITIONS: Final = {
    STARTING: {
        IDLE: "it is ready",
        STOPPING: "no more work comes",
        KILLED: "the pool is terminated",
    },
    IDLE: {
        BUSY: "a chunk is sent",
        STOPPING: "no more work comes, or it is replaced",
        KILLED: "the pool is terminated",
    },
    BUSY: {
        IDLE: "it has finished all",
        RECLAIMING: "an idle worker could run what waits, or what waits is not wanted",
        STOPPING: "it has finished all, and no more comes or it is replaced",
        OVERDUE: "an item runs for too long",
        KILLED: "what it runs is not wanted, or the pool is terminated",
    },
    # A worker that was asked for items answers before any other event, so only these two states can
    # follow.
    RECLAIMING: {BUSY: "it has given them back", OVERDUE: "an item runs for too long"},
    STOPPING: {KILLED: "the pool is terminated before it has ended"},
    OVERDUE: {},
    KILLED: {},
}
