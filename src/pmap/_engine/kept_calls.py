"""Calls with a checkpoint: items whose results are in the checkpoint file do not run."""

from typing import TYPE_CHECKING

from .._jobs.job import Job
from .._scheduling import events as e
from .state import EngineState

if TYPE_CHECKING:
    from .._calls.kept import Keeping, Sorted


def begin_keeping(job: Job, state: EngineState) -> "Keeping | None":
    """Open the checkpoint file in which the results of a call are kept.

    Return None if the call has no checkpoint.

    Raises:
        CheckpointError: the file cannot be used, or the function cannot be distinguished from
            others.
    """
    call = job.call
    if call.keeper is None:
        return None

    def decide(given: "Sorted") -> None:
        state.post(lambda: sort_in(state, job, 0, given))
        # A consumer of a stream may be waiting in the engine's loop for events of the backend, so
        # it is woken.
        state.backend.wake()

    return call.keeper.begin(
        call.verb,
        job.function_name,
        (call.function, int(call.kind)),
        call.rules.seed,
        decide,
        state.backend.runs_in_poll,
    )


def sort_in(state: EngineState, job: Job, items: int, given: "Sorted") -> None:
    """Queue those items of a job that have to run, because its checkpoint does not have them.

    `given` tells which items these are; `items` is how many new items the input has. The calling
    thread holds the engine's lock.
    """
    if job.number not in state.jobs:
        return
    for found in given.found:
        job.take_found(found)
    failed = [found.start + min(found.failures) for found in given.found if found.failures]
    first = min(failed, default=None)
    state.handle(e.ItemsSorted(job.number, items, given.run, given.held, given.decided, first))
    if given.held and job.keeping is not None:
        job.keeping.hold(given.held)


def submit_kept(job: Job, state: EngineState) -> None:
    """Submit a call; its checkpoint may have the outcomes of some of its items already.

    Raises:
        CheckpointError: the file cannot be used, or the function cannot be distinguished from
            others.
    """
    keeping = begin_keeping(job, state)
    assert keeping is not None, "the call has a checkpoint"
    items = job.call.items
    try:
        given = keeping.sort(items)
    except BaseException:
        # Any exception, even Ctrl-C, ends the call. The items that the call has claimed in the file
        # are given up, so that other processes can run them.
        keeping.end(lambda _: None)
        raise
    job.keeping = keeping

    def submit() -> None:
        state.submit(job, open=True)
        sort_in(state, job, len(items), given)
        state.handle(e.InputEnded(job.number))

    state.inbox.append(submit)
    state.enter()
