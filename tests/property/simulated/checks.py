"""What must hold of the scheduler: one function for each invariant, by its name in the docs.

Each compares what the scheduler says with the model, which knows what really happened.
"""

from collections.abc import Sequence
from math import inf
from typing import Final, TypeAlias

from tests.watched_states import States, check_transition

from pmap._scheduling.commands import Command, FailJob, FinishJob, LoseItem, RetryItem, SendChunk
from pmap._scheduling.deadlines import LAST_WORDS
from pmap._scheduling.prefetch import MOST_CALLS, MOST_HELD
from pmap._scheduling.scheduler import Scheduler
from pmap._scheduling.workers import MAX_START_FAILURES

from .model import Chunk, Job, Model, Running, Worker

Failure: TypeAlias = LoseItem | RetryItem  # what the scheduler says of a failed item
TRIES: Final = 3  # deaths with a chunk that had not begun, after which an item may be given up


# --- items ---------------------------------------------------------------------------------------


def dispatched_once(job: Job, items: range) -> None:
    """An item is dispatched again only if it had not begun, or is to be tried again."""
    assert job.given.isdisjoint(items), "an item is dispatched again"
    assert job.begun.isdisjoint(items), "an item is dispatched that had begun"


def begins_once(job: Job, items: range) -> None:
    """An item begins again only if it is to be tried again, and never if it succeeded."""
    assert job.begun.isdisjoint(items), f"one of items {items} of {job.id} begins twice"
    assert job.succeeded.isdisjoint(items), f"one of items {items} had succeeded"


def tried_as_often_as_allowed(job: Job, items: range) -> None:
    """An item begins at most once more than its job has retries."""
    for item in items:
        assert job.begins[item] <= 1 + len(job.retries), f"{item} begins too often"


def tried_after_its_delay(job: Job, items: range) -> None:
    """An item is tried again only when its delay is over."""
    assert job.later.keys().isdisjoint(items), "an item is tried again before its delay is over"


def told_of_its_last_try(job: Job, items: range) -> None:
    """What the scheduler is told of an item is of the try that began last."""
    for item in items if job.retries else ():
        tries = job.retried.get(item, 0) - job.unbegun.get(item, 0) + 1
        assert job.begins[item] == tries, f"it was told of another try of {item}"


def nothing_dispatched_after_a_failure(job: Job, items: range) -> None:
    """After the first failure no later item is dispatched, unless failures are collected."""
    assert items.stop <= job.end, "an item is dispatched after a failure before it"


def lost_by_its_own_death(model: Model, worker: Worker, chunk: Chunk) -> None:
    """An item that had begun is lost only if its worker died by itself, or was over its limit."""
    if worker.asked is None:
        by_itself = worker.innocent or model.ended
        assert by_itself, f"item {chunk.next} of {chunk.job.id} fell to a kill of ours"
        return
    seen = worker.seen
    assert seen is not None
    assert seen.chunk is chunk
    assert seen.since is not None
    limit = chunk.job.timeout
    assert limit is not None, "an item is overdue that may take its time"
    assert seen.since + limit <= model.now, "an item is overdue before its time"


def lost_or_retried_as_expected(job: Job, said: Failure, expected: Failure) -> None:
    """A failed item is tried again if it may be; else it is lost, if its worker is."""
    assert said == expected, "another item was lost or is tried again"
    if isinstance(said, RetryItem):
        assert said.item not in job.later


def all_failures_are_answered(expected: Sequence[Failure]) -> None:
    """Of each item that was lost, and each that is tried again, the scheduler says so."""
    assert not expected, f"{expected} is missing"


def unbegun_chunk_lost_only_after_three_deaths(expected: LoseItem | None) -> None:
    """Of a chunk that had not begun, an item is lost only after three workers died of it."""
    assert expected is not None, "an item is lost that is not"


def chunk_can_be_taken_apart(model: Model, worker: Worker, job: Job, command: SendChunk) -> None:
    """Parts of chunks, and several in one message, only go where they can be taken back."""
    size = command.stop - command.start
    assert size, "a chunk of nothing"
    assert not command.step or worker.can_reclaim_items, "nobody could have the rest of it back"
    assert 0 <= command.step < size
    assert not (job.at_once and command.step), "they all begin at once"
    if job.chunksize is not None and size > job.chunksize:
        assert worker.can_reclaim_items, "chunks are put together for good"
        assert model.max_chunks is None, "a chunk counts as several"
        assert not job.streams, "results are kept from who waits for them"
        assert not job.at_once


