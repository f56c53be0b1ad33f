"""The scheduler's decisions one by one, as events and the commands that answer them.

That its promises hold in every order of events is the business of the state machine in
``tests/property``; here stands what it decides when, and why.
"""

from typing import Any

import pytest
from tests.unit.scheduling.events_and_commands import MANY, QUICK, SLOW, done, pool, submitted, tell

from pmap._scheduling.commands import (
    CheckDeadline,
    Command,
    DiscardChunks,
    FailJob,
    FinishJob,
    KillWorker,
    LoseItem,
    ReclaimChunks,
    RetryItem,
    SendChunk,
    StartWorker,
    StopWorker,
)
from pmap._scheduling.events import (
    ChunksReclaimed,
    Close,
    InputArrived,
    InputEnded,
    ItemRuns,
    ItemsFinished,
    ItemsSorted,
    JobCancelled,
    JobSubmitted,
    Retire,
    Tick,
    WorkerGone,
    WorkerReady,
)
from pmap._scheduling.run_rules import RunRules
from pmap._scheduling.scheduler import Scheduler
from pmap._scheduling.workers import MAX_START_FAILURES

# --- starting ----------------------------------------------------------------------------------


def test_no_more_workers_start_than_there_are_items() -> None:
    assert tell(Scheduler(8), submitted(1, 3)) == [StartWorker(0), StartWorker(1), StartWorker(2)]


def test_no_more_workers_start_than_the_limit() -> None:
    assert tell(Scheduler(2), submitted(1, 30)) == [StartWorker(0), StartWorker(1)]


def test_a_worker_gets_work_as_soon_as_it_is_ready() -> None:
    scheduler = Scheduler(2)
    tell(scheduler, submitted(1, 30))
    assert tell(scheduler, WorkerReady(1)) == [SendChunk(1, 1, 0, 1)]


def test_an_idle_worker_is_used_before_one_is_started() -> None:
    scheduler = Scheduler(2)
    tell(scheduler, submitted(1, 1), WorkerReady(0), done(0))
    assert tell(scheduler, submitted(2, 1)) == [SendChunk(0, 2, 0, 1)]


def test_an_empty_job_is_over_at_once_and_starts_nothing() -> None:
    scheduler = Scheduler(4)
    assert tell(scheduler, submitted(1, 0)) == [FinishJob(1, None)]
    assert not scheduler.busy


def test_starts_that_fail_in_a_row_end_all_jobs_with_an_error() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 5), submitted(2, 5))
    for worker in range(MAX_START_FAILURES - 1):
        assert tell(scheduler, WorkerGone(worker, begun=0)) == [StartWorker(worker + 1)]
    assert tell(scheduler, WorkerGone(MAX_START_FAILURES - 1, begun=0)) == [
        FailJob(1, cancelled=False),
        FailJob(2, cancelled=False),
    ]
    assert not scheduler.busy


def test_starts_are_tried_again_for_the_next_job() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 5))
    for worker in range(MAX_START_FAILURES):
        tell(scheduler, WorkerGone(worker, begun=0))
    assert tell(scheduler, submitted(2, 1)) == [StartWorker(MAX_START_FAILURES)]


def test_the_workers_that_live_do_the_work_of_those_that_cannot_be_started() -> None:
    scheduler = Scheduler(4)
    tell(scheduler, submitted(1, 4), WorkerReady(0))
    tell(scheduler, *(WorkerGone(worker, begun=0) for worker in (1, 2, 3)))
    commands = [tell(scheduler, done(0)) for _ in range(4)]
    assert commands[-1] == [FinishJob(1, None)]


# --- input that comes bit by bit ---------------------------------------------------------------


def test_what_arrives_goes_to_an_idle_worker_at_once() -> None:
    scheduler = pool(1)
    assert tell(scheduler, submitted(1, 0, 4, open=True)) == []
    assert tell(scheduler, InputArrived(1, 3)) == [SendChunk(0, 1, 0, 3)]


def test_what_arrives_starts_workers_for_what_waits() -> None:
    scheduler = Scheduler(4)
    assert tell(scheduler, submitted(1, 0, open=True)) == []
    assert tell(scheduler, InputArrived(1, 2)) == [StartWorker(0), StartWorker(1)]


