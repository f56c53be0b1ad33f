"""What stands between scheduler and workers: it tells the one what happened, and does what it says.

It does both as the engine and a backend do, and checks each command against the model at once.
"""

from collections import deque
from typing import Final

from tests.watched_states import States, Watch

from pmap._scheduling import job_states, worker_states
from pmap._scheduling.commands import (
    CheckDeadline,
    Command,
    DiscardChunks,
    FailJob,
    FinishCalls,
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
    Event,
    ItemRuns,
    ItemsFinished,
    WorkerGone,
    WorkerReady,
)
from pmap._scheduling.scheduler import Scheduler
from pmap._scheduling.state import Job as SchedulersJob
from pmap._scheduling.state import Worker as SchedulersWorker

from . import checks, workers
from .model import Chunk, Discard, Model, Quit, Worker


def _check(states: States, before: int | None, after: int) -> None:
    checks.states_are_those_of_the_table(states, before, after)


# In the whole of this test run.
workers_watch: Final = Watch(SchedulersWorker, "state", worker_states, _check)
jobs_watch: Final = Watch(SchedulersJob, "state", job_states, _check)


class Driver:
    """The scheduler under test, and what it was told and said.

    Attributes:
        scheduler: it.
        log: all events and commands, in order.
        reclaimed: how many chunks were taken back.
        split: of how many chunks a part was taken back.
        batches: how many messages had several chunks of a size that was asked for.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.scheduler = Scheduler(
            model.limit, model.max_chunks, model.can_kill, prefetch=not model.wears
        )
        self.log: list[Event | Command] = []
        self.reclaimed = 0
        self.split = 0
        self.batches = 0
        # What the scheduler is to say of failed items, and what it may say instead of nothing:
        self._expected: deque[LoseItem | RetryItem] = deque()
        self._may_lose: LoseItem | None = None

    # --- events ----------------------------------------------------------------------------------

    def tell(self, event: Event) -> list[Command]:
        """Tell the scheduler something, do what it answers, check everything; return the answer."""
        answer = self._handle(event)
        self._check()
        return answer

    def _handle(self, event: Event) -> list[Command]:
        self.log.append(event)
        answer = self.scheduler.handle(event, self._model.now)
        for command in answer:
            self.log.append(command)
            self._obey(command)
        return answer

    def deliver(self, worker: Worker) -> None:
        """Tell the scheduler the next thing that a worker has to tell."""
        event = worker.outbox.popleft()
        if isinstance(event, WorkerReady):
            worker.ready = True
            self._model.start_failures = 0
        elif isinstance(event, ItemsFinished):
            self._finish(worker, event)
        elif isinstance(event, WorkerGone):
            self._remove(worker, event.begun)
        self.tell(event)
        checks.all_failures_are_answered(self._expected)

    def _finish(self, worker: Worker, event: ItemsFinished) -> None:
        chunk = worker.holds[0]
        job = chunk.job
        items = range(chunk.next, chunk.next + event.items)
        checks.told_of_its_last_try(job, items)
        chunk.next = items.stop
        job.finished.update(items)
        for index in event.failed:
            if index in event.again and job.has_try_left(index):
                self._expected.append(RetryItem(job.id, index))
                job.finished.discard(index)
            else:
                job.failed.add(index)
        if event.last:
            worker.holds.popleft()
            worker.replace = event.replace
            job.given.difference_update(range(chunk.next, chunk.stop))

    def _remove(self, worker: Worker, begun: int) -> None:
        model = self._model
        del model.workers[worker.id]
        if worker.ready:
            model.start_failures = 0
        elif not worker.leaving:
            model.start_failures += 1
        self._may_lose = None
        if worker.holds:
            chunk = worker.holds[0]
            job = chunk.job
            if job.over is None and chunk.next < min(chunk.stop, job.end):
                if begun:
                    self._lose_begun(worker, chunk, begun)
                elif chunk.next == chunk.start and worker.asked is None:
                    job.tries[chunk.next] = job.tries.get(chunk.next, 0) + 1
                    if job.tries[chunk.next] >= checks.TRIES:
                        self._may_lose = LoseItem(job.id, chunk.next, worker.id)
        for chunk in worker.holds:
            chunk.job.given.difference_update(range(chunk.next, chunk.stop))

    def _lose_begun(self, worker: Worker, chunk: Chunk, begun: int) -> None:
        """Expect that the scheduler finds items lost, or tries them again."""
        checks.lost_by_its_own_death(self._model, worker, chunk)
        job = chunk.job
        overdue = worker.asked is not None
        may = job.retry_overdue if overdue else job.retry_lost
        for index in range(chunk.next, chunk.next + begun):
            if index >= job.end:
                break  # it is gone as well, but nobody wants it
            chunk.next += 1
            if may and job.has_try_left(index):
                self._expected.append(RetryItem(job.id, index))
            else:
                self._expected.append(LoseItem(job.id, index, worker.id, overdue))
                job.lose(index)

    # --- commands --------------------------------------------------------------------------------

    def _obey(self, command: Command) -> None:
        there = self._model.workers
        match command:
            case StartWorker(number):
                self._start(number)
            case SendChunk():
                self._send(command)
            case StopWorker(number):
                checks.stopped_once_and_with_nothing(there[number])
                there[number].stopped = True
                there[number].inbox.append(Quit())
            case KillWorker(number, gently):
                if gently:
                    self._ask_to_go(there[number])
                else:
                    self._kill(there[number])
            case LoseItem() | RetryItem():
                self._lose_or_retry(command)
            case DiscardChunks(number, id):
                job = self._model.jobs[id]
                checks.only_holders_are_told_that_a_job_is_over(there[number], job)
                there[number].inbox.append(Discard(job))
            case FinishJob() | FailJob() | FinishCalls():
                self._end(command)
            case CheckDeadline(number, limit):
                self._look(there[number], limit)
            case ReclaimChunks(number):
                self._reclaim(there[number])

    def _start(self, number: int) -> None:
        assert number not in self._model.workers
        checks.no_start_is_tried_for_ever(self._model)
        can_reclaim_chunks = self._model.can_reclaim_chunks and number % 5 != 4
        can_reclaim_items = can_reclaim_chunks and number % 3 != 2
        self._model.workers[number] = Worker(
            number,
            stubborn=number % 2 == 1,
            can_reclaim_chunks=can_reclaim_chunks,
            can_reclaim_items=can_reclaim_items,
            one_ahead=number % 4 > 1,
        )
        checks.no_more_workers_than_the_limit(self._model)

    def _send(self, command: SendChunk) -> None:
        worker = self._model.workers[command.worker]
        job = self._model.jobs[command.job]
        items = range(command.start, command.stop)
        checks.leaving_worker_gets_no_chunk(worker)
        checks.nothing_dispatched_of_what_is_over(job)
        checks.nothing_dispatched_after_a_failure(job, items)
        checks.dispatched_once(job, items)
        checks.chunk_can_be_taken_apart(self._model, worker, job, command)
        self.batches += job.chunksize is not None and len(items) > job.chunksize
        job.given.update(items)
        chunk = Chunk(job, items.start, items.stop, items.start, command.step)
        worker.holds.append(chunk)
        worker.inbox.append(chunk)
        worker.taken += 1
        checks.tried_after_its_delay(job, items)
        checks.worker_has_no_more_than_it_may(self._model, worker, job)

    def _ask_to_go(self, worker: Worker) -> None:
        checks.asked_to_go_only_if_overdue(worker)
        worker.killed = worker.gently = True
        worker.asked = self._model.now
        if not self._model.can_kill:
            workers.die(worker)  # it is left to itself, and nobody hears of it again

    def _kill(self, worker: Worker) -> None:
        if worker.asked is not None:
            checks.overdue_worker_has_time_to_speak(self._model, worker)
            worker.gently = False
        else:
            checks.killed_only_for_what_is_unwanted(self._model, worker)
            worker.killed = True

    def _reclaim(self, worker: Worker) -> None:
        checks.reclaimed_for_somebody(self._model, worker)
        unbegun, kept, items = workers.reclaim(worker)
        for chunk in unbegun:
            worker.holds.remove(chunk)
            worker.taken -= 1
            chunk.job.given.difference_update(range(chunk.start, chunk.stop))
        self.reclaimed += len(unbegun)
        if kept is not None and items is not None:
            stop, kept.stop = kept.stop, kept.start + items
            kept.job.given.difference_update(range(kept.stop, stop))
            self.split += kept.stop < stop
        # The driver answers in the middle of what it was told, and so does this.
        self._handle(ChunksReclaimed(worker.id, len(worker.holds), items))

    def _look(self, worker: Worker, limit: float) -> None:
        checks.looked_at_for_its_limit(worker, limit)
        since, held = workers.look(self._model, worker, limit)
        # The driver answers in the middle of what it was told, and so does this.
        self._handle(ItemRuns(worker.id, since, held))
        checks.overdue_is_ended_or_looked_at_again(
            self._model, self.scheduler, worker, since, limit
        )

    def _lose_or_retry(self, command: LoseItem | RetryItem) -> None:
        job = self._model.jobs[command.job]
        item = command.item
        if self._expected:
            checks.lost_or_retried_as_expected(job, command, self._expected.popleft())
        else:
            checks.unbegun_chunk_lost_only_after_three_deaths(self._may_lose)
            assert self._may_lose is not None
            retried = job.retry_lost and job.has_try_left(item)
            expected = RetryItem(job.id, item) if retried else self._may_lose
            checks.lost_or_retried_as_expected(job, command, expected)
            self._may_lose = None
            if retried:
                job.unbegun[item] = job.unbegun.get(item, 0) + 1
                job.tries[item] = 0
            else:
                job.lose(item)
        if isinstance(command, RetryItem):
            job.delay(item, self._model.now)
            for other in self._model.open_jobs():
                other.release(self._model.now)

    def _end(self, command: FinishJob | FailJob | FinishCalls) -> None:
        if isinstance(command, FinishCalls):
            for id in command.jobs:
                self._end(FinishJob(id, None))
            return
        model = self._model
        job = model.jobs[command.job]
        checks.ends_once(job)
        if isinstance(command, FailJob) and (job is model.withdrawing or model.ended):
            checks.what_has_begun_is_not_withdrawn(model, job)
            job.cancelled = True
            job.stop = False
        job.over = command
        if isinstance(command, FailJob) and not command.cancelled:
            checks.given_up_only_where_no_worker_can_start(model, job)
            return
        checks.ends_complete(job, command)
        if isinstance(command, FinishJob):
            checks.first_failure_is_told(job, command)
        checks.nothing_runs_after_the_end(model, job)

    # --- what must hold at any moment ------------------------------------------------------------

    def _check(self) -> None:
        """Check what holds between any two events."""
        model, scheduler = self._model, self.scheduler
        checks.ends_at_once(model)
        checks.no_worker_is_idle_while_work_waits(model)
        checks.workers_are_started_for_what_waits(model)
        checks.nothing_unwanted_runs_on(model)
        checks.no_idle_worker_stays_in_a_closed_pool(model)
        checks.tick_is_wanted_in_time(model, scheduler)
        checks.more_is_meant_for_who_can_take_it(scheduler)
        checks.counts_are_true(model, scheduler)
        is_quiet = not any(map(workers.is_busy, model.workers.values()))
        if is_quiet and not any(job.delayed() for job in model.open_jobs()):
            checks.nothing_is_stuck(model, scheduler)
            checks.nothing_is_kept_of_what_is_over(model, scheduler)