# --- jobs ----------------------------------------------------------------------------------------


def ends_once(job: Job) -> None:
    """A job ends once."""
    assert job.over is None, "a job ends twice"


def ends_complete(job: Job, command: FinishJob | FailJob) -> None:
    """A job ends when its wanted items are finished, and its input has ended or is not wanted."""
    assert job.complete, "a job ends while results are to come"
    failed = job.failed and not job.collect
    assert job.cancelled or failed or not job.open, "a job ends while items are to come"
    assert isinstance(command, FailJob) == job.cancelled


def what_has_begun_is_not_withdrawn(model: Model, job: Job) -> None:
    """A job is withdrawn only if nothing of it has begun."""
    assert job is not model.withdrawing or not job.begun, "what has begun is cancelled"


def ends_at_once(model: Model) -> None:
    """A job that can end has ended, or waits for what runs of it and is to be ended."""
    for job in model.open_jobs():
        if job.complete and not job.takes_more:
            is_held = model.can_kill and job.stop and model.holders(job)
            assert is_held, f"job {job.id} could be over"


def first_failure_is_told(job: Job, command: FinishJob) -> None:
    """The first failure in the order of the input is told, whichever came first."""
    if command.failed is None:
        assert job.end == job.size
    else:
        assert not job.collect
        assert command.failed == min(job.failed), "not the error of the serial loop"


def fails_with_the_errors_of_its_items(job: Job) -> None:
    """How a job ends is known beforehand where no worker dies but by an item's own fault."""
    if job.cancelled:
        assert job.over == FailJob(job.id, cancelled=True)
        return
    fatal: list[int] = []
    for item, doom in job.dooms.items():
        tries = 1 + len(job.retries) if job.may_retry(doom) else 1
        if item < job.size and (doom.times is None or doom.times >= tries):
            fatal.append(item)
    first = None if job.collect else min(fatal, default=None)
    if job.at_once and job.dooms:
        # One that falls with another has a try less, and may fail, or be spared, by that.
        assert isinstance(job.over, FinishJob)
    elif job.collect:
        assert job.over == FinishJob(job.id, None)
        assert job.failed == set(fatal)
    else:
        assert job.over == FinishJob(job.id, first)


def given_up_only_where_no_worker_can_start(model: Model, job: Job) -> None:
    """A job that was not cancelled fails only if there are no workers, and none can start."""
    assert not job.cancelled
    assert not model.workers, "a job is given up while there are workers"
    assert model.start_failures >= MAX_START_FAILURES


def nothing_runs_after_the_end(model: Model, job: Job) -> None:
    """A job that ends what runs is over when nothing of it can run any more."""
    if model.can_kill and job.stop and job.end < job.size:
        living = [worker for worker in model.holders(job) if not worker.dead]
        assert not living, "a job is over while an item of it may run"


def nothing_dispatched_of_what_is_over(job: Job) -> None:
    """A job that is over has no item dispatched any more."""
    assert job.over is None, "a chunk of a job that is over"


def unwanted_input_changes_nothing(answer: Sequence[Command]) -> None:
    """Input for a job that takes no more has no effect; chunks that waited may be sent ahead."""
    only_sends = all(isinstance(command, SendChunk) for command in answer)
    assert only_sends, "input counts that nobody wants any more"


def nothing_is_kept_of_what_is_over(model: Model, scheduler: Scheduler) -> None:
    """When nothing is under way, the scheduler keeps nothing of what is over."""
    assert {*scheduler._jobs} == {job.id for job in model.open_jobs()}
    assert not scheduler._jobs.turns, "jobs with nothing to do stay in the queue"
    assert scheduler._workers.all.keys() == model.workers.keys()
    assert scheduler._workers.idle.keys() == model.workers.keys()
    assert not any(worker.chunks for worker in scheduler._workers.all.values())


def nothing_is_stuck(model: Model, scheduler: Scheduler) -> None:
    """When nothing happens any more by itself, jobs only wait for their input."""
    jobs = model.open_jobs()
    assert all(job.takes_more for job in jobs), "nothing happens, and a job is not over"
    assert all(job.complete for job in jobs), "nothing happens, and results are to come"
    assert all(worker.idle for worker in model.workers.values())
    assert scheduler.alarm is None, "there is nothing to look at"


