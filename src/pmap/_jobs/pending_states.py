"""The states of what is pending, and the transitions between them."""

from typing import Final

PENDING: Final = 0  # its outcome is not known
SETTLING: Final = 1  # its outcome is known, and a thread runs the callbacks: for it, it is over
SETTLED: Final = 2  # it is over for all threads

NAMES: Final = ("pending", "settling", "settled")
STARTS: Final = {PENDING: "a call is made"}

TRANSITIONS: Final = {
    PENDING: {
        SETTLING: "its outcome is known",
        SETTLED: "this process is a fork: no outcome comes here",
    },
    SETTLING: {SETTLED: "its callbacks have run, or an exception has struck in them"},
    SETTLED: {},
}
