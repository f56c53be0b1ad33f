"""A pool with nothing in it: simulated workers that obey a real `Scheduler` and check all it says.

A simulated worker does what `_child` does: it takes messages in order, runs the items of a chunk
one by one, stops at the first failure unless failures are collected, and answers a forgotten chunk
with no items. Of some jobs the items of a chunk all begin when it does, and end in order. What
a worker tells stands in its outbox until it is delivered, so that the scheduler is always a little
behind: that is where the races are.

`World` knows what really happened, and checks each command against it at once.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from pmap._scheduler import (
    MAX_START_FAILURES,
    MOST_HELD,
    Close,
    Command,
    Event,
    FailJob,
    FinishJob,
    ForgetJob,
    InputArrived,
    InputEnded,
    ItemsFinished,
    JobCancelled,
    JobSubmitted,
    KillWorker,
    Look,
    LoseItem,
    Prestart,
    Retire,
    RetryItem,
    Scheduler,
    SendChunk,
    StartWorker,
    StopWorker,
    Terminate,
    WorkerGone,
    WorkerReady,
)

TRIES: Final = 3  # deaths with a chunk that had not begun, after which an item may be given up
# Seconds that an item takes: those that make chunks small, large, and sent ahead or not.
DURATIONS: Final = (0.0, 1e-6, 1e-4, 0.002, 0.03, 2.0)
_STEPS: Final = 50_000  # moves after which a world that is to come to its end never will


class Fate(Enum):
    """How an item ends that does not end well."""

    RAISES = "raises"
    SPOILS = "spoils"  # its result cannot be loaded at the caller, which the worker does not know
    KILLS = "kills"  # its worker dies


@dataclass(eq=False)
class Job:
    """A job, and what has come of its items."""

    id: int
    size: int  # so far
    chunksize: int | None
    collect: bool
    stop: bool  # what is not wanted any more is ended, be it by a failure or by a cancel
    open: bool  # its input was not ended
    at_once: bool  # all items of a chunk begin together
    fates: Mapping[int, Fate]
    begun: set[int] = field(default_factory=set[int])
    given: set[int] = field(default_factory=set[int])  # held by workers, or over
    finished: set[int] = field(default_factory=set[int])  # as the scheduler was told
    failed: set[int] = field(default_factory=set[int])  # of these, those without a result
    tries: dict[int, int] = field(default_factory=dict[int, int])  # chunks that never began
    cancelled: bool = False
    over: Command | None = None

    @property
    def end(self) -> int:
        """The first item that is not wanted any more."""
        if self.cancelled:
            return 0
        return self.size if self.collect else min(self.failed, default=self.size)

    @property
    def takes_more(self) -> bool:
        """Whether more items may come; what comes after a failure, say, is ignored."""
        failed = self.failed and not self.collect
        return self.open and not failed and not self.cancelled and self.over is None

    @property
    def complete(self) -> bool:
        """Whether every wanted item is finished that has come."""
        return self.finished.issuperset(range(self.end))

    @property
    def waiting(self) -> int:
        """How many wanted items no worker has."""
        return len(set(range(self.end)).difference(self.given))


@dataclass(eq=False)
class Chunk:
    """A chunk that was sent; `next` is the first item whose end the scheduler was not told."""

    job: Job
    start: int
    stop: int
    next: int


@dataclass(frozen=True)
class Forget:
    """The message that a job is over."""

    job: Job


@dataclass(frozen=True)
class Quit:
    """The message that a worker may go."""


@dataclass(eq=False)
class Running:
    """The chunk that a worker runs; the item at `hand` has begun, or all from there on have."""

    chunk: Chunk
    hand: int
    sent: int  # items before it are told
    spoiled: list[int] = field(default_factory=list[int])  # failed and not told


@dataclass(eq=False)
class Worker:
    """A simulated worker: what it is, and what the scheduler thinks it is."""

    id: int
    up: bool = False
    dead: bool = False
    innocent: bool = False  # it was dead before anybody wanted it dead
    inbox: deque[Chunk | Forget | Quit] = field(default_factory=deque[Chunk | Forget | Quit])
    outbox: deque[Event] = field(default_factory=deque[Event])
    running: Running | None = None
    # As the scheduler knows it:
    ready: bool = False
    stopped: bool = False
    killed: bool = False
    holds: deque[Chunk] = field(default_factory=deque[Chunk])
    taken: int = 0
    told: set[int] = field(default_factory=set[int])

    @property
    def leaving(self) -> bool:
        """Whether it was told to go, one way or the other."""
        return self.stopped or self.killed

    @property
    def idle(self) -> bool:
        """Whether the scheduler could give it something at once."""
        return self.ready and not self.leaving and not self.holds


class World:
    """A scheduler, its workers and its jobs; every method is a thing that may happen."""

    def __init__(self, limit: int, max_chunks: int | None = None, can_kill: bool = True) -> None:
        self.scheduler = Scheduler(limit, max_chunks, can_kill)
        self.limit = limit
        self.max_chunks = max_chunks
        self.can_kill = can_kill
        self.workers: dict[int, Worker] = {}  # until the scheduler was told that they are gone
        self.jobs: dict[int, Job] = {}
        self.duration = 0.0  # what an item takes at present
        self.closed = False
        self.terminated = False
        self.start_failures = 0
        self.log: list[Event | Command] = []
        self._losing: deque[LoseItem] = deque()
        self._may_lose: LoseItem | None = None

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.log))

    # --- what callers do -----------------------------------------------------------------------

    def submit(
        self,
        size: int,
        chunksize: int | None = None,
        *,
        collect: bool = False,
        stop: bool = False,
        open: bool = False,
        at_once: bool = False,
        fates: Mapping[int, Fate] | None = None,
    ) -> Job:
        """Submit a job; one that is `open` has only its first items."""
        assert not self.closed, "the driver takes no work once it is closed"
        job = Job(len(self.jobs), size, chunksize, collect, stop, open, at_once, fates or {})
        self.jobs[job.id] = job
        self.start_failures = 0
        self.tell(JobSubmitted(job.id, size, chunksize, collect, stop, open))
        return job

    def feed(self, job: Job, items: int) -> None:
        """Add at least one item to the input of a job; it is ignored if that wants no more."""
        ignored = not job.takes_more
        if not ignored:
            job.size += items
        answer = self.tell(InputArrived(job.id, items))
        assert not ignored or _only_sends(answer), "input counts that nobody wants any more"

    def end_input(self, job: Job) -> None:
        """End the input of a job; it is ignored if that wants no more already."""
        ignored = not job.takes_more
        job.open = False
        answer = self.tell(InputEnded(job.id))
        assert not ignored or _only_sends(answer), "an end counts that nobody waits for any more"

    def cancel(self, job: Job, kill: bool = True) -> None:
        """Cancel a job; nothing comes of it if that is over."""
        if job.over is None:
            job.cancelled = True
            job.stop = kill
        self.tell(JobCancelled(job.id, kill))
        if not kill:
            assert job.over is not None, "a job is waited for that may run on unheard"

    def prestart(self) -> None:
        """Ask for all workers, and see that they come."""
        self.tell(Prestart())
        if self.start_failures < MAX_START_FAILURES:
            assert len(self.workers) == self.limit

    def retire(self) -> None:
        """Let the idle workers go, and see that they are told."""
        unused = not self.open_jobs()
        go = [w for w in self.workers.values() if w.idle or (unused and not w.holds)]
        stay = [w for w in self.workers.values() if w.holds and not w.leaving]
        self.tell(Retire())
        assert all(worker.leaving for worker in go), "an idle worker stays"
        assert not any(worker.leaving for worker in stay), "a worker goes that has work"

    def close(self) -> None:
        """Close the pool."""
        self.closed = True
        self.tell(Close())

    def terminate(self) -> None:
        """Terminate the pool, and see that nobody is spared."""
        self.closed = self.terminated = True
        for job in self.open_jobs():
            job.cancelled = job.stop = True
        self.tell(Terminate())
        assert all(w.killed for w in self.workers.values()), "a worker is not killed"
        if not self.can_kill:
            assert not self.open_jobs()

    # --- what workers do -----------------------------------------------------------------------

    def step(self, worker: Worker) -> None:
        """Let a worker do the next thing."""
        if not worker.up:
            worker.up = True
            worker.outbox.append(WorkerReady(worker.id))
        elif worker.running is not None:
            self._go_on(worker, worker.running)
        elif worker.killed and not self.can_kill:
            self.die(worker)
        elif worker.inbox:
            message = worker.inbox.popleft()
            if isinstance(message, Quit):
                self.die(worker)
            elif isinstance(message, Chunk):
                if Forget(message.job) in worker.inbox:
                    worker.outbox.append(ItemsFinished(worker.id, 0, (), 0.0, last=True))
                else:
                    assert message.job.id in worker.told or message.job.over
                    worker.running = Running(message, message.start, message.start)
                    self._begin(worker.running)

    def _begin(self, running: Running) -> None:
        job = running.chunk.job
        if job.at_once and running.hand > running.chunk.start:
            return  # it began with the chunk
        items = range(running.hand, running.chunk.stop if job.at_once else running.hand + 1)
        assert job.begun.isdisjoint(items), f"one of items {items} of {job.id} begins twice"
        if job.over is not None and self.can_kill:
            assert not job.stop, "an item begins when all was said to be done"
        job.begun.update(items)

    def _go_on(self, worker: Worker, running: Running) -> None:
        """End the item in hand, and begin the next."""
        job = running.chunk.job
        fate = job.fates.get(running.hand)
        if fate is Fate.KILLS:
            self.die(worker)
            return
        if fate is not None:
            running.spoiled.append(running.hand)
        running.hand += 1
        asked_to_end = worker.killed and not self.can_kill
        raised = fate is Fate.RAISES and not job.collect
        if running.hand == running.chunk.stop or raised or asked_to_end:
            self._report(worker, running, last=True)
            worker.running = None
        else:
            self._begin(running)

    def _report(self, worker: Worker, running: Running, last: bool) -> None:
        count = running.hand - running.sent
        elapsed = self.duration * (running.hand - running.chunk.start) if last else 0.0
        failed = tuple(running.spoiled)
        worker.outbox.append(ItemsFinished(worker.id, count, failed, elapsed, last))
        running.sent = running.hand
        running.spoiled.clear()

    def flush(self, worker: Worker) -> None:
        """Let a worker send the results that it has, in the middle of its chunk."""
        if worker.running is not None and worker.running.hand > worker.running.sent:
            self._report(worker, worker.running, last=False)

    def die(self, worker: Worker) -> None:
        """End a worker, wherever it is; what it had noted is found."""
        if worker.dead:
            return
        self.flush(worker)
        worker.dead = True
        worker.innocent = not worker.killed
        worker.outbox.append(WorkerGone(worker.id, self._in_hand(worker)))

    @staticmethod
    def _in_hand(worker: Worker) -> int:
        """Return how many items a worker has begun and not finished."""
        running = worker.running
        if running is None:
            return 0
        return running.chunk.stop - running.hand if running.chunk.job.at_once else 1

    def deliver(self, worker: Worker) -> None:
        """Tell the scheduler the next thing that a worker has to tell."""
        event = worker.outbox.popleft()
        if isinstance(event, WorkerReady):
            worker.ready = True
            self.start_failures = 0
        elif isinstance(event, ItemsFinished):
            chunk = worker.holds[0]
            chunk.job.finished.update(range(chunk.next, chunk.next + event.items))
            chunk.job.failed.update(event.failed)
            chunk.next += event.items
            if event.last:
                worker.holds.popleft()
        elif isinstance(event, WorkerGone):
            self._gone(worker, event.begun)
        self.tell(event)
        assert not self._losing, f"{self._losing} is missing"

    def _gone(self, worker: Worker, begun: int) -> None:
        del self.workers[worker.id]
        if worker.ready:
            self.start_failures = 0
        elif not worker.leaving:
            self.start_failures += 1
        self._may_lose = None
        if worker.holds:
            chunk = worker.holds[0]
            job = chunk.job
            if job.over is None and chunk.next < min(chunk.stop, job.end):
                if begun:
                    assert worker.innocent, f"item {chunk.next} of {job.id} fell to a kill of ours"
                elif job.tries.setdefault(chunk.next, 0) + 1 >= TRIES:
                    self._may_lose = LoseItem(job.id, chunk.next, worker.id)
                for index in range(chunk.next, chunk.next + begun):
                    if index >= job.end:
                        break  # it is gone as well, but nobody wants it
                    self._losing.append(LoseItem(job.id, index, worker.id))
                    self._lose(job, index)
                    chunk.next += 1
                job.tries[chunk.start] = job.tries.get(chunk.start, 0) + 1
        for chunk in worker.holds:
            chunk.job.given.difference_update(range(chunk.next, chunk.stop))

    def _lose(self, job: Job, index: int) -> None:
        job.finished.add(index)
        job.failed.add(index)
        job.given.add(index)

    # --- time passes ---------------------------------------------------------------------------

    def busy(self, worker: Worker) -> bool:
        """Whether something will happen at a worker by itself."""
        if worker.outbox or not worker.up:
            return True
        return bool(worker.killed or worker.running or worker.inbox)

    def advance(self, tape: bytes) -> None:
        """Let a byte's worth of things happen for each byte of `tape`."""
        for byte in tape:
            movable = [worker for worker in self.workers.values() if self.busy(worker)]
            if not movable:
                return
            worker = movable[(byte & 0x0F) % len(movable)]
            what = byte >> 4
            if what == 15:
                self.die(worker)
            elif worker.outbox and (worker.dead or what < 6):
                self.deliver(worker)
            elif worker.dead:
                continue
            elif what == 14:
                self.flush(worker)
            elif worker.killed and self.can_kill and what & 1:
                self.die(worker)
            else:
                self.step(worker)
                while what > 10 and worker.running is not None and not worker.dead:
                    self.step(worker)

    def run_out(self, starts_fail: bool = False) -> None:
        """Let everything happen that is under way, with workers that behave from now on.

        Args:
            starts_fail: whether those that are not ready, and all later ones, die at their start.
        """
        for _ in range(_STEPS):
            moved = False
            for worker in list(self.workers.values()):
                if not self.busy(worker):
                    continue
                moved = True
                if worker.outbox:
                    self.deliver(worker)
                elif (starts_fail and not worker.up) or (worker.killed and self.can_kill):
                    self.die(worker)
                else:
                    self.step(worker)
            if not moved:
                return
        raise AssertionError("it never comes to an end")

    # --- what the scheduler does ---------------------------------------------------------------

    def tell(self, event: Event) -> list[Command]:
        """Tell the scheduler something, do what it answers, check everything; return the answer."""
        self.log.append(event)
        answer = self.scheduler.handle(event)
        for command in answer:
            self.log.append(command)
            self._obey(command)
        self.check()
        return answer

    def _obey(self, command: Command) -> None:
        match command:
            case StartWorker(number):
                self._start(number)
            case SendChunk():
                self._send(command)
            case StopWorker(number):
                worker = self.workers[number]
                assert not worker.holds, "a worker is stopped that holds something"
                assert not worker.leaving, "a worker is stopped twice"
                worker.stopped = True
                worker.inbox.append(Quit())
            case KillWorker(number):
                self._kill(self.workers[number])
            case LoseItem(id, index):
                if self._losing:
                    assert command == self._losing.popleft(), "another item was lost"
                else:
                    assert command == self._may_lose, "an item is lost that is not"
                    self._may_lose = None
                    self._lose(self.jobs[id], index)
            case ForgetJob(number, id):
                worker = self.workers[number]
                assert self.jobs[id].over is None, "the driver knows it no more"
                assert not worker.leaving
                worker.told.remove(id)
                worker.inbox.append(Forget(self.jobs[id]))
            case FinishJob() | FailJob():
                self._end(command)
            case Look() | RetryItem():
                raise AssertionError("no item takes too long here, and none is tried again")

    def _start(self, number: int) -> None:
        assert number not in self.workers
        assert self.start_failures < MAX_START_FAILURES, "no start is tried for ever"
        self.workers[number] = Worker(number)
        assert len(self.workers) <= self.limit, "there are too many workers"

    def _send(self, command: SendChunk) -> None:
        worker = self.workers[command.worker]
        job = self.jobs[command.job]
        items = range(command.start, command.stop)
        assert worker.ready, "a chunk is sent to a worker that is not ready"
        assert not worker.leaving, "a chunk is sent to a worker that is leaving"
        assert job.over is None, "a chunk of a job that is over"
        assert items, "a chunk of nothing"
        assert items.stop <= job.end, "an item is dispatched after a failure before it"
        assert job.given.isdisjoint(items), "an item is dispatched again"
        assert job.begun.isdisjoint(items), "an item is dispatched that had begun"
        assert job.chunksize is None or len(items) <= job.chunksize
        job.given.update(items)
        chunk = Chunk(job, items.start, items.stop, items.start)
        worker.holds.append(chunk)
        worker.inbox.append(chunk)
        worker.told.add(job.id)
        worker.taken += 1
        assert len(worker.holds) <= MOST_HELD, "too many chunks for a worker"
        assert self.max_chunks is None or worker.taken <= self.max_chunks

    def _kill(self, worker: Worker) -> None:
        assert not worker.killed, "a worker is killed twice"
        if not self.terminated:
            assert self.can_kill
            assert worker.holds, "a worker is killed that holds nothing"
            for chunk in worker.holds:
                job = chunk.job
                assert chunk.next >= job.end, "a worker is killed that holds wanted items"
                assert job.stop, "a worker is killed for a job that lets it run on"
                assert job.cancelled or not job.collect
        worker.killed = True

    def _end(self, command: FinishJob | FailJob) -> None:
        job = self.jobs[command.job]
        assert job.over is None, "a job ends twice"
        job.over = command
        if isinstance(command, FailJob) and not command.cancelled:
            assert not job.cancelled
            assert not self.workers, "a job is given up while there are workers"
            assert self.start_failures >= MAX_START_FAILURES
            return
        assert job.complete, "a job ends while results are to come"
        failed = job.failed and not job.collect
        assert job.cancelled or failed or not job.open, "a job ends while items are to come"
        if isinstance(command, FailJob):
            assert job.cancelled
        elif command.failed is None:
            assert not job.cancelled
            assert job.end == job.size
        else:
            assert not job.cancelled
            assert not job.collect
            assert command.failed == min(job.failed), "not the error of the serial loop"
        if self.can_kill and job.stop and job.end < job.size:
            assert not self._held_by(job), "a job is over while an item of it may run"

    def _held_by(self, job: Job) -> list[Worker]:
        return [
            w for w in self.workers.values() if any(c.job is job for c in w.holds) and not w.dead
        ]

    # --- what must hold at any moment ----------------------------------------------------------

    def open_jobs(self) -> list[Job]:
        """The jobs that are not over."""
        return [job for job in self.jobs.values() if job.over is None]

    def check(self) -> None:
        """Check what holds between any two events."""
        jobs = self.open_jobs()
        workers = self.workers.values()
        for job in jobs:
            if job.complete and not job.takes_more:
                ends = self.can_kill and job.stop
                held = any(chunk.job is job for w in workers for chunk in w.holds)
                assert ends, f"job {job.id} could be over"
                assert held, f"job {job.id} could be over"
        waiting = sum(job.waiting for job in jobs)
        if waiting:
            assert not any(w.idle for w in workers), "work waits while a worker is idle"
            taken = sum(1 for w in workers if w.holds or w.leaving)
            if self.start_failures < MAX_START_FAILURES:
                chunks = sum(-(-job.waiting // (job.chunksize or 1)) for job in jobs)
                enough = min(chunks, self.limit - taken)
                assert len(workers) - taken >= enough, "work waits, and no worker is started for it"
            else:
                assert workers, "work waits, and nobody will come"
        if self.closed and not jobs:
            assert not any(w.idle for w in workers), "an idle worker stays in a closed pool"
        assert self.scheduler.workers == len(workers)
        assert self.scheduler.busy == bool(jobs or (self.closed and workers))
        if not any(map(self.busy, workers)):
            self.check_quiet()

    def check_quiet(self) -> None:
        """Check what holds when nothing happens any more by itself."""
        jobs = self.open_jobs()
        # A job that waits for its input is all that may be left, and nothing that has come of that.
        assert all(job.takes_more for job in jobs), "nothing happens, and a job is not over"
        assert all(job.complete for job in jobs), "nothing happens, and results are to come"
        assert all(worker.idle for worker in self.workers.values())
        # A worker that lives keeps no function of a job that is over.
        numbers = {job.id for job in jobs}
        assert all(worker.told <= numbers for worker in self.workers.values())
        self.check_books()

    def check_books(self) -> None:
        """Check that the scheduler keeps nothing of what is over, when nothing is under way."""
        scheduler = self.scheduler
        assert scheduler._jobs.keys() == {job.id for job in self.open_jobs()}
        assert not scheduler._queue, "jobs with nothing to do stay in the queue"
        assert scheduler._workers.keys() == self.workers.keys()
        assert scheduler._idle.keys() == self.workers.keys()
        assert not any(worker.chunks for worker in scheduler._workers.values())

    def check_law_of_errors(self, job: Job) -> None:
        """Check the end of a job in a world where no worker died but by an item's own fault."""
        fatal = () if job.collect else sorted(index for index in job.fates if index < job.size)
        if job.cancelled:
            assert job.over == FailJob(job.id, cancelled=True)
        else:
            assert job.over == FinishJob(job.id, next(iter(fatal), None))


def _only_sends(answer: list[Command]) -> bool:
    """Whether an answer is what any event may have: chunks that waited anyway are sent ahead."""
    return all(isinstance(command, SendChunk) for command in answer)


def fates_of(size: int, marks: Iterable[tuple[int, Fate]]) -> dict[int, Fate]:
    """Return which of `size` items end badly, and how."""
    return {index % size: fate for index, fate in marks} if size else {}
