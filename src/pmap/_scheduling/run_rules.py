"""The rules of a call: how its items run, as one value for scheduler, engine and workers."""

from typing import NamedTuple


class RunRules(NamedTuple):
    """How the items of a call run; all calls of one verb with the same settings share one object.

    The scheduler reads the fields down to `at_once`; other parts of pmap read the other fields.
    Workers get the values that `for_worker` returns.

    Attributes:
        chunksize: how many items are in a chunk; None: pmap chooses by the measured cost.
        collect: whether failures are collected as values; then a failed item does not end the call.
        stop: whether a failed item ends later items that run already: their workers are killed, and
            the call waits until they have ended.
        timeout: seconds that an item may run; None: there is no limit.
        retries: seconds to wait before each further try of an item that may be tried again.
        retry_lost: whether an item that was lost with its worker may be tried again.
        retry_overdue: whether an item that ran for too long may be tried again.
        at_once: whether all items of a chunk begin together, so that none can be taken back.
        kill: whether a cancelled call kills the workers that run its items.
        retry_on: the types of errors after which there is another try.
        functions_by_value: whether a function that is a result may be sent by value.
        seed: the seed of the random numbers of each item; None if pmap seeds no random generator.
        keep_input: whether a failure that is a value also holds the input of the failed item.
        logs: whether logging records in the workers go to the caller's loggers.
        deadline: seconds that the whole call may take; None: there is no limit.
        until: the time at which the deadline is over, by `time.monotonic`; None: there is no
            deadline.
        times: whether workers note when each item begins and ends.
        trace_as_text: whether an exception gets the worker's traceback as a text in its
            ``__cause__``, as with the pools of the standard library. Otherwise the worker's
            traceback becomes the traceback of the exception.
    """

    chunksize: int | None = None
    collect: bool = False
    stop: bool = False
    timeout: float | None = None
    retries: tuple[float, ...] = ()
    retry_lost: bool = True
    retry_overdue: bool = True
    at_once: bool = False
    kill: bool = True
    retry_on: tuple[type[Exception], ...] = ()
    functions_by_value: bool = True
    seed: int | None = None
    keep_input: bool = False
    logs: bool = True
    deadline: float | None = None
    until: float | None = None
    times: bool = False
    trace_as_text: bool = False

    def for_worker(
        self,
    ) -> tuple[bool, bool, bool, float | None, int | None, bool, *tuple[bool, ...]]:
        """Return those rules that a worker needs, in the order of the fields of `ReceivedSpec`."""
        by_value = self.functions_by_value
        rules = not self.collect, by_value, self.at_once, self.timeout, self.seed, self.logs
        return (*rules, True) if self.times else rules
