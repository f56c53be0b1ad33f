"""The scheduler: a pure state machine that decides which worker gets which chunk.

The scheduler knows no process, thread, clock, pipe or pickle. The engine tells it by events what
has happened and when, and carries out the commands with which the scheduler answers. Tests drive
the scheduler through thousands of schedules without any worker.

The life of an item::

    submitted -> dispatched in a chunk -> finished | failed | lost with its worker | overdue
                     |                       (all are final: law "once"; but the last three may be
                     |                        tried again, as often as the caller asked for)
                     +-> the worker died before the item began -> dispatched again

Invariants, which a state machine in the tests checks:

- an item is dispatched again only if its worker is gone and had not begun the item, or if its
  worker gave the item back unbegun, or if the item failed and is to be tried again;
- a finished item is never dispatched again;
- a job ends exactly once, and only when every item before its first failure is finished, and, if
  its input comes bit by bit, when the input has ended or is not wanted any more;
- after the first failure (unless failures are collected) no later item is dispatched;
- no worker holds a chunk while the worker is being stopped;
- there are never more live workers than the limit.

**Time.** Each event comes with the time, in seconds of any clock that only goes forward. `alarm` is
the time at which the scheduler wants the next event `Tick`. At a `Tick` the scheduler asks how long
a worker's item has run (`CheckDeadline`), and ends the worker if the item exceeds its `timeout`; or
it sends an item whose delay before another try is over; or it takes back items that wait behind a
slow item.

**Parts.** This module handles each event. `state` has the data of jobs, chunks and workers;
`job_states` and `worker_states` have their states. Each other module has one task:

- `job_queue`: which job is dispatched next;
- `workers`: which workers there are, and how they begin and end;
- `dispatcher`: sends chunks to workers; `prefetch`: which busy workers get more chunks;
- `reclaiming`: takes back items that workers have not begun;
- `deadlines`: ends items that run for too long;
- `retries`: which failed items are tried again, and when (`delay_queue`);
- `job_endings`: how jobs end; `call_endings`: how several jobs of one item end together.
"""

from collections.abc import Callable

from .answer import Answer
from .call_endings import CallEndings
from .chunk_sizes import worth_ahead
from .commands import Command, LoseItem
from .deadlines import Deadlines
from .dispatcher import Dispatcher
from .events import (
    CallsFinished,
    CallsSubmitted,
    CapacityChanged,
    ChunksReclaimed,
    Close,
    Event,
    InputArrived,
    InputEnded,
    ItemRuns,
    ItemsFinished,
    ItemsSorted,
    JobCancelled,
    JobSubmitted,
    JobWithdrawn,
    Prestart,
    Renew,
    Retire,
    Terminate,
    Tick,
    WorkerGone,
    WorkerReady,
)
from .job_endings import JobEndings
from .job_queue import JobQueue
from .job_states import FAILING, FINISHED, OPEN, RUNNING
from .prefetch import Prefetch
from .reclaiming import Reclaiming
from .retries import Retries
from .run_rules import RunRules
from .state import Chunk, Job, Worker
from .worker_states import OVERDUE
from .workers import Workers

# If this many workers have died with a chunk before they began it, the items of the chunk count as
# lost. A worker may be killed from outside at just that moment, so one death is not enough; but a
# chunk that, say, is too large for any worker to receive must not be sent again for ever.
MAX_TRIES = 3


