"""Which worker gets which chunk, and what is sent ahead of need: as events and commands.

Why is told there, one decision after the other; `test_scheduler` has the rest.
"""

import itertools
from collections import Counter

import pytest
from tests.unit.scheduling.events_and_commands import MANY, QUICK, SLOW, done, pool, submitted, tell

from pmap._scheduling import prefetch as _prefetch
from pmap._scheduling.chunk_sizes import MOST_BYTES
from pmap._scheduling.commands import (
    FailJob,
    FinishJob,
    KillWorker,
    ReclaimChunks,
    RetryItem,
    SendChunk,
    StartWorker,
    StopWorker,
)
from pmap._scheduling.events import (
    ChunksReclaimed,
    InputArrived,
    ItemsFinished,
    JobCancelled,
    JobSubmitted,
    Prestart,
    Tick,
    WorkerGone,
    WorkerReady,
)
from pmap._scheduling.prefetch import AHEAD_BELOW, MOST_CALLS, MOST_HELD, PREFETCH_BELOW
from pmap._scheduling.reclaiming import RECLAIM_AFTER
from pmap._scheduling.run_rules import RunRules
from pmap._scheduling.scheduler import Scheduler
from pmap._scheduling.state import Worker


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


@pytest.mark.parametrize(
    ("one_ahead", "elapsed", "sent"),
    [
        (True, AHEAD_BELOW / 1.5, 2),
        (True, AHEAD_BELOW, 1),
        (False, AHEAD_BELOW / 1.5, 1),
    ],
)
def test_one_chunk_waits_where_the_next_one_would_come_late(
    one_ahead: bool, elapsed: float, sent: int
) -> None:
    scheduler = Scheduler(1)
    tell(scheduler, Prestart(), WorkerReady(0, one_ahead=one_ahead))
    # The cost of one item is enough to know.
    tell(scheduler, submitted(1, 100, 1))
    assert len(tell(scheduler, done(0, elapsed=elapsed))) == sent
    assert len(tell(scheduler, done(0, elapsed=elapsed))) == 1, "as many as before"


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


def repeated(job: int, size: int = 6, rules: RunRules | None = None) -> JobSubmitted:
    return JobSubmitted(job, size, rules or RunRules(), function="f")


def after(scheduler: Scheduler, elapsed: float, size: int = 0) -> Scheduler:
    """Return the scheduler after a job of the function whose items took `elapsed` seconds each."""
    tell(scheduler, repeated(1, 2))
    while scheduler.busy:
        for worker in scheduler._workers.all.values():
            if worker.chunks:
                tell(scheduler, done(worker.id, elapsed=elapsed)._replace(size=size))
                break
    return scheduler


def test_a_short_job_is_one_chunk_whose_items_begin_one_by_one() -> None:
    scheduler = after(pool(2, can_reclaim_items=True), QUICK)
    worker = next(reversed(scheduler._workers.idle))
    assert tell(scheduler, repeated(2)) == [SendChunk(worker, 2, 0, 6, 1)]
    # The measured cost of the job itself is not known by that: another function is another matter.
    other = JobSubmitted(3, 6, RunRules(), function="g")
    assert [c[2:4] for c in tell(scheduler, other) if isinstance(c, SendChunk)] == [(0, 1)]


@pytest.mark.parametrize(
    ("elapsed", "size", "job"),
    [
        (SLOW, 0, repeated(2)),
        (QUICK, MOST_BYTES, repeated(2)),
        (QUICK, 0, repeated(2, rules=RunRules(chunksize=1))),
        (QUICK, 0, repeated(2, rules=RunRules(at_once=True))),
        (SLOW, 0, repeated(2, 1000)),
        (QUICK, MOST_BYTES, repeated(2, 1000)),
        (QUICK, 0, repeated(2)._replace(open=True)),
    ],
)
def test_what_may_take_long_begins_with_one_item(
    elapsed: float, size: int, job: JobSubmitted
) -> None:
    scheduler = after(pool(1, can_reclaim_items=True), elapsed, size)
    assert tell(scheduler, job)[0] == SendChunk(0, 2, 0, 1, 0)


def test_only_workers_that_give_items_back_get_a_short_job_at_once() -> None:
    scheduler = after(pool(1), QUICK)
    assert tell(scheduler, repeated(2)) == [SendChunk(0, 2, 0, 1)]