def test_what_arrives_comes_behind_what_waits() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 2, open=True), InputArrived(1, 1), InputArrived(1, 1))
    sent = [command for _ in range(3) for command in tell(scheduler, done(0))]
    assert sent == [SendChunk(0, 1, 1, 2), SendChunk(0, 1, 2, 3), SendChunk(0, 1, 3, 4)]


def test_what_arrives_has_its_turn_behind_the_jobs_that_wait() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1, open=True), submitted(2, 2), InputArrived(1, 2))
    sent = [command for _ in range(4) for command in tell(scheduler, done(0))]
    jobs = [command.job for command in sent if isinstance(command, SendChunk)]
    assert jobs == [2, 1, 2, 1]


def test_an_open_job_waits_for_the_end_of_its_input() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1, open=True))
    assert tell(scheduler, done(0)) == []
    assert scheduler.busy
    assert tell(scheduler, InputEnded(1)) == [FinishJob(1, None)]
    assert not scheduler.busy


def test_a_job_whose_input_ended_waits_for_its_items() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 2, open=True))
    assert tell(scheduler, InputEnded(1)) == []
    assert tell(scheduler, done(0)) == [SendChunk(0, 1, 1, 2)]
    assert tell(scheduler, done(0)) == [FinishJob(1, None)]


def test_an_open_job_is_over_with_its_failure_and_wants_no_more_input() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1, open=True))
    assert tell(scheduler, done(0, 0)) == [FinishJob(1, 0)]
    assert tell(scheduler, InputArrived(1, 5)) == []
    assert tell(scheduler, InputEnded(1)) == []


def test_input_that_arrives_behind_a_failure_is_not_wanted_while_earlier_items_run() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 2, open=True))  # the first to worker 1
    assert tell(scheduler, done(0, 1)) == []
    assert tell(scheduler, InputArrived(1, 5)) == []
    assert tell(scheduler, InputEnded(1)) == []
    assert FinishJob(1, 1) in tell(scheduler, done(1))


def test_collecting_takes_more_input_after_a_failure() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1, collect=True, open=True), done(0, 0))
    assert tell(scheduler, InputArrived(1, 1)) == [SendChunk(0, 1, 1, 2)]


def test_an_open_job_with_nothing_to_do_is_cancelled_at_once() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1, open=True), done(0))
    assert tell(scheduler, JobCancelled(1)) == [FailJob(1, cancelled=True)]
    assert tell(scheduler, InputArrived(1, 5)) == []
    assert tell(scheduler, InputEnded(1)) == []


def test_input_is_not_wanted_while_what_runs_of_a_cancelled_job_is_ended() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 1, open=True), JobCancelled(1))
    assert tell(scheduler, InputArrived(1, 5)) == []
    assert tell(scheduler, WorkerGone(1, begun=1)) == [FailJob(1, cancelled=True)]


def test_a_closed_pool_waits_for_the_input_of_an_open_job() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1, open=True), done(0))
    assert tell(scheduler, Close()) == []
    assert tell(scheduler, InputArrived(1, 1)) == [SendChunk(0, 1, 1, 2)]
    assert tell(scheduler, done(0)) == []
    assert tell(scheduler, InputEnded(1)) == [
        FinishJob(1, None),
        StopWorker(0),
    ]


def test_an_open_job_that_waits_keeps_no_idle_worker() -> None:
    # Its consumer may rest for hours. When it goes on there are new workers.
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1, open=True), done(0))
    assert tell(scheduler, Retire()) == [StopWorker(0)]
    assert tell(scheduler, WorkerGone(0, begun=0)) == []
    assert tell(scheduler, InputArrived(1, 1)) == [StartWorker(1)]
    assert tell(scheduler, WorkerReady(1)) == [SendChunk(1, 1, 1, 2)]


# --- deaths ------------------------------------------------------------------------------------


def test_one_item_is_lost_and_the_rest_of_its_chunk_goes_to_another_worker() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 5, 5, collect=True), WorkerReady(0))
    tell(scheduler, ItemsFinished(0, 2, (), 0.0, last=False))
    assert tell(scheduler, WorkerGone(0, begun=1)) == [LoseItem(1, 2, 0), StartWorker(1)]
    assert tell(scheduler, WorkerReady(1)) == [SendChunk(1, 1, 3, 5)]
    assert tell(scheduler, done(1, count=2)) == [FinishJob(1, None)]


