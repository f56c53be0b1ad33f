"""Which chunk goes to which worker: a pure state machine, events in, commands out.

It knows no process, thread, clock, pipe or pickle. The driver tells it what happened and when, and
carries out what it answers; tests drive it through thousands of schedules with nothing running.

The life of an item::

    submitted -> dispatched in a chunk -> finished | failed | lost with its worker | overdue
                     |                       (all are final: law "once"; but the last three may be
                     |                        tried again, as often as the caller asked for)
                     +-> the worker died before it began -> dispatched again

Invariants, held by the state machine in the tests:

- an item is dispatched again only if the worker that had it is gone and had not begun it, or
  handed it back unbegun, or if it failed and is to be tried again;
- a finished item is never dispatched again;
- a job ends exactly once, and only when every item before its first failure is finished, and, if
  its input comes bit by bit, when that has ended or is not wanted any more;
- after the first failure (unless failures are collected) no later item is dispatched;
- no worker holds a chunk while it is being stopped;
- there are never more live workers than the limit.

**Time.** Each event comes with the time, in seconds of any clock that only goes forward. `alarm` is
when the scheduler wants the next `Tick`. It then asks how long a worker's item has run
(`CheckDeadline`), and ends the worker if the item exceeds its time limit; or it sends an item whose
delay before another try is over.

What is kept of jobs, chunks and workers is in `state`, and the states of a worker in
`worker_states`; `job_queue` has whose turn it is, `prefetch` who is sent more than it runs, and
`delay_queue` what is to be tried again.
"""

from collections.abc import Callable
from math import inf

