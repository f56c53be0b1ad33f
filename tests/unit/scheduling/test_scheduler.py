"""The scheduler's decisions one by one, as events and the commands that answer them.

That its promises hold in every order of events is the business of the state machine in
``tests/property``; here stands what it decides when, and why.
"""

import itertools
from collections import Counter

import pytest

from pmap._scheduling import prefetch as _prefetch
from pmap._scheduling.chunk_sizes import MOST_BYTES
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
    Event,
    InputArrived,
    InputEnded,
    ItemRuns,
    ItemsFinished,
    JobCancelled,
    JobSubmitted,
    Prestart,
    Renew,
    Retire,
    Terminate,
    Tick,
    WorkerGone,
    WorkerReady,
)
from pmap._scheduling.prefetch import MOST_CALLS, MOST_HELD, PREFETCH_BELOW
from pmap._scheduling.run_rules import RunRules
from pmap._scheduling.scheduler import LATE, Scheduler
from pmap._scheduling.state import Worker
from pmap._scheduling.workers import MAX_START_FAILURES

QUICK = PREFETCH_BELOW / 100
SLOW = PREFETCH_BELOW * 100
MANY = 20  # items in a chunk, enough for their cost to be trusted


def submitted(
    job: int,
    size: int,
    chunksize: int | None = 1,
    *,
    collect: bool = False,
    stop: bool = False,
    open: bool = False,
) -> JobSubmitted:
    return JobSubmitted(job, size, RunRules(chunksize, collect, stop), open)


def done(worker: int, *failed: int, count: int = 1, elapsed: float = SLOW) -> ItemsFinished:
    return ItemsFinished(worker, count, failed, elapsed, last=True)


def tell(scheduler: Scheduler, *events: Event) -> list[Command]:
    """Return what the last of `events` is answered with."""
    answer: list[Command] = []
    for event in events:
        answer = scheduler.handle(event)
    return answer


def pool(
    workers: int, limit: int | None = None, can_kill: bool = True, can_reclaim_chunks: bool = True
) -> Scheduler:
    """Return a scheduler whose first `workers` workers are ready."""
    scheduler = Scheduler(limit or workers, can_kill=can_kill)
    tell(
        scheduler,
        Prestart(),
        *[WorkerReady(worker, can_reclaim_chunks) for worker in range(workers)],
    )
    return scheduler


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


# --- chunks ------------------------------------------------------------------------------------


def test_the_chunksize_asked_for_is_kept_and_the_last_chunk_is_the_rest() -> None:
    scheduler = pool(1)
    sent = [tell(scheduler, submitted(1, 8, 3))]
    sent += [tell(scheduler, done(0, count=3)), tell(scheduler, done(0, count=3))]
    assert sent == [[SendChunk(0, 1, 0, 3)], [SendChunk(0, 1, 3, 6)], [SendChunk(0, 1, 6, 8)]]


def test_each_job_has_its_turn() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 10), submitted(2, 10), submitted(3, 1))
    sent = [command for _ in range(6) for command in tell(scheduler, done(0))]
    jobs = [command.job for command in sent if isinstance(command, SendChunk)]
    assert jobs == [1, 2, 3, 1, 2, 1]


def test_what_is_quick_is_sent_ahead() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1000, MANY))
    sent = tell(scheduler, done(0, count=MANY, elapsed=QUICK))
    spans = range(MANY, MANY * (MOST_HELD + 1), MANY)
    assert sent == [SendChunk(0, 1, start, start + MANY) for start in spans]


@pytest.mark.parametrize(
    ("size", "held"), [(1 << 10, MOST_HELD), (MOST_BYTES // 2, 2), (MOST_BYTES, 1)]
)
def test_little_of_what_is_large_is_sent_ahead(size: int, held: int) -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 1000, MANY))
    quick = done(0, count=MANY, elapsed=QUICK)._replace(size=size)
    assert len(tell(scheduler, quick)) == held