class Scheduler:
    """The scheduler of one pool, with the state of the pool's jobs and workers.

    Attributes:
        timed: whether any job may need the event `Tick`, because of a `timeout` or of retries.
    """

    def __init__(
        self,
        limit: int,
        max_chunks: int | None = None,
        can_kill: bool = True,
        prefetch: bool = True,
    ) -> None:
        """Make the scheduler of a pool that has no workers yet.

        Args:
            limit: how many workers there may be at a time.
            max_chunks: how many chunks a worker may run before it is replaced; None for no limit.
            can_kill: whether workers can be killed (processes) or only be asked to end (threads).
            prefetch: whether busy workers may be sent chunks before they need them. False if a
                worker may have to be replaced after any chunk.
        """
        answer = self._answer = Answer()
        jobs = self._jobs = JobQueue()
        self._prefetch = Prefetch(jobs, limit)
        workers = self._workers = Workers(limit, max_chunks, jobs, self._prefetch, answer)
        self._deadlines = Deadlines(workers, answer)
        self._reclaiming = Reclaiming(workers, self._prefetch, answer)
        self._retries = Retries(jobs, self._prefetch, answer)
        self._endings = JobEndings(jobs, workers, self._reclaiming, answer, can_kill)
        self._call_endings = CallEndings(
            jobs, workers, self._prefetch, self._reclaiming, self._deadlines, self._endings, answer
        )
        self._dispatcher = Dispatcher(
            jobs,
            workers,
            self._prefetch,
            self._reclaiming,
            self._deadlines,
            answer,
            can_prefetch=prefetch,
            can_combine=prefetch and max_chunks is None,
        )
        self._now = 0.0
        self.timed: bool = False
        # Whether there is nothing to send after this event: its worker holds enough chunks, and no
        # new items wait.
        self._dispatch_can_wait = False
        self._handlers = self._table()

    def _table(self) -> dict[type, Callable[..., None]]:
        """Return a table: for each type of event, the function that handles it."""

        def on_item_runs(event: ItemRuns) -> None:
            self._deadlines.on_item_runs(event, self._now)

        return {
            JobSubmitted: self._on_job_submitted,
            CallsSubmitted: self._on_calls_submitted,
            InputArrived: self._on_input_arrived,
            InputEnded: self._on_input_ended,
            ItemsSorted: self._on_items_sorted,
            JobCancelled: self._on_job_cancelled,
            JobWithdrawn: self._on_job_withdrawn,
            Prestart: self._workers.prestart,
            Retire: self._workers.retire,
            Renew: self._on_renew,
            Close: self._on_close,
            Terminate: self._on_terminate,
            Tick: self._on_tick,
            ItemRuns: on_item_runs,
            ChunksReclaimed: self._on_chunks_reclaimed,
            CapacityChanged: self._on_capacity_changed,
            WorkerReady: self._workers.begin,
            ItemsFinished: self._on_items_finished,
            CallsFinished: self._on_calls_finished,
            WorkerGone: self._on_worker_gone,
        }

    def handle(self, event: Event, now: float = 0.0) -> list[Command]:
        """Handle an event that happened at the time `now`; return the commands, in order."""
        self._now = now
        self._dispatch_can_wait = False
        # This code runs for each chunk, so a table gives the method that handles an event: a
        # `match` statement would try one type of event after the other.
        self._handlers[type(event)](event)
        if self._jobs.turns and (self._workers.idle or not self._dispatch_can_wait):
            self._dispatcher.dispatch(now)
        answer, commands = self._answer, self._answer.commands
        answer.commands = []
        if answer.questions:
            commands += answer.questions
            answer.questions = []
        return commands

    # --- questions about jobs and workers ------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether any job is not over or, in a closed pool, any worker has not ended."""
        return bool(self._jobs) or (self._workers.closed and bool(self._workers.all))

    @property
    def awaits_events(self) -> bool:
        """Whether events are still to come, because the scheduler is busy or a worker is ending."""
        workers = self._workers
        return bool(self._jobs or workers.leaving or (workers.closed and workers.all))

    @property
    def closed(self) -> bool:
        """Whether no more jobs may come."""
        return self._workers.closed

    @property
    def is_full(self) -> bool:
        """Whether a new job of one item would only wait in the queue, because no worker is free."""
        return bool(self._jobs.turns) and len(self._workers.all) >= self._workers.limit

    def cost_and_read_ahead(self, id: int) -> tuple[float | None, int]:
        """Return the seconds that an item of a job takes, and how many items a stream reads ahead.

        The seconds are None before the first measurement.
        """
        job = self._jobs.get(id)
        if job is None:
            return None, 1
        cost = job.cost
        ahead = worth_ahead(
            self._workers.limit, cost.seconds, job.rules.chunksize, cost.items, cost.size
        )
        return cost.seconds, ahead

    @property
    def starting(self) -> int:
        """How many workers were started and are not ready for chunks yet."""
        return self._workers.starting

    def all_workers(self) -> list[int]:
        """Return the numbers of the workers that were started and have not ended."""
        return [*self._workers.all]

    @property
    def at_work(self) -> int:
        """How many workers hold chunks; any thread may read this property."""
        return sum([1 for worker in [*self._workers.all.values()] if worker.chunks])

    @property
    def workers(self) -> int:
        """How many workers were started and have not ended."""
        return len(self._workers.all)

    def where(self, id: int) -> list[tuple[int, int]]:
        """Return which workers hold chunks of a job.

        Each pair is the number of a worker, and the position of a chunk among the worker's chunks.
        """
        job = self._jobs.peek(id)
        if job is None or not job.in_flight:
            return []
        return [
            (worker.id, place)
            for worker in self._workers.holders_of(job)
            for place, chunk in enumerate(worker.chunks)
            if chunk.job is job
        ]

    @property
    def alarm(self) -> float | None:
        """The time at which the scheduler wants the event `Tick`; None: it wants none."""
        reclaiming = self._reclaiming
        if not (reclaiming.has_candidates or self.timed):
            # Usually no call has a time limit or retries, and no worker holds items that may be
            # taken back.
            return None
        times: list[float] = []
        if reclaiming.has_candidates and self._workers.idle and not self._jobs.turns:
            times += reclaiming.next_due()
        if self.timed:
            times += self._deadlines.next_due()
            times += self._retries.next_due()
            self.timed = bool(times or self._jobs)
        return min(times, default=None)

    # --- events of jobs ------------------------------------------------------------------------

    def _on_capacity_changed(self, event: CapacityChanged) -> None:
        self._workers.limit = event.limit
        self._workers.overhead = event.overhead
        self._prefetch.resize(event.limit)

    def _on_job_submitted(self, event: JobSubmitted) -> None:
        self._expect_job(event.rules)
        job = self._jobs.add(event)
        if job is None:
            return
        if event.size:
            self._jobs.enqueue(job)
        else:
            self._endings.finish_if_done(job)

    def _on_calls_submitted(self, event: CallsSubmitted) -> None:
        self._expect_job(event.rules)
        self._jobs.add_calls(*event)

    def _expect_job(self, rules: RunRules) -> None:
        self._workers.expect_job()
        self.timed = self.timed or rules.timeout is not None or bool(rules.retries)

    def _on_input_arrived(self, event: InputArrived) -> None:
        job = self._jobs.get(event.job)
        # A job that has failed or was cancelled takes no more input.
        if job is not None and job.state == OPEN:
            job.end += event.items
            self._prefetch.enqueue(job)

    def _on_items_sorted(self, event: ItemsSorted) -> None:
        job = self._jobs.get(event.job)
        if job is None:
            return
        # A job that is failing or cancelled wants no new items.
        if job.state < FAILING:
            job.end += event.items
            # The items that have to run are queued in the same way as items that are run again.
            job.cursor = job.end
        if job.tried is None or job.delayed is None:
            job.tried, job.delayed = {}, set()
        job.delayed.difference_update(event.decided)
        job.delayed.update(event.held)
        self._requeue_wanted(job, event.run)
        if event.failed is not None:
            self._endings.fail(job, event.failed)
        self._endings.finish_if_done(job)

    def _requeue_wanted(self, job: Job, ranges: tuple[tuple[int, int], ...]) -> None:
        for start, stop in ranges:
            if start < job.end:
                job.requeue(start, min(stop, job.end), 0)
        if ranges:
            self._prefetch.enqueue(job)

    def _on_input_ended(self, event: InputEnded) -> None:
        job = self._jobs.get(event.job)
        if job is not None and job.state == OPEN:
            job.state = RUNNING
            self._endings.finish_if_done(job)

    def _on_job_cancelled(self, event: JobCancelled) -> None:
        job = self._jobs.get(event.job)
        if job is not None:
            self._endings.cancel(job, event.kill)

    def _on_job_withdrawn(self, event: JobWithdrawn) -> None:
        job = self._jobs.get(event.job)
        if job is not None:
            self._endings.withdraw(job)

    # --- events of workers ---------------------------------------------------------------------

    def _on_items_finished(self, event: ItemsFinished, more: bool = False) -> None:
        # `more`: the worker has finished its next chunk, too, and the event that tells so comes
        # next.
        worker = self._workers.all[event.worker]
        chunk = worker.chunks[0]
        job = chunk.job
        queued = len(self._jobs.turns)
        chunk.next += event.items
        if event.last:
            # The chunk is removed before the failures of its items are handled. The worker has
            # begun its next chunk by now, and a failure may make that chunk unwanted.
            self._remove_first_chunk(worker, event)
        self._prefetch.consider(worker)
        for index in event.failed:
            if not (index in event.again and self._retries.try_again(job, index, self._now)):
                self._endings.fail(job, index)
        if event.last and chunk.next < min(chunk.stop, job.end) and job.state < FINISHED:
            # The worker has skipped the rest of the chunk, so its items are queued again.
            self._reclaiming.requeue(chunk)
        if not more and worker.chunks and worker.chunks[0].next >= worker.chunks[0].job.end:
            # The worker's next chunk may have become unwanted meanwhile.
            self._endings.end_unwanted(worker)
        if job.state < FINISHED:
            self._endings.finish_if_done(job)
            if self._dispatcher.stopped:
                self._endings.cancel_if_idle(job)
        has_enough = len(worker.chunks) > self._prefetch.most_held() // 2
        # If this event has queued items, an idle worker may take them.
        self._dispatch_can_wait = has_enough and len(self._jobs.turns) <= queued
        if not worker.chunks:
            self._workers.idle_or_stop(worker)

    def _on_calls_finished(self, event: CallsFinished) -> None:
        worker = self._workers.all[event.worker]
        if self._call_endings.finish(worker, event, self._now):
            self._dispatch_can_wait = len(worker.chunks) > self._prefetch.most_held() // 2
            return
        each, size = event.elapsed / event.chunks, event.size // event.chunks
        for more in [True] * (event.chunks - 1) + [False]:
            self._on_items_finished(ItemsFinished(worker.id, 1, (), each, True, size=size), more)

    def _remove_first_chunk(self, worker: Worker, event: ItemsFinished) -> None:
        """Record that a worker has finished its first chunk, and measure the cost of its items."""
        chunk = worker.chunks.popleft()
        job = chunk.job
        job.remove_in_flight(chunk)
        worker.replace = worker.replace or event.replace
        items = chunk.next - chunk.start
        self._call_endings.go_on(worker, job.cost, event, self._now, chunks=1, items=items)

    def _on_worker_gone(self, event: WorkerGone) -> None:
        worker = self._workers.remove(event)
        touched: dict[int, Job] = {}
        for chunk in worker.chunks:
            job = chunk.job
            job.remove_in_flight(chunk)
            if job.state >= FINISHED:
                continue
            touched[job.id] = job
            if chunk is worker.chunks[0] and chunk.next < min(chunk.stop, job.end):
                # The death counts as a failed try of the chunk only if no item of the chunk was
                # finished, and the scheduler has not killed the worker. Otherwise the death says
                # nothing about the items that had not begun.
                if chunk.next == chunk.start and worker.state < OVERDUE:
                    chunk.tries += 1
                self._lose_items(worker, chunk, event.begun or int(chunk.tries >= MAX_TRIES))
            if chunk.next < min(chunk.stop, job.end):
                self._reclaiming.requeue(chunk)
        for job in touched.values():
            self._endings.finish_if_done(job)
            if self._dispatcher.stopped:
                self._endings.cancel_if_idle(job)
        if self._workers.are_hopeless:
            self._endings.end_all_unstarted()

    def _lose_items(self, worker: Worker, chunk: Chunk, lost: int) -> None:
        """Record that the next `lost` items of a chunk were lost when their worker ended."""
        job = chunk.job
        for index in range(chunk.next, min(chunk.next + lost, chunk.stop)):
            if index >= job.end:
                break  # the job has ended, because an earlier item was lost
            chunk.next = index + 1
            overdue = worker.state == OVERDUE
            may = job.rules.retry_overdue if overdue else job.rules.retry_lost
            if not (may and self._retries.try_again(job, index, self._now)):
                self._answer.commands.append(LoseItem(job.id, index, worker.id, overdue))
                self._endings.fail(job, index)

    def _on_chunks_reclaimed(self, event: ChunksReclaimed) -> None:
        worker = self._workers.all[event.worker]
        reclaimed = self._reclaiming.take_back(worker, event, self._now)
        if event.kept == 1:
            # The worker runs the last of the chunks that it keeps. It has finished the others, and
            # the events `ItemsFinished` of those come soon.
            self._endings.end_unwanted(worker)
        self._endings.settle_withdrawals(worker, reclaimed)
        for job in reclaimed:
            self._endings.finish_if_done(job)
        if not worker.chunks:
            self._deadlines.start(worker, self._now)
            self._workers.idle_or_stop(worker)
            if worker.id in self._workers.idle:
                # This worker was too slow to begin the chunks that it has given back, so it is the
                # last idle worker to get a chunk.
                self._workers.idle = {worker.id: worker, **self._workers.idle}

    # --- events of time ------------------------------------------------------------------------

    def _on_tick(self, _: Tick) -> None:
        self._deadlines.check(self._now)
        self._retries.requeue_due(self._now)
        # Waiting items are sent before items are taken back from busy workers: the waiting items
        # may be enough for all idle workers.
        self._dispatcher.dispatch(self._now)
        if self._workers.idle and not self._jobs.turns:
            self._reclaiming.request_for_idle(self._now)

    # --- events of the pool --------------------------------------------------------------------

    def _on_renew(self, _: Renew) -> None:
        for worker in self._workers.all.values():
            if worker.leaving:
                continue
            if worker.chunks:
                worker.replace = True
                if worker.holds_more():
                    # The worker will be replaced, so other workers are to run the items that it has
                    # not begun.
                    self._reclaiming.request(worker)
            else:
                self._workers.stop(worker)

    def _on_close(self, _: Close) -> None:
        self._workers.closed = True
        self._workers.retire_if_done()

    def _on_terminate(self, event: Terminate) -> None:
        self._workers.closed = True
        self._dispatcher.stopped = event.lose
        for worker in self._workers.all.values():
            self._workers.kill(worker)
        for id in self._jobs:
            job = self._jobs.get(id)
            if job is None:
                continue
            if not event.lose:
                self._endings.cancel(job, kill=True)
            else:
                self._endings.cancel_if_idle(job)