def test_nothing_is_lost_with_a_worker_that_had_not_begun() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 2, 2), WorkerReady(0))
    assert tell(scheduler, WorkerGone(0, begun=0)) == [StartWorker(1)]
    assert tell(scheduler, WorkerReady(1)) == [SendChunk(1, 1, 0, 2)]


def test_nothing_is_lost_with_a_worker_that_had_finished_all() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 2, 2), WorkerReady(0))
    assert tell(scheduler, ItemsFinished(0, 2, (), 0.0, last=False)) == [
        DiscardChunks(0, 1),
        FinishJob(1, None),
    ]
    assert tell(scheduler, WorkerGone(0, begun=1)) == []


def test_a_lost_item_is_the_jobs_failure() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 2), WorkerReady(0))
    assert tell(scheduler, WorkerGone(0, begun=1)) == [LoseItem(1, 0, 0), FinishJob(1, 0)]


def test_all_is_lost_that_had_begun_and_the_rest_goes_to_another_worker() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 6, 6, collect=True), WorkerReady(0))
    tell(scheduler, ItemsFinished(0, 1, (), 0.0, last=False))
    assert tell(scheduler, WorkerGone(0, begun=3)) == [
        LoseItem(1, 1, 0),
        LoseItem(1, 2, 0),
        LoseItem(1, 3, 0),
        StartWorker(1),
    ]
    assert tell(scheduler, WorkerReady(1)) == [SendChunk(1, 1, 4, 6)]
    assert tell(scheduler, done(1, count=2)) == [FinishJob(1, None)]


def test_nothing_runs_again_if_all_of_a_chunk_had_begun() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 2, 2, collect=True), WorkerReady(0))
    assert tell(scheduler, WorkerGone(0, begun=2)) == [
        LoseItem(1, 0, 0),
        LoseItem(1, 1, 0),
        FinishJob(1, None),
    ]


def test_the_first_of_several_lost_items_is_the_jobs_failure() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 4, 4), WorkerReady(0))
    tell(scheduler, ItemsFinished(0, 1, (), 0.0, last=False))
    assert tell(scheduler, WorkerGone(0, begun=3)) == [LoseItem(1, 1, 0), FinishJob(1, 1)]


def test_nothing_is_lost_behind_a_failure_though_it_had_begun() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 4, 2))  # the first two to worker 1
    tell(scheduler, ItemsFinished(1, 1, (), 0.0, last=False))
    assert tell(scheduler, done(0, 2, count=1)) == []
    assert tell(scheduler, WorkerGone(1, begun=1)) == [
        LoseItem(1, 1, 1),
        FinishJob(1, 1),
    ]


def test_what_waits_behind_a_chunk_that_had_begun_is_not_lost_with_it() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 3 * MANY, MANY, collect=True))
    tell(scheduler, done(0, count=MANY, elapsed=QUICK))  # two more chunks to worker 0
    commands = tell(scheduler, WorkerGone(0, begun=MANY))
    assert commands == [
        *(LoseItem(1, item, 0) for item in range(MANY, 2 * MANY)),
        StartWorker(1),
    ]
    assert tell(scheduler, WorkerReady(1)) == [SendChunk(1, 1, 2 * MANY, 3 * MANY)]


def test_an_idle_worker_that_dies_is_not_missed_until_there_is_work() -> None:
    scheduler = pool(1)
    assert tell(scheduler, WorkerGone(0, begun=0)) == []
    assert tell(scheduler, submitted(1, 1)) == [StartWorker(1)]


def test_what_ends_each_worker_before_it_begins_is_not_tried_for_ever() -> None:
    # A chunk that is too large to be received, say.
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 2, 2))
    answer: list[Command] = []
    for worker in range(100):
        tell(scheduler, WorkerReady(worker))
        answer = tell(scheduler, WorkerGone(worker, begun=0))
        if answer != [StartWorker(worker + 1)]:
            break
    assert any(isinstance(command, (FinishJob, FailJob)) for command in answer)


