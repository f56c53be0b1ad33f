"""How jobs are cancelled, and pools closed, terminated and let go: as events and commands."""

import pytest
from tests.unit.scheduling.events_and_commands import MANY, QUICK, done, pool, submitted, tell

from pmap._scheduling.commands import (
    DiscardChunks,
    FailJob,
    FinishJob,
    KillWorker,
    SendChunk,
    StartWorker,
    StopWorker,
)
from pmap._scheduling.events import (
    Close,
    Event,
    JobCancelled,
    Prestart,
    Renew,
    Retire,
    Terminate,
    WorkerGone,
    WorkerReady,
)
from pmap._scheduling.prefetch import MOST_HELD
from pmap._scheduling.scheduler import Scheduler


def test_a_cancelled_job_is_over_when_what_runs_has_ended() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 5))
    assert tell(scheduler, JobCancelled(1)) == [KillWorker(0)]
    assert tell(scheduler, WorkerGone(0, begun=1)) == [FailJob(1, cancelled=True)]


def test_a_cancelled_job_that_only_waits_costs_nobody_anything() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1), submitted(2, 1))
    assert tell(scheduler, JobCancelled(2)) == [FailJob(2, cancelled=True)]
    assert tell(scheduler, JobCancelled(2)) == []


def test_a_job_cancelled_without_a_kill_is_over_at_once_and_runs_on_unheard() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 5, 2, stop=True))
    assert tell(scheduler, JobCancelled(1, kill=False)) == [
        DiscardChunks(0, 1),
        FailJob(1, cancelled=True),
    ]
    assert not scheduler.busy
    assert tell(scheduler, JobCancelled(1)) == []  # what runs on is not ended any more
    assert tell(scheduler, submitted(2, 1)) == []  # the worker still holds what it has
    assert tell(scheduler, done(0, 0, count=2)) == [SendChunk(0, 2, 0, 1)]


def test_a_worker_that_dies_with_what_nobody_hears_loses_nothing() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 4, 2), JobCancelled(1, kill=False))
    assert tell(scheduler, WorkerGone(0, begun=2)) == []


def test_what_began_behind_a_chunk_that_nobody_hears_is_not_killed() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 40 * MANY, MANY, stop=True))
    tell(scheduler, done(0, count=MANY, elapsed=QUICK))
    tell(scheduler, JobCancelled(1, kill=False))
    answers = [tell(scheduler, done(0, count=MANY, elapsed=QUICK)) for _ in range(MOST_HELD)]
    assert not any(answers)


def test_a_job_is_not_waited_for_any_more_when_it_is_cancelled_without_a_kill() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 2, stop=True))
    assert tell(scheduler, done(1, 0)) == [KillWorker(0)]
    assert tell(scheduler, JobCancelled(1, kill=False)) == [FailJob(1, cancelled=True)]
    assert tell(scheduler, WorkerGone(0, begun=1)) == []


def test_a_closed_pool_lets_a_worker_go_when_it_is_done_with_what_nobody_hears() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1), Close())
    assert tell(scheduler, JobCancelled(1, kill=False)) == [
        DiscardChunks(0, 1),
        FailJob(1, cancelled=True),
    ]
    assert tell(scheduler, done(0)) == [StopWorker(0)]


def test_terminate_ends_what_nobody_hears() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1), JobCancelled(1, kill=False))
    assert tell(scheduler, Terminate()) == [KillWorker(0)]


def test_nothing_is_kept_of_cancelled_jobs_while_a_worker_is_busy() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(0, 1))
    for job in range(1, 100):
        tell(scheduler, submitted(job, 1), JobCancelled(job))
    assert [*scheduler._jobs] == [0]
    assert not scheduler._jobs.turns


def test_a_closed_pool_ends_when_its_work_is_done() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 1))
    assert tell(scheduler, Close()) == []
    assert tell(scheduler, done(1)) == [
        FinishJob(1, None),
        StopWorker(0),
        StopWorker(1),
    ]
    assert scheduler.busy
    tell(scheduler, WorkerGone(0, begun=0), WorkerGone(1, begun=0))
    assert not scheduler.busy


