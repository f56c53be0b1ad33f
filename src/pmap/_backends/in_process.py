"""Runs items in the caller's process, for the threads backend and the serial backend."""

import threading
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from time import perf_counter
from typing import Any

from .._calls.call import Kind
from .._errors import is_ctrl_c
from .._jobs.item_errors import INITIALIZER, settle
from .._jobs.work import Work, as_call
from .._transport.own_frames import without_own_frames
from .._transport.process_role import item_threads
from .._transport.randomness import put_back, seeded, take_state
from .protocol import ResultsArrived


def initialize(
    initializer: Callable[..., object] | None, initargs: tuple[object, ...]
) -> tuple[str, Exception] | None:
    """Call the initializer of a pool, if there is one.

    If the initializer has returned, workers can start, and this function returns None. Otherwise it
    returns the reason why no worker can start, in words, and the exception of the initializer.
    """
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
    """Run the items of a chunk one after the other; return the event with their results.

    If an item fails and the call ends at its first failure, or if `go_on` returns False after an
    item, the later items do not run.

    Args:
        worker: the number of the worker that runs the chunk.
        work: the call that the items belong to.
        start: the index of the first item in the call.
        items: the arguments of the items.
        go_on: a function that returns, after each item, whether the next item has to run.
        values: an empty list; when an item has ended, the list gets its result, or None if the item
            has failed.
    """
    failures: dict[int, Exception] = {}
    times: list[float] = []
    # Attributes that all threads use are read once per chunk, and not for each item. Without the
    # GIL, each use of an object by several threads changes its reference count, for which they take
    # turns.
    context, run = _context_for(work, len(items)), _unusual(work, times)
    function: Callable[..., object] = work.call.function
    collect = work.call.rules.collect
    begin = perf_counter()
    item_threads.depth = getattr(item_threads, "depth", 0) + 1
    try:
        for index, item in enumerate(items, start):
            try:
                # Each item gets a copy of the caller's context: no item sees a context variable
                # that another item has set, and two threads cannot enter one context at the same
                # time.
                if context is None:
                    values.append(function(item) if run is None else run(index, item))
                elif run is None:
                    values.append(context.copy().run(function, item))
                else:
                    values.append(context.copy().run(run, index, item))
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                failures[len(values)] = _settled(error, work, index, item)
                values.append(None)
                if not collect:
                    break
            if not go_on():
                break
    finally:
        item_threads.depth -= 1
    end = perf_counter()
    finished = ResultsArrived(worker, work, start, values, failures, True, end - begin)
    return finished if work.call.trace is None else finished._replace(times=[begin, end, *times])


def _context_for(work: Work, items: int) -> Context | None:
    """Return the context of which each item gets a copy; None in the caller's own thread."""
    assert work.home is not None, "it was packed, for another process"
    caller, context = work.home
    if threading.current_thread() is caller:
        return None
    # This thread makes its own copy, so that copies of it do not touch the caller's context.
    return context if items == 1 else context.copy()


def _unusual(work: Work, times: list[float]) -> Callable[[int, object], object] | None:
    """Return a function that runs an item and takes its index, too, if the call needs one.

    Return None if the item is the only argument of the user's function.
    """
    call = work.call
    if call.kind is Kind.EACH and call.rules.seed is None and call.trace is None:
        return None
    run = partial(_call, call.function, call.kind, call.rules.seed)
    return run if call.trace is None else partial(_run_timed, times, run)


def _run_timed(
    times: list[float], run: Callable[[int, object], object], index: int, item: object
) -> object:
    times.append(perf_counter())
    try:
        return run(index, item)
    finally:
        times.append(perf_counter())


def _settled(error: BaseException, work: Work, index: int, item: object) -> Exception:
    settled = settle(error, work.described(index, item))
    if isinstance(error, TypeError) and without_own_frames(error.__traceback__) is None:
        from .._jobs.wrong_arguments import note_wrong_arguments

        note_wrong_arguments(error, work, item)
    return settled


# While an item of a call with a seed runs, its thread holds this lock, because all threads share
# the random generators. The lock is reentrant, because an item may itself make a call whose items
# run in the same thread.
_generators = threading.RLock()


def _call(
    function: Callable[..., object], kind: Kind, seed: int | None, index: int, item: object
) -> object:
    if seed is None:
        return _call_function(function, kind, item)
    with _generators:
        state = take_state()
        try:
            return seeded(seed, index, lambda: _call_function(function, kind, item))
        finally:
            put_back(state)


def _call_function(function: Callable[..., object], kind: Kind, item: object) -> object:
    if kind is Kind.EACH:
        return function(item)
    if kind is Kind.STAR:
        # If the arguments in this row cannot be unpacked, the TypeError is the failure of the item.
        row: Any = item
        return function(*row)
    args, kwargs = as_call(item)
    return function(*args, **kwargs)