def test_a_job_that_is_not_short_after_all_goes_to_all_workers() -> None:
    scheduler = after(pool(3, can_reclaim_items=True), QUICK)
    worker = next(reversed(scheduler._workers.idle))
    tell(scheduler, repeated(2))
    assert scheduler.alarm == RECLAIM_AFTER
    assert scheduler.handle(Tick(), RECLAIM_AFTER) == [ReclaimChunks(worker)]
    # The worker has begun one item. Each of the others gets one item, and not all that is left.
    answer = scheduler.handle(ChunksReclaimed(worker, 1, 1), RECLAIM_AFTER)
    assert [c[2:4] for c in answer if isinstance(c, SendChunk)] == [(1, 2), (2, 3)]


def sent_for(scheduler: Scheduler, job: JobSubmitted, elapsed: float) -> list[SendChunk]:
    """Return all chunks of a job whose items take `elapsed` seconds each."""
    sent = [command for command in tell(scheduler, job) if isinstance(command, SendChunk)]
    waiting = [*sent]
    while waiting:
        chunk = waiting.pop(0)
        count = chunk.stop - chunk.start
        answer = tell(scheduler, done(chunk.worker, count=count, elapsed=elapsed * count))
        more = [command for command in answer if isinstance(command, SendChunk)]
        sent += more
        waiting += more
    return sent


@pytest.mark.parametrize(("workers", "most"), [(2, 25), (8, 35), (64, 40)])
def test_many_items_of_a_known_function_take_few_chunks(workers: int, most: int) -> None:
    # Without the cost of the last job, 64 workers take 230 chunks, the first of them of one item.
    # All items take 20 ms: to wake all 64 would take the caller half of that.
    scheduler = after(pool(workers, can_reclaim_items=True), 2e-7)
    chunks = sent_for(scheduler, repeated(2, 100_000), 2e-7)
    assert len(chunks) <= most
    assert len({chunk.worker for chunk in chunks}) == min(len(chunks), workers)
    assert min(chunk.stop - chunk.start for chunk in chunks[:workers]) > 100
    # Few items begin together: they may be slow this time.
    assert {chunk.step for chunk in chunks[:workers]} == {16}


def test_many_items_that_are_slow_this_time_go_to_all_workers() -> None:
    scheduler = after(pool(3, can_reclaim_items=True), 1e-7)
    worker = next(reversed(scheduler._workers.idle))
    assert tell(scheduler, repeated(2, 1000)) == [SendChunk(worker, 2, 0, 1000, 16)]
    assert scheduler.handle(Tick(), RECLAIM_AFTER) == [ReclaimChunks(worker)]
    answer = scheduler.handle(ChunksReclaimed(worker, 1, 16), RECLAIM_AFTER)
    assert [c[2:4] for c in answer if isinstance(c, SendChunk)] == [(16, 17), (17, 18)]


def test_only_workers_that_give_items_back_get_many_items_at_once() -> None:
    scheduler = after(pool(1), 1e-7)
    assert tell(scheduler, repeated(2, 1000))[0] == SendChunk(0, 2, 0, 1)


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
    assert scheduler.handle(Tick(), RECLAIM_AFTER) == [ReclaimChunks(sent.worker)]
    scheduler.handle(ChunksReclaimed(sent.worker, kept=1), RECLAIM_AFTER)
    assert scheduler.alarm == 3 * RECLAIM_AFTER, "later than before"
    assert scheduler.handle(Tick(), 3 * RECLAIM_AFTER) == [ReclaimChunks(sent.worker)]
    back = scheduler.handle(ChunksReclaimed(sent.worker, kept=1, items=16), 3 * RECLAIM_AFTER)
    assert SendChunk(1 - sent.worker, 1, 16, MANY) in back
    assert scheduler.alarm is None


def test_what_nobody_begins_does_not_go_to_and_fro() -> None:
    scheduler = Scheduler(2)
    workers = [WorkerReady(worker, can_reclaim_items=True) for worker in range(2)]
    tell(scheduler, Prestart(), *workers)
    tell(scheduler, submitted(1, MANY, MANY))
    asked, now = 0, 0.0
    while now < 1.0:
        now += RECLAIM_AFTER
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
