"""The rules of a call: how its items run, as one value for scheduler, engine and workers."""

from typing import NamedTuple


class RunRules(NamedTuple):
    """How the items of a call run; all calls of one verb with the same settings share one object.

    The scheduler reads the fields down to `at_once`; the others are for the rest of pmap. Workers
    get the values that `for_worker` returns.

    Attributes:
        chunksize: how many items are in a chunk; None: pmap chooses by the measured cost.
        collect: failures are values, and a failed item does not end the call.
        stop: when an item has failed, later items that run already are ended by killing their
            workers, and the call waits until they are gone.
        timeout: seconds that an item may run; None: as long as the item takes.
        retries: seconds to wait before each further try of an item that may be tried again.
        retry_lost: an item that was lost with its worker may be tried again.
        retry_overdue: an item that took too long may be tried again.
        at_once: all items of a chunk begin together when the chunk does, so none can be taken back.
        kill: when the call is cancelled, items that run are ended by killing their workers.
        retry_on: the types of errors after which there is another try.
        functions_by_value: a function that is a result may be sent by value.
        seed: makes the random numbers of each item; None: pmap seeds no random generator.
        keep_input: a failure that is a value also holds the input of the failed item.
        logs: logging records in the workers are passed on to the caller's loggers.
        deadline: seconds that the whole call may take; None: as long as the call takes.
        until: when these seconds are over, by `time.monotonic`; None: there is no deadline.
        times: the workers note when each item begins and ends.
        trace_as_text: an exception has the worker's traceback as a text in its ``__cause__``, as
            with the pools of the standard library; else as its own traceback.
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