def test_a_chunk_gets_all_its_tries_again_when_it_was_begun() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, submitted(1, 4, 4), WorkerReady(0), WorkerGone(0, begun=0))
    tell(scheduler, WorkerReady(1), ItemsFinished(1, 2, (), 0.0, last=False))
    for worker in (1, 2, 3):
        assert tell(scheduler, WorkerGone(worker, begun=0)) == [StartWorker(worker + 1)]
        assert tell(scheduler, WorkerReady(worker + 1)) == [SendChunk(worker + 1, 1, 2, 4)]
    assert tell(scheduler, WorkerGone(4, begun=0)) == [LoseItem(1, 2, 4), FinishJob(1, 2)]


# --- failures ----------------------------------------------------------------------------------


def test_the_lowest_failure_counts_and_not_the_first_one_seen() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 2))
    held = {1: 0, 0: 1}  # the one that is idle for the shortest time is used first
    assert tell(scheduler, done(held[1], 1)) == []
    assert FinishJob(1, 0) in tell(scheduler, done(held[0], 0))


def test_items_before_a_failure_are_still_run_and_none_behind_it() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 10, 2))
    assert tell(scheduler, done(0, 2, count=1)) == []
    answer = tell(scheduler, done(1, count=2))
    assert set(answer) == {FinishJob(1, 2)}


def test_collecting_goes_on_after_a_failure() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 2, collect=True))
    assert tell(scheduler, done(0, 0)) == [SendChunk(0, 1, 1, 2)]
    assert tell(scheduler, done(0, 1)) == [FinishJob(1, None)]


def test_a_failure_ends_what_runs_behind_it_before_the_job_is_over() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 2, stop=True))
    assert tell(scheduler, done(1, 0)) == [KillWorker(0)]
    assert tell(scheduler, WorkerGone(0, begun=1)) == [FinishJob(1, 0)]


def test_a_failure_ends_the_job_at_once_where_nothing_can_be_killed() -> None:
    scheduler = pool(2, can_kill=False)
    tell(scheduler, submitted(1, 2, stop=True))
    assert tell(scheduler, done(1, 0)) == [DiscardChunks(0, 1), FinishJob(1, 0)]


@pytest.mark.parametrize("kept", [1, 2])
def test_a_failure_ends_what_begins_after_it_was_seen(kept: int) -> None:
    # Worker 0 holds the second chunk and later ones behind it; the third fails elsewhere. If it has
    # gone on to a later one by then, the job is not over until that is ended.
    scheduler = pool(2)
    tell(scheduler, submitted(1, 40 * MANY, MANY, stop=True))  # the first to 1, the second to 0
    sent = tell(scheduler, done(1, count=MANY, elapsed=QUICK))
    assert SendChunk(1, 1, 2 * MANY, 3 * MANY) in sent
    assert SendChunk(0, 1, 3 * MANY, 4 * MANY) in sent
    assert tell(scheduler, done(1, 2 * MANY)) == [KillWorker(1), ReclaimChunks(0)]
    assert tell(scheduler, ChunksReclaimed(0, kept=kept)) == []
    assert tell(scheduler, WorkerGone(1, begun=1)) == []
    over = FinishJob(1, 2 * MANY)
    if kept == 1:  # it was just in time
        assert over in tell(scheduler, done(0, count=MANY, elapsed=QUICK))
    else:
        assert tell(scheduler, done(0, count=MANY, elapsed=QUICK)) == [KillWorker(0)]
        assert tell(scheduler, WorkerGone(0, begun=1)) == [over]


# --- time --------------------------------------------------------------------------------------


def test_a_kill_for_an_item_before_it_is_no_try_of_a_chunk() -> None:
    scheduler = pool(1)
    scheduler.handle(JobSubmitted(1, 3 * MANY, RunRules(MANY, collect=True, timeout=9.0)), 1.0)
    chunks = scheduler.handle(done(0, count=MANY, elapsed=QUICK), 2.0)
    assert chunks == [SendChunk(0, 1, MANY, 2 * MANY), SendChunk(0, 1, 2 * MANY, 3 * MANY)]
    assert scheduler.handle(Tick(), 11.0) == [CheckDeadline(0, 9.0)]
    assert scheduler.handle(ItemRuns(0, 2.0, True), 11.0) == [KillWorker(0, gently=True)]
    # It was the last item of its chunk, and it was done after all: the next did not begin.
    scheduler.handle(ItemsFinished(0, MANY, (), QUICK, last=True), 11.1)
    for worker in (0, 1, 2):
        assert scheduler.handle(WorkerGone(worker, begun=0), 11.2) == [StartWorker(worker + 1)]
        answer = scheduler.handle(WorkerReady(worker + 1), 11.3)
        assert answer == [SendChunk(worker + 1, 1, 2 * MANY, 3 * MANY)]


