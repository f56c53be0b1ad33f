"""Running items in this very process: shared by the threads and the serial backend."""

import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from .._calls.call import Kind
from .._errors import is_ctrl_c
from .._jobs.item_errors import INITIALIZER, settle
from .._jobs.work import Work, as_call
from .._transport.process_role import item_threads
from .._transport.randomness import put_back, seeded, take_state
from .protocol import ResultsArrived


def initialize(
    initializer: Callable[..., object] | None, initargs: tuple[object, ...]
) -> tuple[str, Exception] | None:
    """Call the initializer; return why no worker can start, and its error; None: one can."""
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            cause = settle(error, INITIALIZER)
            return f"the initializer raised {type(cause).__name__}: {cause}", cause
    return None


def run_chunk(
    worker: int,
    work: Work,
    start: int,
    items: Sequence[object],
    go_on: Callable[[], bool],
    values: list[object],
) -> ResultsArrived:
    """Run `items`, the first being that at `start`, until one fails if that ends the job.

    Or until `go_on` says no. Results are put into `values`, which is empty.
    """
    failures: dict[int, Exception] = {}
    begin = perf_counter()
    item_threads.depth = getattr(item_threads, "depth", 0) + 1
    try:
        for index, item in enumerate(items, start):
            try:
                values.append(_run(work, index, item))
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                failures[len(values)] = settle(error, work.described(index, item))
                values.append(None)
                if not work.call.rules.collect:
                    break
            if not go_on():
                break
    finally:
        item_threads.depth -= 1
    return ResultsArrived(worker, work, start, values, failures, True, perf_counter() - begin)


def _run(work: Work, index: int, item: object) -> object:
    assert work.home is not None, "it was packed, for another process"
    caller, context = work.home
    if threading.current_thread() is caller:
        return _call(work, index, item)
    # A copy for each item: what one sets, the next does not see, and a context cannot be entered
    # by two threads at a time.
    return context.copy().run(_call, work, index, item)


# Held by an item of a call with a seed: what it draws from is the process's own. Nested calls have
# items within items.
_generators = threading.RLock()


def _call(work: Work, index: int, item: object) -> object:
    seed = work.call.rules.seed
    if seed is None:
        return _call_function(work, item)
    with _generators:
        state = take_state()
        try:
            return seeded(seed, index, lambda: _call_function(work, item))
        finally:
            put_back(state)


def _call_function(work: Work, item: object) -> object:
    function = work.call.function
    if work.call.kind is Kind.EACH:
        return function(item)
    if work.call.kind is Kind.STAR:
        row: Any = item  # one that is no row is the item's TypeError
        return function(*row)
    args, kwargs = as_call(item)
    return function(*args, **kwargs)