from .chunk_sizes import worth_ahead
from .commands import (
    CheckDeadline,
    Command,
    DiscardChunks,
    FailJob,
    FinishJob,
    LoseItem,
    ReclaimChunks,
    RetryItem,
    SendChunk,
)
from .delay_queue import DelayQueue
from .events import (
    ChunksReclaimed,
    Close,
    Event,
    InputArrived,
    InputEnded,
    ItemRuns,
    ItemsFinished,
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
from .job_queue import JobQueue
from .prefetch import Prefetch
from .state import ENOUGH, Chunk, Job, Worker
from .worker_states import BUSY, IDLE, OVERDUE, RECLAIMING, STARTING
from .workers import Workers

# How many workers may die with a chunk before they begin it. One may be killed from outside at just
# that moment; a chunk too large to be received, say, would else be tried for ever.
MAX_TRIES = 3
# Seconds after which an idle worker gets what waits behind the item that another one runs. To have
# it back and send it anew costs two messages, 0.2 ms. Over random orders of unequal items that take
# 0.1 or 1 ms, the mean makespan was less than without that, and at 5 ms less so.
LATE = 0.001
_LATEST = 1.0  # seconds, where workers get no processor for long
# Seconds that a worker gets to say where it was before it is killed.
LAST_WORDS = 0.5


class Scheduler:
    """The state of one pool: its jobs and its workers."""

    def __init__(
        self,
        limit: int,
        max_chunks: int | None = None,
        can_kill: bool = True,
        prefetch: bool = True,
    ) -> None:
        """Make a pool of no workers yet.

        Args:
            limit: how many workers there may be at a time.
            max_chunks: how many chunks a worker may run before it is replaced; None for no limit.
            can_kill: whether killing works (processes) or is only a request (threads).
            prefetch: whether chunks may be sent ahead of need; not where a worker may be replaced
                after any of them.
        """
        self._limit = limit
        self._max_chunks = max_chunks
        self._can_kill = can_kill
        self._jobs = JobQueue()
        self._delayed = DelayQueue(self._is_wanted)
        self._can_prefetch = prefetch
        self._prefetch = Prefetch(self._jobs, limit)
        self._workers = Workers(limit, max_chunks, self._emit, self._prefetch.forget)
        self._closed = False
        self._ended = False  # workers were killed, and what they had not begun is not run
        self._retired = False  # no job was submitted since the workers were let go
        self._commands: list[Command] = []
        self._checks: list[Command] = []
        self._now = 0.0
        self.timed = False  # whether the time matters to anything under way
        self._fed = False  # the one of whom is heard just now has enough, and nothing else changed
        self._ahead = False  # whether a worker may hold what can be taken back
        self._late = LATE  # seconds; more while workers do not even begin what they have
        self._on: dict[type, Callable[..., None]] = {
            JobSubmitted: self._on_job_submitted,
            InputArrived: self._on_input_arrived,
            InputEnded: self._on_input_ended,
            JobCancelled: self._on_job_cancelled,
            JobWithdrawn: self._on_job_withdrawn,
            Prestart: self._on_prestart,
            Retire: self._on_retire,
            Renew: self._on_renew,
            Close: self._on_close,
            Terminate: self._on_terminate,
            Tick: self._on_tick,
            ItemRuns: self._on_item_runs,
            ChunksReclaimed: self._on_chunks_reclaimed,
            WorkerReady: self._on_worker_ready,
            ItemsFinished: self._on_items_finished,
            WorkerGone: self._on_worker_gone,
        }

    def _emit(self, command: Command) -> None:
        self._commands.append(command)

    @property
    def busy(self) -> bool:
        """Whether any job is not over, or, once closed, any worker not gone."""
        return bool(self._jobs) or (self._closed and bool(self._workers.all))

    @property
    def restless(self) -> bool:
        """Whether anything is still to happen: it is busy, or a worker is on its way out."""
        return bool(self._jobs or self._workers.leaving or (self._closed and self._workers.all))

    def outlook(self, id: int) -> tuple[float | None, int]:
        """Return what an item of a job costs, in seconds, and how many to read ahead for it."""
        job = self._jobs.get(id)
        if job is None:
            return None, 1
        cost = job.cost
        ahead = worth_ahead(self._limit, cost.seconds, job.terms.chunksize, cost.items, cost.size)
        return cost.seconds, ahead

    @property
    def starting(self) -> int:
        """How many workers are started and not ready yet."""
        return self._workers.starting

    def all_workers(self) -> list[int]:
        """Return the workers that are started and not gone."""
        return [*self._workers.all]

    @property
    def at_work(self) -> int:
        """How many workers have something to do; any thread may ask."""
        return sum([1 for worker in [*self._workers.all.values()] if worker.chunks])

    @property
    def workers(self) -> int:
        """How many workers are started and not gone."""
        return len(self._workers.all)

    @property
    def alarm(self) -> float | None:
        """When a `Tick` is wanted; None: not at all."""
        if not (self._ahead or self.timed):
            return None  # as mostly
        times: list[float] = []
        if self._ahead and self._workers.idle and not self._jobs.turns:
            # Somebody could run what waits behind a chunk that takes longer than was expected.
            holding = [worker for worker in self._workers.all.values() if worker.holds_more()]
            times = [w.since + self._late for w in holding if w.since < inf and not w.leaving]
            self._ahead = bool(holding)
        if self.timed:
            times += [w.check_at for w in self._workers.all.values() if w.check_at is not None]
            next_try = self._delayed.next()
            times += [] if next_try is None else [next_try]
            self.timed = bool(times or self._jobs)
        return min(times, default=None)

    def handle(self, event: Event, now: float = 0.0) -> list[Command]:
        """Take in what happened at the time `now`; return what is to be done, in order."""
        self._now = now
        self._fed = False
        # A table and not a match: this runs for each chunk, and a match tries the types in turn.
        self._on[type(event)](event)
        if self._jobs.turns and (self._workers.idle or not self._fed):
            self._dispatch()
        commands, self._commands = self._commands, []
        if self._checks:
            # Last: the answer to each is an event of its own, and what comes of that must not be
            # done before anything that was decided here.
            commands += self._checks
            self._checks = []
        return commands

    # --- jobs ----------------------------------------------------------------------------------

    def _on_job_submitted(self, event: JobSubmitted) -> None:
        terms = event.terms
        self._workers.try_again()
        self._retired = False
        self.timed = self.timed or terms.timeout is not None or bool(terms.retries)
        job = self._jobs.add(event)
        if job is None:
            return
        if event.size:
            self._jobs.enqueue(job)
        else:
            self._maybe_over(job)

    def _more_waits(self, job: Job, first: bool = False) -> None:
        """Let a job have its turn of which more waits than before; see `JobQueue.enqueue`."""
        self._jobs.enqueue(job, first)
        self._prefetch.share_anew()

    def _on_input_arrived(self, event: InputArrived) -> None:
        job = self._jobs.get(event.job)
        if job is not None and job.open:  # else a failure or the caller ended it meanwhile
            job.end += event.items
            self._more_waits(job)

    def _on_input_ended(self, event: InputEnded) -> None:
        job = self._jobs.get(event.job)
        if job is not None and job.open:
            job.open = False
            self._maybe_over(job)

    def _on_job_cancelled(self, event: JobCancelled) -> None:
        self._cancel(event.job, event.kill)

    def _cancel(self, id: int, kill: bool) -> None:
        job = self._jobs.get(id)
        if job is not None:
            job.cancelled = True
            job.stop = kill
            self._cut(job, 0)
            self._maybe_over(job)

    def _on_job_withdrawn(self, event: JobWithdrawn) -> None:
        job = self._jobs.get(event.job)
        if job is None:
            return
        holders = [w for w in self._workers.all.values() if any(c.job is job for c in w.chunks)]
        if not holders:
            if not job.has_begun():
                self._cancel(job.id, kill=False)
        elif len(holders) == 1 and holders[0].holds_more() and not holders[0].leaving:
            # Who holds but one chunk has begun it, or does so just now; and what one of several
            # gave back could be sent again before the others answer.
            job.withdrawn = True
            self._ask(holders[0])

    def _maybe_withdrawn(self, job: Job) -> None:
        """Cancel a job that is to be, and of which all was taken back."""
        if job.withdrawn and not job.in_flight:
            job.withdrawn = False
            if not job.has_begun():
                self._cancel(job.id, kill=False)

    def where(self, id: int) -> list[tuple[int, int]]:
        """Return which workers hold chunks of a job, and at which places."""
        job = self._jobs.peek(id)
        if job is None or not job.in_flight:
            return []
        return [
            (worker.id, place)
            for worker in self._workers.all.values()
            for place, chunk in enumerate(worker.chunks)
            if chunk.job is job
        ]

    def _fail(self, job: Job, index: int) -> None:
        if job.over or job.terms.collect or index >= job.end:
            return
        job.failed = index
        self._cut(job, index)

    def _cut(self, job: Job, end: int) -> None:
        """Give up all items from `end` on; end those that run, if the job wants that."""
        job.end = end
        job.open = False
        for worker in self._workers.all.values():
            if not job.stop or not self._can_kill:
                # What is not killed ends by itself; but what has not begun need not begin.
                if any(c.job is job and c.step and c.start >= end for c in worker.chunks):
                    self._ask(worker)
            elif any(chunk.job is job for chunk in worker.chunks):
                self._end_unwanted(worker)

    def _end_unwanted(self, worker: Worker) -> None:
        """Kill a worker that runs what its job wants ended, and see that no such chunk begins.

        If it holds anything that is wanted, all that has not begun is taken back before.
        """
        if worker.leaving or not self._can_kill:
            return
        unwanted = [chunk.job.stop and chunk.next >= chunk.job.end for chunk in worker.chunks]
        if all(unwanted) and unwanted:
            self._workers.kill(worker)
        elif any(unwanted):
            self._ask(worker)

    def _ask(self, worker: Worker) -> None:
        """Have all taken back that a worker has not begun."""
        request = ReclaimChunks(worker.id)
        if worker.state == RECLAIMING or request in self._checks:
            return
        if worker.state == BUSY:  # else it is leaving, which may take long: a thread is not killed
            worker.become(RECLAIMING)
        self._checks.append(request)

    def _maybe_over(self, job: Job) -> None:
        if job.over or job.unfinished():
            return
        # A job that ends what runs is over when that has ended: "done" means done.
        if job.in_flight and job.stop and self._can_kill:
            return
        job.over = True
        self._jobs.remove(job)
        if job.in_flight:
            for worker in self._workers.all.values():
                if not worker.leaving and any(chunk.job is job for chunk in worker.chunks):
                    self._commands.append(DiscardChunks(worker.id, job.id))
        if job.cancelled:
            self._commands.append(FailJob(job.id, cancelled=True))
        else:
            self._commands.append(FinishJob(job.id, job.failed))
        if self._closed and not self._jobs:
            self._retire()

    # --- workers -------------------------------------------------------------------------------

    def _on_worker_ready(self, event: WorkerReady) -> None:
        self._rest(self._workers.begin(event))

    def _rest(self, worker: Worker) -> None:
        """Let a worker that holds nothing wait for work, or go."""
        if worker.leaving:
            return
        no_more_comes = (self._closed or self._retired) and not self._jobs
        if no_more_comes or worker.needs_replacement():
            self._workers.stop(worker)
        else:
            self._workers.rest(worker)

    def _on_items_finished(self, event: ItemsFinished) -> None:
        worker = self._workers.all[event.worker]
        chunk = worker.chunks[0]
        job = chunk.job
        queued = len(self._jobs.turns)
        chunk.next += event.items
        if event.last:
            # Before the failures are looked at: the chunk behind this one has begun by now, and is
            # among those that a failure ends.
            worker.chunks.popleft()
            job.remove_in_flight(chunk)
            self._late = max(LATE, self._late / 2)  # not at once: it may be the same with the next
            unknown = job.cost.items < ENOUGH
            job.cost.measured(chunk.next - chunk.start, event.elapsed, event.size)
            if unknown and job.cost.items >= ENOUGH:
                for other in self._workers.all.values():
                    self._prefetch.consider(other)
            worker.replace = worker.replace or event.replace
            worker.since = self._now
            self._watch(worker)
        self._prefetch.consider(worker)
        for index in event.failed:
            if not (index in event.again and self._try_again(job, index)):
                self._fail(job, index)
        if event.last and chunk.next < min(chunk.stop, job.end) and not job.over:
            self._put_back(chunk)  # the worker left these out, for a reason of its own
        if worker.chunks and worker.chunks[0].next >= worker.chunks[0].job.end:
            # What it began just now may have been given up while it waited behind this chunk.
            self._end_unwanted(worker)
        if not job.over:
            self._maybe_over(job)
            if self._ended:
                self._give_up_rest(job)
        # What comes back into the queue may need another worker.
        has_enough = len(worker.chunks) > self._prefetch.most_held() // 2
        self._fed = has_enough and len(self._jobs.turns) <= queued
        if not worker.chunks:
            self._rest(worker)

    def _on_worker_gone(self, event: WorkerGone) -> None:
        worker = self._workers.remove(event)
        touched: dict[int, Job] = {}
        for chunk in worker.chunks:
            job = chunk.job
            job.remove_in_flight(chunk)
            if job.over:
                continue
            touched[job.id] = job
            if chunk is worker.chunks[0] and chunk.next < min(chunk.stop, job.end):
                # One that had begun gets shorter by that; one that was killed says nothing of what
                # it had not begun.
                if chunk.next == chunk.start and worker.state < OVERDUE:
                    chunk.tries += 1
                self._lose(worker, chunk, event.begun or int(chunk.tries >= MAX_TRIES))
            if chunk.next < min(chunk.stop, job.end):
                self._put_back(chunk)
        for job in touched.values():
            self._maybe_over(job)
            if self._ended:
                self._give_up_rest(job)
        if self._workers.are_hopeless:
            self._give_up()

    def _lose(self, worker: Worker, chunk: Chunk, lost: int) -> None:
        """Take in that the next `lost` items of a chunk are gone with their worker."""
        job = chunk.job
        for index in range(chunk.next, min(chunk.next + lost, chunk.stop)):
            if index >= job.end:
                break  # the loss of one before it was a failure that ends the job
            chunk.next = index + 1
            overdue = worker.state == OVERDUE
            may = job.terms.retry_overdue if overdue else job.terms.retry_lost
            if not (may and self._try_again(job, index)):
                self._commands.append(LoseItem(job.id, index, worker.id, overdue))
                self._fail(job, index)

    def _put_back(self, chunk: Chunk) -> None:
        """Let what is left of a chunk be dispatched again, before anything else of its job."""
        job = chunk.job
        tries = chunk.tries if chunk.next == chunk.start else 0
        job.put(chunk.next, chunk.stop, tries)
        self._more_waits(job, first=True)

    def _give_up_rest(self, job: Job) -> None:
        """Cancel a job of which nothing runs any more, if nothing else is to begin."""
        if not (job.over or job.in_flight):
            self._cancel(job.id, kill=False)

    def _try_again(self, job: Job, index: int) -> bool:
        """Let a failed item be tried once more if it may be; return whether it is."""
        if job.over or index >= job.end or not job.terms.retries:
            return False
        if job.tried is None or job.delayed is None:
            job.tried, job.delayed = {}, set()
        tried = job.tried.get(index, 0)
        if tried >= len(job.terms.retries):
            return False
        job.tried[index] = tried + 1
        self._commands.append(RetryItem(job.id, index))
        job.delayed.add(index)
        self._delayed.push(self._now + job.terms.retries[tried], job.id, index)
        self._requeue_due()
        return True

    def _is_wanted(self, id: int, index: int) -> bool:
        """Return whether an item is still to be tried again."""
        job = self._jobs.get(id)
        return job is not None and index < job.end

    def _requeue_due(self) -> None:
        """Put items back whose delay is over."""
        for id, index in self._delayed.pop_due(self._now):
            job = self._jobs.get(id)
            if job is not None and job.delayed is not None:
                job.delayed.discard(index)
                if index < job.end:
                    job.put(index, index + 1, 0)
                    self._more_waits(job)

    # --- time ----------------------------------------------------------------------------------

    def _on_tick(self, _: Tick) -> None:
        for worker in self._workers.all.values():
            if worker.check_at is not None and worker.check_at <= self._now:
                worker.check_at = None
                if worker.state == OVERDUE:
                    self._workers.kill_overdue(worker)
                elif worker.chunks and not worker.leaving:
                    limit = worker.chunks[0].job.terms.timeout
                    if limit is not None:
                        self._checks.append(CheckDeadline(worker.id, limit))
        self._requeue_due()
        self._dispatch()  # first, or there is nobody idle for what comes back
        if self._workers.idle and not self._jobs.turns:
            self._ask_back()

    def _ask_back(self) -> None:
        """Let others have what waits behind a chunk that takes longer than was expected."""
        late = [
            worker
            for worker in self._workers.all.values()
            if worker.holds_more() and not worker.leaving and worker.since + self._late <= self._now
        ]
        if late:
            # One at a time: who is idle may have enough of it.
            worker = max(late, key=lambda worker: len(worker.chunks))
            worker.since = inf  # once for each first chunk
            self._ask(worker)

    def _on_chunks_reclaimed(self, event: ChunksReclaimed) -> None:
        worker = self._workers.all[event.worker]
        if worker.state == RECLAIMING:
            worker.become(BUSY)  # or less, see below
        self._prefetch.consider(worker)
        waits = event.kept == 1 and event.items is None and worker.chunks[0].step > 0
        if waits:
            worker.since = self._now  # it has not begun what it has: we look again
        if waits or not event.kept:  # nobody has time to run anything, or it would go to and fro
            self._late = min(2 * self._late, _LATEST)
        touched = self._reclaim(worker, event)
        if event.kept == 1:
            # If more were kept, it is told in a moment that the first is done: then we see.
            self._end_unwanted(worker)
        for chunk in worker.chunks:
            chunk.job.withdrawn = False
        for job in touched:
            self._maybe_withdrawn(job)
            self._maybe_over(job)
        if not worker.chunks:
            self._watch(worker)
            self._rest(worker)
            if worker.id in self._workers.idle:
                # As the last to be given something: it did not begin what it had.
                self._workers.idle = {worker.id: worker, **self._workers.idle}

    def _reclaim(self, worker: Worker, event: ChunksReclaimed) -> list[Job]:
        """Put back what a worker has given back, and return of which jobs that is."""
        touched: dict[int, Job] = {}
        while len(worker.chunks) > event.kept:
            chunk = worker.chunks.pop()
            worker.taken -= 1
            job = chunk.job
            job.remove_in_flight(chunk)
            if not job.over:
                touched[job.id] = job
                self._put_back(chunk)
        if event.items is not None and worker.chunks:
            chunk = worker.chunks[-1]
            job = chunk.job
            stop, chunk.stop = chunk.stop, min(chunk.stop, chunk.start + event.items)
            chunk.step = 0
            if chunk.stop < stop and not job.over:
                touched[job.id] = job
                job.put(chunk.stop, stop, 0)
                self._more_waits(job, first=True)
        return [*touched.values()]

    def _watch(self, worker: Worker) -> None:
        """See that a worker is looked at when its first chunk may have run for too long."""
        limit = worker.chunks[0].job.terms.timeout if worker.chunks else None
        if not worker.leaving:
            worker.check_at = None if limit is None else self._now + limit

    def _on_item_runs(self, event: ItemRuns) -> None:
        worker = self._workers.all.get(event.worker)
        if worker is None or worker.leaving or not worker.chunks:
            return
        limit = worker.chunks[0].job.terms.timeout
        if limit is None:
            return
        if event.held:
            self._workers.end_overdue(worker)
            worker.check_at = self._now + LAST_WORDS
        else:
            worker.check_at = (self._now if event.since is None else event.since) + limit

    def _on_prestart(self, _: Prestart) -> None:
        self._retired = False
        self._workers.start(self._limit)

    def _on_retire(self, _: Retire) -> None:
        self._retire()

    def _retire(self) -> None:
        """Let all workers go that have no work."""
        self._retired = not self._jobs
        for worker in self._workers.all.values():
            # One that is still starting as well: it stops when it has started.
            if worker.state in (STARTING, IDLE):
                self._workers.stop(worker)

    def _on_renew(self, _: Renew) -> None:
        for worker in self._workers.all.values():
            if worker.leaving:
                continue
            if worker.chunks:
                worker.replace = True
                if worker.holds_more():
                    self._ask(worker)  # what it has not begun is for others
            else:
                self._workers.stop(worker)

    def _on_close(self, _: Close) -> None:
        self._closed = True
        if not self._jobs:
            self._retire()

    def _on_terminate(self, event: Terminate) -> None:
        self._closed = True
        self._ended = event.lose
        for worker in self._workers.all.values():
            self._workers.kill(worker)
        for id in self._jobs:
            job = self._jobs.get(id)
            if not event.lose:
                self._cancel(id, kill=True)
            elif job is not None and not job.in_flight:
                self._cancel(id, kill=False)

    def _give_up(self) -> None:
        """End all jobs: no worker can be started for them."""
        for id in self._jobs.clear():
            self._commands.append(FailJob(id, cancelled=False))

    # --- dispatch ------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        turns = self._jobs.turns
        self._jobs.skip_finished()
        if self._ended:
            return
        idle = self._workers.idle
        while turns and idle:
            _, worker = idle.popitem()  # the one that worked last: its caches are warm
            if self._give(worker) is None:
                idle[worker.id] = worker
            else:
                worker.become(BUSY)
                worker.since = self._now
                self._watch(worker)
                self._prefetch.consider(worker)
        if turns and len(self._workers.all) < self._limit:
            self._workers.start(self._wanted())
        if turns and self._can_prefetch and self._prefetch.fill_up(self._now, self._give):
            self._ahead = True

    def _give(self, worker: Worker) -> Chunk | None:
        """Send `worker` what is next, and return it; None if nothing is."""
        while self._jobs.turns:
            job = self._jobs.pop()
            if job is None:
                continue  # a call that was cancelled
            several = worker.can_reclaim_items and self._can_prefetch and self._max_chunks is None
            span = job.take(self._limit, several)
            if span is None:
                continue
            start, stop, tries = span
            # One chunk of each job in turn: a long job does not starve a short one.
            if stop < job.end and job.waiting():
                self._jobs.enqueue(job)
            self._jobs.skip_finished()  # what is looked at next is what will be dispatched next
            step = job.step(stop - start) if worker.can_reclaim_items and stop - start > 1 else 0
            self._ahead = self._ahead or step > 0
            chunk = Chunk(job, start, stop, tries, step)
            worker.chunks.append(chunk)
            worker.taken += 1
            job.give(chunk)
            self._commands.append(SendChunk(worker.id, job.id, start, stop, step))
            return chunk
        return None

    def _wanted(self) -> int:
        """Return how many workers there should be, for what waits and what they hold."""
        held = sum(1 for w in self._workers.all.values() if w.chunks or w.leaving)
        return held + self._jobs.chunks(self._limit - held)