def test_a_closed_pool_lets_a_worker_go_that_becomes_ready_too_late() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, Prestart())
    assert StopWorker(0) in tell(scheduler, Close()) + tell(scheduler, WorkerReady(0))


def test_a_worker_that_is_to_end_is_replaced_when_all_workers_are_wanted() -> None:
    scheduler = Scheduler(1, max_chunks=1)
    tell(scheduler, submitted(1, 1), WorkerReady(0))
    assert StopWorker(0) in tell(scheduler, done(0))
    assert tell(scheduler, Prestart()) == []  # the one that ends still has the only place
    assert tell(scheduler, WorkerGone(0, begun=0)) == [StartWorker(1)]
    assert tell(scheduler, WorkerReady(1), WorkerGone(1, begun=0)) == []


@pytest.mark.parametrize("end", [Close(), Retire(), Terminate()], ids=repr)
def test_a_pool_that_ends_replaces_no_worker(end: Event) -> None:
    scheduler = Scheduler(1, max_chunks=1)
    tell(scheduler, submitted(1, 1), WorkerReady(0), done(0), Prestart(), end)
    assert tell(scheduler, WorkerGone(0, begun=0)) == []


def test_terminate_kills_all_and_cancels_all() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 1), submitted(2, 1), submitted(3, 1))
    assert tell(scheduler, Terminate()) == [
        KillWorker(0),
        KillWorker(1),
        FailJob(3, cancelled=True),
    ]
    assert tell(scheduler, WorkerGone(1, begun=1)) == [FailJob(1, cancelled=True)]
    assert tell(scheduler, WorkerGone(0, begun=1)) == [FailJob(2, cancelled=True)]
    assert not scheduler.busy


@pytest.mark.parametrize("goodbye", [Close(), Retire()])
def test_terminate_kills_a_worker_that_was_let_go_and_does_not_go(goodbye: Event) -> None:
    scheduler = pool(1)
    assert tell(scheduler, goodbye) == [StopWorker(0)]
    assert tell(scheduler, Terminate()) == [KillWorker(0)]


def test_retire_lets_the_idle_go_and_no_others() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 1))
    assert tell(scheduler, Retire()) == [StopWorker(0)]


def test_renew_lets_the_idle_go_and_the_others_when_they_have_done_what_they_began() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 1))
    assert tell(scheduler, Renew()) == [StopWorker(0)]
    assert tell(scheduler, done(1)) == [FinishJob(1, None), StopWorker(1)]
    tell(scheduler, submitted(2, 1))
    assert {*tell(scheduler, WorkerGone(0, begun=0))} | {*tell(scheduler, WorkerGone(1, begun=0))}


def test_retire_lets_a_worker_go_that_is_not_ready_yet() -> None:
    scheduler = Scheduler(2)
    tell(scheduler, Prestart(), WorkerReady(0))
    assert tell(scheduler, Retire()) == [StopWorker(0), StopWorker(1)]
    assert tell(scheduler, WorkerReady(1)) == []


def test_retire_lets_a_worker_go_when_it_is_done_with_what_nobody_wants() -> None:
    scheduler = pool(1, can_kill=False)
    tell(scheduler, submitted(1, 1), JobCancelled(1))  # a thread goes on with what it has
    assert tell(scheduler, Retire()) == []
    assert tell(scheduler, done(0)) == [StopWorker(0)]


def test_a_worker_stays_when_a_job_came_after_retire() -> None:
    scheduler = pool(1, can_kill=False)
    tell(scheduler, submitted(1, 1), JobCancelled(1), Retire(), submitted(2, 1))
    assert tell(scheduler, done(0)) == [SendChunk(0, 2, 0, 1)]
    assert StopWorker(0) not in tell(scheduler, done(0))