# --- workers -------------------------------------------------------------------------------------


def no_more_workers_than_the_limit(model: Model) -> None:
    """There are never more live workers than the limit."""
    assert len(model.workers) <= model.limit, "there are too many workers"


def no_worker_is_idle_while_work_waits(model: Model) -> None:
    """No worker is idle while there is work."""
    if not model.ended and any(job.waiting for job in model.open_jobs()):
        assert not any(w.idle for w in model.workers.values()), "work waits while a worker is idle"


def workers_are_started_for_what_waits(model: Model) -> None:
    """When work waits, a worker is started for it, until three in a row could not start."""
    jobs = [job for job in model.open_jobs() if job.waiting]
    if not jobs or model.ended:
        return
    workers = model.workers.values()
    if model.start_failures >= MAX_START_FAILURES:
        assert workers, "work waits, and nobody will come"
        return
    taken = sum(1 for w in workers if w.holds or w.leaving)
    chunks = sum(-(-job.waiting // (job.chunksize or 1)) for job in jobs)
    enough = min(chunks, model.limit - taken)
    assert len(workers) - taken >= enough, "work waits, and no worker is started for it"


def no_start_is_tried_for_ever(model: Model) -> None:
    """No worker is started when three in a row could not start."""
    assert model.start_failures < MAX_START_FAILURES, "no start is tried for ever"


def leaving_worker_gets_no_chunk(worker: Worker) -> None:
    """A worker that is stopped, to be replaced, or whose time is over gets no chunk."""
    assert worker.ready, "a chunk is sent to a worker that is not ready"
    assert not worker.leaving, "a chunk is sent to a worker that is leaving"
    assert not worker.replace, "a chunk is sent to a worker that is to be replaced"


def worker_has_no_more_than_it_may(model: Model, worker: Worker, job: Job) -> None:
    """A worker holds few chunks, and is sent no more than it may run."""
    most = MOST_CALLS if job.size == 1 and not job.streams else MOST_HELD
    assert len(worker.holds) <= (1 if model.wears else most), "too many chunks for a worker"
    assert model.max_chunks is None or worker.taken <= model.max_chunks


def nothing_unwanted_begins(model: Model, worker: Worker, running: Running) -> None:
    """Nothing begins of a job that is over, and no chunk that nobody wants."""
    job = running.chunk.job
    if not (job.stop and model.can_kill):
        return
    assert job.over is None, "an item begins when all was said to be done"
    if worker.can_reclaim_chunks and not worker.killed and running.hand == running.chunk.start:
        assert running.hand < job.end, "a chunk begins that nobody wants"


def nothing_unwanted_runs_on(model: Model) -> None:
    """What nobody wants does not run on, unless that was asked for."""
    for worker in model.workers.values() if model.can_kill else ():
        if worker.running is None or worker.leaving or worker.dead:
            continue
        chunk = worker.running.chunk
        if chunk is worker.holds[0] and chunk.job.stop:
            assert chunk.next < chunk.job.end, "what nobody wants runs on"


def stopped_once_and_with_nothing(worker: Worker) -> None:
    """A worker is stopped only if it holds nothing, and once."""
    assert not worker.holds, "a worker is stopped that holds something"
    assert not worker.leaving, "a worker is stopped twice"


def killed_only_for_what_is_unwanted(model: Model, worker: Worker) -> None:
    """A worker is killed once, and only if nobody wants what it holds, or all are killed."""
    assert not worker.killed, "a worker is killed twice"
    if model.terminated:
        return
    assert model.can_kill
    assert worker.holds, "a worker is killed that holds nothing"
    for chunk in worker.holds:
        job = chunk.job
        assert chunk.next >= job.end, "a worker is killed that holds wanted items"
        assert job.stop, "a worker is killed for a job that lets it run on"
        assert job.cancelled or not job.collect


def reclaimed_for_somebody(model: Model, worker: Worker) -> None:
    """Chunks are taken back if another worker is idle, or they or their worker are unwanted."""
    # It may be told to go by what was answered to a look just before.
    for_others = any(other.idle for other in model.workers.values())
    if model.withdrawing is not None:
        for_others = for_others or worker in model.holders(model.withdrawing)
    unwanted = any((c.job.stop or c.step) and c.next >= c.job.end for c in worker.holds)
    assert for_others or unwanted or worker.renewed, "they are taken back for nobody"
    more = len(worker.holds) > 1 or any(chunk.step for chunk in worker.holds)
    assert more, "there is nothing to take back"


def only_holders_are_told_that_a_job_is_over(worker: Worker, job: Job) -> None:
    """That a job is over is told to workers that hold chunks of it and are not leaving."""
    assert job.over is None, "the driver knows it no more"
    assert not worker.leaving
    assert any(chunk.job is job for chunk in worker.holds)


def no_idle_worker_stays_in_a_closed_pool(model: Model) -> None:
    """When a pool is closed and has no jobs, its workers go."""
    if model.closed and not model.open_jobs():
        idle = any(worker.idle for worker in model.workers.values())
        assert not idle, "an idle worker stays in a closed pool"


def more_is_meant_for_who_can_take_it(scheduler: Scheduler) -> None:
    """More is sent ahead only to workers that are there and not leaving."""
    prefetch = scheduler._prefetch
    for worker in (*prefetch._below_target.values(), *prefetch._at_share.values()):
        assert scheduler._workers.all.get(worker.id) is worker, "it is for one that is gone"
        assert not worker.leaving, "it is for one that is leaving"


def states_are_those_of_the_table(states: States, before: int | None, after: int) -> None:
    """A worker or a job goes over to another state only where the table of states has it."""
    check_transition(states, before, after)


def counts_are_true(model: Model, scheduler: Scheduler) -> None:
    """The scheduler knows how many workers there are, and whether it has anything to do."""
    assert scheduler.workers == len(model.workers)
    assert scheduler.busy == bool(model.open_jobs() or (model.closed and model.workers))


# --- time ----------------------------------------------------------------------------------------


def tick_is_wanted_in_time(model: Model, scheduler: Scheduler) -> None:
    """While an item has a time limit, or waits for its next try, a tick is wanted in time."""
    jobs = model.open_jobs()
    if not scheduler.timed:
        assert not any(job.timeout or job.delayed() for job in jobs), "no alarm is looked for"
        return
    latest = min([due for job in jobs for due in job.delayed()], default=inf)
    for worker in model.workers.values():
        if worker.gently and worker.asked is not None:
            # When its time is over it is killed, and nothing more is waited for.
            latest = min(latest, worker.asked + LAST_WORDS)
        elif worker.holds and not worker.leaving:
            limit = worker.holds[0].job.timeout
            latest = latest if limit is None else min(latest, model.now + limit)
    if latest < inf:
        alarm = scheduler.alarm
        assert alarm is not None, "nobody will know that the time has come"
        assert alarm <= latest, "it will be known too late that the time has come"


def no_tick_is_wanted_twice(model: Model, alarm: float | None) -> None:
    """After a tick, the next one is wanted later."""
    assert alarm is None or alarm > model.now, "a tick is wanted that there was just now"


def looked_at_for_its_limit(worker: Worker, limit: float) -> None:
    """A worker is asked what it runs if that has a time limit."""
    assert not worker.leaving, "a worker is looked at that is leaving"
    assert limit == worker.holds[0].job.timeout


def overdue_is_ended_or_looked_at_again(
    model: Model, scheduler: Scheduler, worker: Worker, since: float | None, limit: float
) -> None:
    """A worker that runs an item over its limit is ended; another is looked at again in time."""
    if worker.held:
        assert worker.gently, "an item runs for too long, and nobody ends it"
        return
    alarm = scheduler.alarm
    latest = (model.now if since is None else since) + limit
    assert alarm is not None, "nobody looks at a worker again"
    assert alarm <= latest, "a worker is looked at again too late"


def asked_to_go_only_if_overdue(worker: Worker) -> None:
    """A worker is ended for its time only if it was asked, and its item is over its limit."""
    assert not worker.leaving, "a worker is asked to go that is leaving"
    assert worker.held, "a worker is killed gently that may go on"


def overdue_worker_has_time_to_speak(model: Model, worker: Worker) -> None:
    """A worker that was asked to go is killed once, and only when its time to speak is over."""
    assert worker.gently, "a worker is killed a third time"
    assert worker.asked is not None
    assert model.now >= worker.asked + LAST_WORDS, "a worker has no time to speak"