def test_what_is_decided_is_done_before_anybody_is_looked_at() -> None:
    # For the answer to a look is taken in at once, and what comes of it is done first.
    scheduler = pool(2)
    scheduler.handle(JobSubmitted(1, 1, RunRules(1, timeout=9.0)), 1.0)
    scheduler.handle(JobSubmitted(2, 1, RunRules(1, retries=(7.0,))), 1.0)
    failed = ItemsFinished(0, 1, (0,), SLOW, last=True, again=frozenset({0}))
    assert scheduler.handle(failed, 3.0) == [RetryItem(2, 0)]
    assert scheduler.handle(Tick(), 10.0) == [SendChunk(0, 2, 0, 1), CheckDeadline(1, 9.0)]


def test_tries_that_nobody_wants_are_not_kept_for_their_delays() -> None:
    """Also where one that is wanted, and soon, stands before them in the heap."""
    scheduler = pool(1)
    for job, delay in [(0, 10.0), *[(n, 3600.0) for n in range(1, 1000)]]:
        submit = JobSubmitted(job, 1, RunRules(1, retries=(delay,)))
        (sent,) = tell(scheduler, submit)
        assert isinstance(sent, SendChunk)
        failure = ItemsFinished(0, 1, (0,), QUICK, last=True, again=frozenset([0]))
        assert tell(scheduler, failure) == [RetryItem(job, 0)]
        if job:
            tell(scheduler, JobCancelled(job))
    assert scheduler.alarm == 10.0
    assert len(scheduler._retries._delayed) < 100


# --- items that need not be run ----------------------------------------------------------------


def sorted_in(job: int, items: int, **more: Any) -> ItemsSorted:
    return ItemsSorted(job, items, **more)


def test_only_the_items_that_are_to_be_run_are_sent() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, JobSubmitted(1, 0, RunRules(chunksize=1), open=True))
    assert tell(scheduler, sorted_in(1, 6, run=((1, 2), (4, 6)))) == [StartWorker(0)]
    assert tell(scheduler, InputEnded(1)) == []
    sent = [c for c in tell(scheduler, WorkerReady(0)) if isinstance(c, SendChunk)]
    while len(sent) < 3:
        sent += [c for c in tell(scheduler, done(0)) if isinstance(c, SendChunk)]
    assert [(c.start, c.stop) for c in sent] == [(1, 2), (4, 5), (5, 6)]


def test_a_job_is_over_when_nothing_is_to_be_run() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, JobSubmitted(1, 0, RunRules(), open=True), sorted_in(1, 6))
    assert tell(scheduler, InputEnded(1)) == [FinishJob(1, None)]


def test_a_job_waits_for_held_items() -> None:
    scheduler = Scheduler(1)
    tell(scheduler, JobSubmitted(1, 0, RunRules(), open=True), sorted_in(1, 3, held=(0, 2)))
    assert tell(scheduler, InputEnded(1)) == []
    assert tell(scheduler, sorted_in(1, 0, decided=(0,))) == []
    assert tell(scheduler, sorted_in(1, 0, decided=(2,), run=((2, 3),))) == [StartWorker(0)]
    assert tell(scheduler, WorkerReady(0)) == [SendChunk(0, 1, 2, 3)]
    assert tell(scheduler, done(0)) == [FinishJob(1, None)]


def test_a_known_failure_ends_a_job_when_the_items_before_it_are_finished() -> None:
    scheduler = Scheduler(1)
    rules = RunRules(chunksize=1)
    tell(scheduler, JobSubmitted(1, 0, rules, open=True))
    tell(scheduler, sorted_in(1, 5, run=((0, 1), (3, 5)), held=(1,), failed=2), InputEnded(1))
    tell(scheduler, WorkerReady(0))
    assert tell(scheduler, done(0)) == []
    assert tell(scheduler, sorted_in(1, 0, decided=(1,))) == [FinishJob(1, 2)]
    tell(scheduler, JobSubmitted(2, 0, RunRules(collect=True), open=True))
    assert tell(scheduler, sorted_in(2, 1, failed=0), InputEnded(2)) == [FinishJob(2, None)]
