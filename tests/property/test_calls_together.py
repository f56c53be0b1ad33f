"""Calls of one item that are submitted, and finished, many in one event."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.scheduling.events_and_commands import QUICK, pool, tell

from pmap._scheduling.commands import (
    Command,
    FailJob,
    FinishCalls,
    FinishJob,
    ReclaimChunks,
    SendChunk,
    StartWorker,
)
from pmap._scheduling.events import (
    CallsFinished,
    CallsSubmitted,
    ChunksReclaimed,
    Close,
    Event,
    ItemsFinished,
    JobCancelled,
    JobSubmitted,
    JobWithdrawn,
    WorkerReady,
)
from pmap._scheduling.run_rules import RunRules
from pmap._scheduling.scheduler import Scheduler

RULES = RunRules(stop=True)


def answered(scheduler: Scheduler, event: Event) -> list[Command]:
    """Return all commands. A worker that is to give chunks back says that it has begun them all."""
    commands = tell(scheduler, event)
    if any(isinstance(command, ReclaimChunks) for command in commands):
        holds = sum(1 for job in (*range(60), 1030) if scheduler.where(job))
        commands += tell(scheduler, ChunksReclaimed(0, holds))
    return commands


def one_by_one(scheduler: Scheduler, worker: int, count: int) -> list[Command]:
    """Tell of the end of some calls in one event each; return all commands."""
    event = ItemsFinished(worker, 1, (), QUICK, last=True, size=10)
    return [command for _ in range(count) for command in answered(scheduler, event)]


def together(scheduler: Scheduler, worker: int, count: int) -> list[Command]:
    """Tell of the end of some calls in one event; return the commands."""
    return answered(scheduler, CallsFinished(worker, count, count * QUICK, 10 * count))


def outcome(commands: list[Command]) -> tuple[list[int], list[int]]:
    """Return the numbers of the jobs that are finished, and of those that are cancelled."""
    finished: list[int] = []
    for command in commands:
        if isinstance(command, FinishJob):
            assert command.failed is None
            finished.append(command.job)
        elif isinstance(command, FinishCalls):
            finished += command.jobs
    return finished, [command.job for command in commands if isinstance(command, FailJob)]


def held(scheduler: Scheduler, jobs: range) -> list[list[tuple[int, int]]]:
    """Return which worker holds each job, and in which place."""
    return [scheduler.where(job) for job in jobs]


def known() -> Scheduler:
    """Return a pool of one worker that has run enough calls, and runs one now."""
    scheduler = pool(1)
    for job in range(1000, 1030):
        tell(scheduler, JobSubmitted(job, 1, RULES, like="f"))
        one_by_one(scheduler, 0, 1)
    tell(scheduler, JobSubmitted(1030, 1, RULES, like="f"))
    return scheduler


@given(
    count=st.integers(1, 60),
    finished=st.integers(1, 40),
    cancelled=st.sets(st.integers(0, 59), max_size=3),
    kill=st.booleans(),
    other=st.none() | st.integers(0, 59),
    closed=st.booleans(),
)
def test_many_in_one_event_are_as_many_events(
    count: int, finished: int, cancelled: set[int], kill: bool, other: int | None, closed: bool
) -> None:
    twins = known(), known()
    jobs = range(count)
    for scheduler in twins:
        for job in jobs:
            tell(scheduler, JobSubmitted(job, 1, RULES, like="g" if job == other else "f"))
    for scheduler in twins:
        for job in sorted(cancelled):
            answered(scheduler, JobCancelled(job, kill))
        if closed:
            tell(scheduler, Close())
    holds = sum(1 for place in held(twins[0], jobs) if place) + 1
    finished = min(finished, holds)
    first, second = one_by_one(twins[0], 0, finished), together(twins[1], 0, finished)
    assert outcome(first) == outcome(second)
    assert twins[0].busy == twins[1].busy
    assert len(outcome(first)[0]) <= finished


def test_the_end_of_many_is_one_command() -> None:
    scheduler = known()
    tell(scheduler, CallsSubmitted((1, 2, 3), RULES, "f"))
    assert together(scheduler, 0, 3) == [FinishCalls([1030, 1, 2])]
    assert together(scheduler, 0, 1) == [FinishCalls([3])]
    assert not scheduler.busy


def test_calls_of_two_functions_end_one_by_one() -> None:
    scheduler = known()
    tell(scheduler, CallsSubmitted((1,), RULES, "f"), CallsSubmitted((2,), RULES, "g"))
    assert together(scheduler, 0, 3) == [
        FinishJob(1030, None),
        FinishJob(1, None),
        FinishJob(2, None),
    ]


def test_what_is_withdrawn_meanwhile_is_decided_by_the_worker() -> None:
    scheduler = known()
    tell(scheduler, CallsSubmitted((1, 2), RULES, "f"), JobWithdrawn(2))
    assert outcome(together(scheduler, 0, 2)) == ([1030, 1], [])


def test_calls_that_come_together_are_sent_in_their_order() -> None:
    scheduler = known()
    commands = tell(scheduler, CallsSubmitted(tuple(range(60)), RULES, "f"))
    sent = [command.job for command in commands if isinstance(command, SendChunk)]
    assert sent == [*range(len(sent))]
    assert len(sent) > 10


def test_a_pool_is_full_when_calls_wait_and_no_worker_can_be_started() -> None:
    scheduler = Scheduler(2)
    full: list[bool] = []
    for job in range(3):
        commands = tell(scheduler, CallsSubmitted((job,), RULES, "f"))
        assert commands == ([StartWorker(job)] if job < 2 else [])
        full.append(scheduler.is_full)
    assert full == [False, True, True]
    tell(scheduler, WorkerReady(0), WorkerReady(1))
    assert scheduler.is_full  # the third call waits
    together(scheduler, 0, 1)
    assert not scheduler.is_full
