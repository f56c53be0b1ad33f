"""The states of the caller's connection to a worker process, and the allowed transitions.

The states are plain numbers, because the module `enum` takes long to import.
"""

from typing import Final

# The worker process was started, and has not sent any message yet.
STARTING: Final = 0
# The worker process has told the caller that it runs pmap's code, but it cannot take chunks yet.
ANSWERED: Final = 1
# The worker has started, and can take chunks of items.
READY: Final = 2
# The worker holds no chunk, and was told to end because the caller's interpreter is ending.
LEAVING: Final = 3
# The worker cannot be used. The reason is known, and the process is about to end.
FAILED: Final = 4
# The caller does not read the worker's socket any more; the exit code of the process may not be
# known yet.
HUNG_UP: Final = 5

NAMES: Final = ("starting", "answered", "ready", "leaving", "failed", "hung_up")

STARTS: Final = {STARTING: "a process is started"}

# From each state, the states that may follow, each with the reason for the transition. In any state
# the pool may also drop a connection: because it knows the exit code of the worker process, because
# the program has closed the descriptors of the connection, or because this process is a fork of the
# caller.
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
