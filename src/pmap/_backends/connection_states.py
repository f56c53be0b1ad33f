"""The states of the connection to a worker, and from which to which it may go.

Plain numbers, as those of `pmap._scheduling.worker_states`.
"""

from typing import Final

STARTING: Final = 0  # the process was started; nothing has come from it
ANSWERED: Final = 1  # it is a Python and runs our code, but it cannot take chunks yet
READY: Final = 2  # it can take chunks
LEAVING: Final = 3  # it holds no chunk, and was told to end because the interpreter ends
FAILED: Final = 4  # it cannot be used, for a reason that is known; its process is about to end
HUNG_UP: Final = 5  # its socket is not read any more; its exit code may not be known yet

NAMES: Final = ("starting", "answered", "ready", "leaving", "failed", "hung_up")

STARTS: Final = {STARTING: "a process is started"}

# In any state the pool may drop a connection: its exit code is known, the program has closed its
# descriptors, or this process is a fork of the pool's.
TRANSITIONS: Final = {
    STARTING: {
        ANSWERED: "its first message came",
        FAILED: "no answer came in time, or something that is not a message",
        HUNG_UP: "its socket has ended",
    },
    ANSWERED: {
        READY: "it says that it is ready",
        FAILED: "its initializer failed, it ran the program again, or it wrote no message",
        HUNG_UP: "its socket has ended",
    },
    READY: {
        LEAVING: "the interpreter ends, and it holds no chunk",
        FAILED: "it wrote something that is not a message, or it closed its socket and lives on",
        HUNG_UP: "its socket has ended",
    },
    LEAVING: {
        FAILED: "it wrote something that is not a message, or it closed its socket and lives on",
        HUNG_UP: "its socket has ended",
    },
    FAILED: {HUNG_UP: "its socket has ended, or is not read to its end"},
    HUNG_UP: {},
}
