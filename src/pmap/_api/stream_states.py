"""The states of a stream of results, and the transitions between them.

Each transition leads to a state with a greater number. The consumer brings a stream into the states
`OPEN` and `OVER`, and any thread may close the stream at the same time. In whatever order these two
happen, the state with the greater number stays.
"""

from typing import Final

NEW: Final = 0  # the consumer of the stream has not asked for any result yet
OPEN: Final = 1  # the consumer of the stream has asked for a result
CLOSED: Final = 2  # the stream was given up before its end
OVER: Final = 3  # the consumer has seen the end of the stream, or the error that ended the stream

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