@pytest.mark.parametrize(
    ("size", "held"),
    [(1 << 10, MOST_CALLS), (1 << 13, MOST_HELD), (MOST_BYTES // 2, 2), (MOST_BYTES, 1)],
)
def test_of_small_calls_more_are_sent_ahead(size: int, held: int) -> None:
    scheduler = Scheduler(1)
    for job in range(100, 100 + 10 * MOST_CALLS):
        scheduler.handle(JobSubmitted(job, 1, RunRules(), like=7))
    quick = ItemsFinished(0, 1, (), 1e-5, last=True, size=size)
    tell(scheduler, WorkerReady(0), *[quick] * 16)
    assert len(scheduler._workers.all[0].chunks) == held
    # Filled up when half empty, so that several travel at once.
    before = held
    for _ in range(3 * MOST_CALLS):
        tell(scheduler, quick)
        now = len(scheduler._workers.all[0].chunks)
        assert now in (before - 1, held)
        before = now


def test_nobody_has_more_sent_ahead_than_its_share_of_what_waits() -> None:
    # Else one worker has all of the rest, and the other is idle when it has run its own.
    scheduler = pool(2)
    tell(scheduler, submitted(1, 12 * MANY, MANY))
    sent = tell(scheduler, done(1, count=MANY, elapsed=QUICK))
    held = {worker: [c for c in sent if c[0] == worker] for worker in (0, 1)}
    # One that it had, and nine waited: each more is given where twice its load is not above these.
    assert [len(held[0]), len(held[1])] == [2, 3]
    rest = sum(1 for chunks in held.values() for _ in chunks) + 2
    assert rest < 12, "nothing is kept for the one who is through first"


def test_workers_are_filled_up_in_turn() -> None:
    # The last one does not wait until all is made for the first.
    scheduler = pool(3)
    tell(scheduler, submitted(1, 1000 * MANY, MANY))
    sent = tell(scheduler, done(1, count=MANY, elapsed=QUICK))
    assert [command[0] for command in sent[1:7]] == [0, 1, 2, 0, 1, 2]


def test_what_is_next_is_not_what_a_failure_has_just_ended() -> None:
    # Worker 0 has two of job 1 and gives nothing back: what is next is of job 2, and must not wait
    # there, though job 1, of which nothing waits any more, still stands before it.
    scheduler = pool(2, can_reclaim_chunks=False)
    known = RunRules(1, stop=True)
    tell(scheduler, JobSubmitted(0, MANY, known, like="f"))
    while scheduler.busy:
        for worker in (0, 1):
            if scheduler._workers.all[worker].chunks:
                tell(scheduler, done(worker, elapsed=1e-5))
    tell(scheduler, JobSubmitted(1, 7, known, like="f"), done(1, elapsed=1e-5))
    tell(scheduler, JobSubmitted(2, 5, known, like="f"))
    first = scheduler._workers.all[1].chunks[0].start
    answer = tell(scheduler, ItemsFinished(1, 1, (first,), 1e-5, last=True))
    assert KillWorker(1) in answer
    assert {chunk.job.id for chunk in scheduler._workers.all[0].chunks} == {1}


def test_nothing_waits_behind_what_is_slow() -> None:
    scheduler = pool(1)
    tell(scheduler, submitted(1, 100))
    assert tell(scheduler, done(0, elapsed=SLOW)) == [SendChunk(0, 1, 1, 2)]


def test_nothing_waits_behind_what_nobody_knows_the_cost_of() -> None:
    scheduler = pool(1)
    assert tell(scheduler, submitted(1, 100)) == [SendChunk(0, 1, 0, 1)]


def test_nothing_of_another_job_waits_where_it_cannot_be_taken_back() -> None:
    # When job 1 ends by a failure elsewhere, worker 0 is killed; by then it may have gone on to
    # what waits behind, unseen, and that would be lost through no fault of its own.
    scheduler = pool(1, can_reclaim_chunks=False)
    tell(scheduler, submitted(2, 40 * MANY, MANY))
    tell(scheduler, done(0, count=MANY, elapsed=QUICK))
    tell(scheduler, submitted(1, 40 * MANY, MANY, stop=True))
    held: list[SendChunk] = []
    for _ in range(60):
        sent = tell(scheduler, done(0, count=MANY, elapsed=QUICK))
        held += [command for command in sent if isinstance(command, SendChunk)]
        for first, second in itertools.pairwise(sent):
            if isinstance(first, SendChunk) and isinstance(second, SendChunk):
                assert first.job == second.job
    assert {chunk.job for chunk in held} == {1, 2}


def single(job: int, like: int | None = 7, *, stop: bool = True) -> JobSubmitted:
    return JobSubmitted(job, 1, RunRules(stop=stop), like=like)


CALLS = 5  # as many as a worker is given one by one


def full_of_calls(limit: int = 1, workers: int = 1) -> Scheduler:
    """Return a pool whose first worker holds the calls 1, 2 and so on: those before were quick."""
    scheduler = pool(workers, limit)
    before = range(100, 100 + MANY)
    tell(scheduler, *[event for job in before for event in (single(job), quick_one(workers - 1))])
    busy = [JobSubmitted(200 + n, 1, RunRules()) for n in range(workers - 1)]
    tell(scheduler, *busy)  # all but worker 0 are at something that nobody knows
    tell(scheduler, *[single(job) for job in range(1, 1 + CALLS)])
    return scheduler


def quick_one(worker: int) -> ItemsFinished:
    return done(worker, elapsed=QUICK)


def test_single_calls_of_a_quick_function_are_sent_ahead() -> None:
    scheduler = full_of_calls()
    for job in range(1, 1 + CALLS):
        assert tell(scheduler, quick_one(0)) == [FinishJob(job, None)]


SMALL = 1e-5  # seconds that a call takes, less than a message to a worker


def used_to(workers: int, elapsed: float = SMALL) -> Scheduler:
    """Return a pool that has had calls like 7."""
    scheduler = pool(workers)
    for job in range(100, 100 + MANY):
        [sent] = tell(scheduler, single(job))
        assert isinstance(sent, SendChunk)
        tell(scheduler, done(sent.worker, elapsed=elapsed))
    return scheduler


def test_calls_that_come_one_by_one_are_sent_ahead_as_well() -> None:
    scheduler = used_to(1)
    sent = [command for job in range(MOST_CALLS) for command in tell(scheduler, single(job))]
    assert len(sent) > MOST_CALLS // 2


@pytest.fixture(name="looks")
def _looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which workers were looked at, whether they may have more."""
    looks: list[int] = []
    load = _prefetch._load

    def noted(worker: Worker, now: float) -> tuple[float, float]:
        looks.append(worker.id)
        return load(worker, now)

    monkeypatch.setattr(_prefetch, "_load", noted)
    return looks


@pytest.mark.parametrize("workers", [2, 64])
@pytest.mark.parametrize("elapsed", [SMALL, PREFETCH_BELOW / 5])
def test_a_call_costs_as_much_with_many_workers(
    workers: int, elapsed: float, looks: list[int]
) -> None:
    scheduler = used_to(workers, elapsed)
    # While they have ever more of it, until they have enough.
    calls = 2 * MOST_CALLS * workers
    tell(scheduler, *map(single, range(1000, 1000 + calls)))
    assert 0 < len(looks) <= 2 * calls
    looks.clear()
    tell(scheduler, *map(single, range(10_000, 11_000)))
    assert not looks
    tell(scheduler, *[done(n % workers, elapsed=elapsed) for n in range(1000)])
    assert 0 < len(looks) <= 1000


@pytest.mark.parametrize("workers", [2, 64])
@pytest.mark.parametrize("chunksize", [None, 1])
def test_a_chunk_costs_as_much_with_many_workers(
    workers: int, chunksize: int | None, looks: list[int]
) -> None:
    scheduler = pool(workers)
    tell(scheduler, submitted(1, 5000, chunksize))
    looks.clear()
    chunks = 0
    for _ in range(5000):
        for worker in [worker for worker in scheduler._workers.all.values() if worker.chunks]:
            items = worker.chunks[0].stop - worker.chunks[0].start
            tell(scheduler, done(worker.id, count=items, elapsed=items * 1e-7))
            chunks += 1
        if not scheduler.busy:
            break
    assert not scheduler.busy
    assert len(looks) <= 2 * chunks


@pytest.mark.parametrize("size", [1 << 4, 1 << 17])
def test_many_workers_hold_few_chunks_of_what_they_have_hardly_tried(size: int) -> None:
    # The first items cost more than all others: chunks of the size that they suggest are too small.
    scheduler = pool(64)
    tell(scheduler, submitted(1, 100_000, 1))
    first = [done(worker, elapsed=1e-5)._replace(size=size) for worker in range(64)]
    sent = [command for event in first for command in tell(scheduler, event)]
    held = Counter(command.worker for command in sent if isinstance(command, SendChunk))
    assert len(held) == 64
    assert max(held.values()) <= 3


def test_who_had_its_share_has_another_of_what_arrives() -> None:
    scheduler = pool(2)
    tell(scheduler, submitted(1, 4 * MANY, MANY, open=True))
    tell(scheduler, done(0, count=MANY, elapsed=QUICK), done(1, count=MANY, elapsed=QUICK))
    before = [len(scheduler._workers.all[worker].chunks) for worker in (0, 1)]
    tell(scheduler, InputArrived(1, 100 * MANY))
    after = [len(scheduler._workers.all[worker].chunks) for worker in (0, 1)]
    assert all(now > then for now, then in zip(after, before, strict=True))


def test_a_worker_is_started_for_what_comes_back_from_one_that_has_enough() -> None:
    scheduler = Scheduler(2)
    terms = RunRules(retries=(0.0,))
    for job in range(100, 100 + 16 + MOST_CALLS):
        scheduler.handle(JobSubmitted(job, 1, terms, like=7))
    tell(scheduler, WorkerReady(0), *[ItemsFinished(0, 1, (), 1e-5, last=True)] * 16)
    assert len(scheduler._workers.all[0].chunks) == MOST_CALLS
    tell(scheduler, WorkerReady(1), WorkerGone(1, begun=0))
    again = ItemsFinished(0, 1, (0,), 1e-5, last=True, again=frozenset({0}))
    assert tell(scheduler, again) == [RetryItem(100 + 16, 0), StartWorker(2)]


def test_what_one_function_costs_says_nothing_of_another() -> None:
    scheduler = full_of_calls()
    tell(scheduler, *[quick_one(0)] * CALLS)
    assert SendChunk(0, 50, 0, 1) in tell(scheduler, single(50, like=8))
    assert tell(scheduler, single(51)) == []  # nothing waits behind what nobody knows


def test_the_cost_of_so_many_functions_is_remembered_and_of_no_more() -> None:
    scheduler = pool(1)
    for like in range(1000):
        tell(scheduler, single(like, like), quick_one(0))
    assert len(scheduler._jobs._meters) <= 64
    assert 999 in scheduler._jobs._meters


def test_a_call_that_is_cancelled_is_ended_without_those_behind_it() -> None:
    scheduler = full_of_calls()
    assert tell(scheduler, JobCancelled(1)) == [ReclaimChunks(0)]
    assert tell(scheduler, ChunksReclaimed(0, kept=1)) == [KillWorker(0)]
    answer = tell(scheduler, WorkerGone(0, begun=1))
    assert answer == [FailJob(1, cancelled=True), StartWorker(1)]
    assert SendChunk(1, 2, 0, 1) in tell(scheduler, WorkerReady(1))


def test_a_cancelled_call_that_has_not_begun_costs_nobody_anything() -> None:
    scheduler = full_of_calls()
    assert tell(scheduler, JobCancelled(1)) == [ReclaimChunks(0)]
    answer = tell(scheduler, ChunksReclaimed(0, kept=0))
    assert answer[0] == FailJob(1, cancelled=True)
    assert SendChunk(0, 2, 0, 1) in answer


def test_a_cancelled_call_that_is_done_costs_nobody_anything() -> None:
    # Worker 0 has gone on to the next one, and what it tells of the first is under way.
    scheduler = full_of_calls()
    assert tell(scheduler, JobCancelled(1)) == [ReclaimChunks(0)]
    assert not any(isinstance(c, KillWorker) for c in tell(scheduler, ChunksReclaimed(0, kept=2)))
    answer = tell(scheduler, quick_one(0))
    assert FailJob(1, cancelled=True) in answer
    assert not any(isinstance(command, KillWorker) for command in answer)


def test_a_cancelled_call_that_has_begun_behind_another_is_ended() -> None:
    scheduler = full_of_calls()
    assert tell(scheduler, JobCancelled(2)) == [ReclaimChunks(0)]
    assert FailJob(2, cancelled=True) not in tell(scheduler, ChunksReclaimed(0, kept=2))
    answer = tell(scheduler, quick_one(0))
    assert FinishJob(1, None) in answer
    assert KillWorker(0) in [*answer, *tell(scheduler, ChunksReclaimed(0, kept=1))]
    assert FailJob(2, cancelled=True) in tell(scheduler, WorkerGone(0, begun=1))


def test_a_cancelled_call_that_waits_behind_another_never_begins() -> None:
    scheduler = full_of_calls()
    assert tell(scheduler, JobCancelled(3)) == [ReclaimChunks(0)]
    answer = tell(scheduler, ChunksReclaimed(0, kept=1))
    assert FailJob(3, cancelled=True) in answer
    assert not any(isinstance(command, KillWorker) for command in answer)


def test_who_did_not_begin_what_is_taken_back_is_the_last_to_have_it_again() -> None:
    scheduler = full_of_calls(2, 2)
    tell(scheduler, done(1))  # now worker 1 is idle
    later = PREFETCH_BELOW * 2
    assert scheduler.handle(Tick(), later) == [ReclaimChunks(0)]
    sent = scheduler.handle(ChunksReclaimed(0, kept=0), later)
    assert sent[0] == SendChunk(1, 1, 0, 1)


def test_a_worker_that_has_not_begun_is_asked_again() -> None:
    scheduler = Scheduler(2)
    workers = [WorkerReady(worker, can_reclaim_items=True) for worker in range(2)]
    tell(scheduler, Prestart(), *workers)
    (sent,) = tell(scheduler, submitted(1, MANY, MANY))
    assert isinstance(sent, SendChunk)
    assert scheduler.handle(Tick(), LATE) == [ReclaimChunks(sent.worker)]
    scheduler.handle(ChunksReclaimed(sent.worker, kept=1), LATE)
    assert scheduler.alarm == 3 * LATE, "later than before"
    assert scheduler.handle(Tick(), 3 * LATE) == [ReclaimChunks(sent.worker)]
    back = scheduler.handle(ChunksReclaimed(sent.worker, kept=1, items=16), 3 * LATE)
    assert SendChunk(1 - sent.worker, 1, 16, MANY) in back
    assert scheduler.alarm is None


def test_what_nobody_begins_does_not_go_to_and_fro() -> None:
    scheduler = Scheduler(2)
    workers = [WorkerReady(worker, can_reclaim_items=True) for worker in range(2)]
    tell(scheduler, Prestart(), *workers)
    tell(scheduler, submitted(1, MANY, MANY))
    asked, now = 0, 0.0
    while now < 1.0:
        now += LATE
        for command in scheduler.handle(Tick(), now):
            if isinstance(command, ReclaimChunks):
                asked += 1
                scheduler.handle(ChunksReclaimed(command.worker, kept=0), now)
    assert 0 < asked < 20


def test_nothing_earlier_waits_behind_a_later_chunk_where_it_cannot_be_taken_back() -> None:
    # A failure between the two would end the later one by killing the worker, which may have gone
    # on to the earlier one by then.
    scheduler = pool(2, can_reclaim_chunks=False)
    tell(scheduler, submitted(1, 40 * MANY, MANY))  # the first chunk to worker 1
    tell(scheduler, done(0, count=MANY, elapsed=QUICK))
    assert tell(scheduler, WorkerGone(1, begun=0)) == [StartWorker(2)]
    for _ in range(MOST_HELD - 1):  # the last one is left, and whatever was sent behind it
        sent = tell(scheduler, done(0, count=MANY, elapsed=QUICK))
        assert SendChunk(0, 1, 0, MANY) not in sent
    assert SendChunk(2, 1, 0, MANY) in tell(scheduler, WorkerReady(2))


def test_the_cost_is_measured_over_the_whole_chunk_however_its_results_came() -> None:
    def cost_after(*finished: ItemsFinished) -> float | None:
        scheduler = pool(1)
        tell(scheduler, submitted(1, 100, 10), *finished)
        job = scheduler._jobs.get(1)
        assert job is not None
        return job.cost.seconds

    def part(count: int, elapsed: float, *, last: bool) -> ItemsFinished:
        return ItemsFinished(0, count, (), elapsed, last)

    at_once = cost_after(part(10, 0.5, last=True))
    assert at_once == 0.05
    assert cost_after(part(9, 0.0, last=False), part(1, 0.5, last=True)) == at_once
    assert cost_after(part(10, 0.0, last=False), part(0, 0.5, last=True)) == at_once


def test_a_worker_with_its_chunks_run_is_replaced() -> None:
    scheduler = Scheduler(1, max_chunks=2)
    tell(scheduler, submitted(1, 4), WorkerReady(0))
    assert tell(scheduler, done(0)) == [SendChunk(0, 1, 1, 2)]
    assert tell(scheduler, done(0)) == [StopWorker(0)]
    assert tell(scheduler, WorkerGone(0, begun=0)) == [StartWorker(1)]


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


# --- ends --------------------------------------------------------------------------------------


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
    assert len(scheduler._delayed) < 100
