"""The states of a stream of results, and the transitions between them.

The numbers grow along each transition. The consumer brings a stream into `OPEN` and `OVER`, and any
thread may close it meanwhile: whichever comes later, the greater number stays.
"""

from typing import Final

NEW: Final = 0  # no result was asked for
OPEN: Final = 1  # results come
CLOSED: Final = 2  # it was given up before its end
OVER: Final = 3  # the consumer has seen its end, or the error that ended it

NAMES: Final = ("new", "open", "closed", "over")
STARTS: Final = {NEW: "a call is made"}

TRANSITIONS: Final = {
    NEW: {OPEN: "a result is asked for", CLOSED: "it is closed"},
    OPEN: {
        CLOSED: "it is closed, dropped, or waiting for a result was interrupted",
        OVER: "there are no more results, or an error has ended it",
    },
    CLOSED: {OVER: "another thread has closed it while its consumer saw the end"},
    OVER: {},
}
