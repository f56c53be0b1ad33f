"""The states of a worker, as far as the scheduler goes, and from which to which it may go.

Plain numbers: `enum` takes as long to import as all that a first call needs of this package. Those
from `STOPPING` on are of workers that take nothing more.
"""

from typing import Final

STARTING: Final = 0  # its process is being started
IDLE: Final = 1  # it holds nothing, and waits for work
BUSY: Final = 2  # it holds chunks
RECLAIMING: Final = 3  # it holds chunks, and gives those back that it has not begun
STOPPING: Final = 4  # it was told to end, and holds nothing
OVERDUE: Final = 5  # its item runs for too long: it may say where, and is killed then
KILLED: Final = 6  # it was killed

NAMES: Final = ("starting", "idle", "busy", "reclaiming", "stopping", "overdue", "killed")

# Any of them may also be gone from one moment to the next: then the scheduler forgets it.
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
        IDLE: "it is done with all",
        RECLAIMING: "an idle worker could run what waits, or nobody wants it",
        STOPPING: "it is done with all, and no more comes or it is replaced",
        OVERDUE: "an item runs for too long",
        KILLED: "nobody wants what it runs",
    },
    # The answer comes in the middle of the event for which it was asked.
    RECLAIMING: {BUSY: "it has given them back", OVERDUE: "an item runs for too long"},
    STOPPING: {KILLED: "the pool is terminated before it has ended"},
    OVERDUE: {},
    KILLED: {},
}
