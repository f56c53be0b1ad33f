"""A pool with nothing in it: simulated workers that obey a real `Scheduler` and check all it says.

A simulated worker does what `worker` does: it takes messages in order, runs the items of a chunk
one by one, stops at the first failure unless failures are collected, and answers a void chunk
with no items. Of some jobs the items of a chunk all begin when it does, and end in order. What
a worker tells stands in its outbox until it is delivered, so that the scheduler is always a little
behind: that is where the races are.

The world has a clock. An item takes some time, and some hang. A worker that is held begins nothing
more, and goes when it is asked to, or only when it is made to. The clock moves when a worker needs
time for what it does, and when nothing else can happen until the scheduler's alarm.

`World` knows what really happened, and checks each command against it at once.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Final, NamedTuple

from pmap._scheduling import workers as _workers
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
    JobWithdrawn,
    Prestart,
    Renew,
    Retire,
    Terminate,
    Tick,
    WorkerGone,
    WorkerReady,
)
from pmap._scheduling.prefetch import MOST_CALLS, MOST_HELD
from pmap._scheduling.run_rules import RunRules
from pmap._scheduling.scheduler import LAST_WORDS, Scheduler
from pmap._scheduling.state import Worker as SchedulersWorker
from pmap._scheduling.worker_states import NAMES, TRANSITIONS
from pmap._scheduling.workers import MAX_START_FAILURES

transitions: set[tuple[int, int]] = set()  # of the scheduler's workers, that there were


class _Checked(SchedulersWorker):
    """A worker of the scheduler that goes over to another state only where the table has it."""

    def become(self, state: int) -> None:
        assert state in TRANSITIONS[self.state], f"{NAMES[self.state]} to {NAMES[state]}"
        transitions.add((self.state, state))
        super().become(state)


setattr(_workers, "Worker", _Checked)  # noqa: B010  # in the whole of this test run

TRIES: Final = 3  # deaths with a chunk that had not begun, after which an item may be given up
START: Final = 1000.0  # by the clock, so that the 0.0 of a driver without alarms is long past
# Seconds that an item takes: those that make chunks small, large, and sent ahead or not.
DURATIONS: Final = (0.0, 1e-6, 1e-4, 0.002, 0.03, 2.0)
_STEPS: Final = 50_000  # moves after which a world that is to come to its end never will


class Fate(Enum):
    """How an item ends that does not end well."""

    RAISES = "raises"
    SPOILS = "spoils"  # its result cannot be loaded at the caller, which the worker does not know
    KILLS = "kills"  # its worker dies
    HANGS = "hangs"  # it does not end by itself


class Doom(NamedTuple):
    """What is wrong with an item: its first `times` tries end badly, or all of them if None."""

    fate: Fate
    times: int | None = None
    again: bool = True  # its error is one of those that may be tried again


@dataclass(eq=False)
class Job:
    """A job, and what has come of its items."""

    id: int
    size: int  # so far
    chunksize: int | None
    collect: bool
    stop: bool  # what is not wanted any more is ended, be it by a failure or by a cancel
    open: bool  # its input was not ended
    streams: bool  # it was not when it began
    at_once: bool  # all items of a chunk begin together
    dooms: Mapping[int, Doom]
    timeout: float | None = None
    retries: tuple[float, ...] = ()
    retry_lost: bool = True
    retry_overdue: bool = True
    begun: set[int] = field(default_factory=set[int])  # and not to be tried again
    succeeded: set[int] = field(default_factory=set[int])  # at their workers
    begins: dict[int, int] = field(default_factory=dict[int, int])  # kept if there are retries
    retried: dict[int, int] = field(default_factory=dict[int, int])  # as the scheduler said
    unbegun: dict[int, int] = field(default_factory=dict[int, int])  # tries that never began
    later: dict[int, float] = field(default_factory=dict[int, float])  # when these are due
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
        if self.collect or not self.failed:
            return self.size
        return min(self.failed)

    @property
    def takes_more(self) -> bool:
        """Whether more items may come; what comes after a failure, say, is ignored."""
        failed = self.failed and not self.collect
        return self.open and not failed and not self.cancelled and self.over is None

    @property
    def complete(self) -> bool:
        """Whether every wanted item is finished that has come."""
        end = self.end
        if end == self.size:
            return len(self.finished) == end
        return self.finished.issuperset(range(end))

    @property
    def waiting(self) -> int:
        """How many wanted items no worker has, and none that wait for their next try."""
        end = self.end
        if end == self.size:
            return end - len(self.given)
        return len(set(range(end)).difference(self.given))

    def doom(self, item: int) -> Doom | None:
        """What is wrong with the try of an item that has begun last."""
        doom = self.dooms.get(item)
        if doom is None or (doom.times is not None and self.begins.get(item, 1) > doom.times):
            return None
        return doom

    def may_retry(self, doom: Doom) -> bool:
        """Whether what ended so may be tried again."""
        if doom.fate is Fate.KILLS:
            return self.retry_lost
        return self.retry_overdue if doom.fate is Fate.HANGS else doom.again

    def has_try_left(self, item: int) -> bool:
        """Whether a failed item is wanted and was not tried as often as it may be."""
        tried = self.retried.get(item, 0)
        return self.over is None and item < self.end and tried < len(self.retries)

    def delayed(self) -> list[float]:
        """Return when the delays are over of the items that are still wanted."""
        return [due for item, due in self.later.items() if item < self.end]

    def release(self, told: float) -> None:
        """Let the items wait for a worker whose delay is over."""
        for item in [item for item, due in self.later.items() if due <= told]:
            del self.later[item]
            self.given.discard(item)


@dataclass(eq=False)
class Chunk:
    """A chunk that was sent; `next` is the first item whose end the scheduler was not told."""

    job: Job
    start: int
    stop: int
    next: int
    step: int  # so many items begin together; 0: all

    def kept(self, hand: int) -> int:
        """Return how many items have begun, or do with the one in hand."""
        if not self.step:
            return self.stop - self.start
        parts = (hand - self.start) // self.step + 1
        return min(parts * self.step, self.stop - self.start)


@dataclass(frozen=True)
class Void:
    """The message that nothing of a job is to begin any more."""

    job: Job


@dataclass(frozen=True)
class Quit:
    """The message that a worker may go."""


@dataclass(eq=False)
class Running:
    """The chunk that a worker runs; the item at `hand` has begun, or all from there on have.

    But not if it `waits`: its worker is held, and begins it no more.
    """

    chunk: Chunk
    hand: int
    sent: int  # items before it are told
    spoiled: list[int] = field(default_factory=list[int])  # failed and not told
    since: float | None = None  # when the last item to begin did so
    ends: float = 0.0  # when the item in hand does
    took: float = 0.0  # seconds, so far
    waits: bool = False
    ended: bool = False  # all was said of it


@dataclass(eq=False)
class Worker:
    """A simulated worker: what it is, and what the scheduler thinks it is."""

    id: int
    up: bool = False
    dead: bool = False
    innocent: bool = False  # it was dead before anybody wanted it dead
    inbox: deque[Chunk | Void | Quit] = field(default_factory=deque[Chunk | Void | Quit])
    outbox: deque[Event] = field(default_factory=deque[Event])
    running: Running | None = None
    seen: Running | None = None  # what ran last: it can be looked at until another chunk begins
    held: bool = False
    stubborn: bool = False  # it does not go when it is asked to
    can_reclaim_chunks: bool = True  # chunks that wait there can be taken back
    can_reclaim_items: bool = False  # and what has not begun of one that has
    # As the scheduler knows it:
    ready: bool = False
    stopped: bool = False
    killed: bool = False
    asked: float | None = None  # when it was killed gently
    gently: bool = False  # and not in any other way since
    replace: bool = False
    renewed: bool = False  # it was asked to be replaced
    holds: deque[Chunk] = field(default_factory=deque[Chunk])
    taken: int = 0

    @property
    def leaving(self) -> bool:
        """Whether it was told to go, one way or the other."""
        return self.stopped or self.killed

    @property
    def doomed(self) -> bool:
        """Whether it was killed in a way that ends it."""
        return self.killed and not (self.gently and self.stubborn)

    @property
    def idle(self) -> bool:
        """Whether the scheduler could give it something at once."""
        return self.ready and not self.leaving and not self.holds


class World:
    """A scheduler, its workers and its jobs; every method is a thing that may happen."""

    def __init__(
        self,
        limit: int,
        max_chunks: int | None = None,
        can_kill: bool = True,
        *,
        wears: bool = False,
        punctual: bool = False,
        can_reclaim_chunks: bool = True,
    ) -> None:
        """Make a world with no workers yet.

        Args:
            limit: how many workers there may be.
            max_chunks: how many chunks a worker may run.
            can_kill: whether workers can be killed.
            wears: whether workers may need replacement after any item.
            punctual: whether an item ends in its time; else it may be late for no fault of its own.
            yields: whether what waits at a worker can be taken back, but for one in five.
        """
        self.scheduler = Scheduler(limit, max_chunks, can_kill, prefetch=not wears)
        self.wears = wears
        self.can_reclaim_chunks = can_reclaim_chunks
        self.punctual = punctual
        self.now = START
        self.limit = limit
        self.max_chunks = max_chunks
        self.can_kill = can_kill
        self.workers: dict[int, Worker] = {}  # until the scheduler was told that they are gone
        self.jobs: dict[int, Job] = {}
        self.duration = 0.0  # what an item takes at present
        self.closed = False
        self.terminated = False
        self.ended = False  # what had begun is lost, and nothing else begins
        self.withdrawing: Job | None = None
        self.start_failures = 0
        self.taken_back = 0  # chunks
        self.split = 0  # chunks of which a part was taken back
        self.batches = 0  # messages with several chunks of a size that was asked for
        self.log: list[Event | Command] = []
        self._expected: deque[LoseItem | RetryItem] = deque()
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
        dooms: Mapping[int, Doom] | None = None,
        timeout: float | None = None,
        retries: tuple[float, ...] = (),
        retry_lost: bool = True,
        retry_overdue: bool = True,
        like: int | None = None,
    ) -> Job:
        """Submit a job; one that is `open` has only its first items."""
        assert not self.closed, "the driver takes no work once it is closed"
        dooms = dooms or {}
        if timeout is None:  # nobody would ever end what hangs
            dooms = {item: doom for item, doom in dooms.items() if doom.fate is not Fate.HANGS}
        about = (timeout, retries, retry_lost, retry_overdue)
        number = len(self.jobs)
        job = Job(number, size, chunksize, collect, stop, open, open, at_once, dooms, *about)
        self.jobs[job.id] = job
        self.start_failures = 0
        terms = RunRules(chunksize, collect, stop, *about, at_once)
        self.tell(JobSubmitted(job.id, size, terms, open, like))
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

    def withdraw(self, job: Job) -> None:
        """Cancel a job if nothing of it has begun, and see that it is if nobody has it."""
        was_over, was_cancelled = job.over, job.cancelled
        unsent = not job.given and not job.retried and not job.finished
        self.withdrawing = job
        answer = self.tell(JobWithdrawn(job.id))
        self.withdrawing = None
        if was_over is not None:
            assert job.over is was_over
            assert _only_sends(answer)
        elif unsent:
            assert job.cancelled, "nobody has it, and it goes on"
        assert was_cancelled or not (job.cancelled and job.begun), "it had begun"

    def end_workers(self) -> None:
        """End all workers, and see that nobody is spared; what has not begun is cancelled."""
        self.closed = self.terminated = self.ended = True
        self.tell(Terminate(lose=True))
        assert all(w.killed for w in self.workers.values()), "a worker is not killed"
        for job in self.open_jobs():
            assert self._held_by(job, dead=True), "nobody has it, and it goes on"

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

    def renew(self) -> None:
        """Have all workers replaced, and see that the idle ones go."""
        go = [w for w in self.workers.values() if not w.holds]
        for worker in self.workers.values():
            worker.renewed = True
        self.tell(Renew())
        assert all(worker.leaving for worker in go), "an idle worker stays"

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
        """Let a worker do the next thing, and the clock move on if that needs time."""
        running = worker.running
        if not worker.up:
            worker.up = True
            worker.outbox.append(
                WorkerReady(worker.id, worker.can_reclaim_chunks, worker.can_reclaim_items)
            )
        elif running is not None:
            if running.waits:
                return
            if self.punctual and running.ends > self.now and self.hear():
                return
            alarm = self.scheduler.alarm if self.punctual else None
            if alarm is not None and alarm <= running.ends:
                self.tick(wait=True)  # nobody misses his time here
                return
            self.pass_time(running.ends)
            if worker.running is running and not worker.dead and running.ends <= self.now:
                self._go_on(worker, running)
        elif worker.killed and not self.can_kill:
            self.die(worker)
        elif worker.inbox:
            message = worker.inbox.popleft()
            if isinstance(message, Quit):
                self.die(worker)
            elif isinstance(message, Chunk):
                if Void(message.job) in worker.inbox:
                    worker.outbox.append(ItemsFinished(worker.id, 0, (), 0.0, last=True))
                else:
                    worker.seen = worker.running = Running(message, message.start, message.start)
                    self._begin(worker, worker.running)

    def _begin(self, worker: Worker, running: Running) -> None:
        job = running.chunk.job
        hand = running.hand
        if not job.at_once or hand == running.chunk.start:  # else it began with the chunk
            if worker.held:
                running.waits = True
                return
            items = range(hand, running.chunk.stop if job.at_once else hand + 1)
            assert job.begun.isdisjoint(items), f"one of items {items} of {job.id} begins twice"
            assert job.succeeded.isdisjoint(items), f"one of items {items} had succeeded"
            if job.stop and self.can_kill:
                assert job.over is None, "an item begins when all was said to be done"
                if worker.can_reclaim_chunks and not worker.killed and hand == running.chunk.start:
                    assert hand < job.end, "a chunk begins that nobody wants"
            job.begun.update(items)
            running.since = self.now
            if job.retries:
                for item in items:
                    job.begins[item] = job.begins.get(item, 0) + 1
                    assert job.begins[item] <= 1 + len(job.retries), f"{item} begins too often"
        duration = self.duration * (hand + job.begins.get(hand, 0) & 3) / 2
        if job.timeout is not None:
            duration = min(duration, 0.9 * job.timeout)
            doom = job.doom(hand) if job.dooms else None
            if doom is not None and doom.fate is Fate.HANGS:
                # What cannot be killed ends some day, or the pool would never be closed.
                duration = inf if self.can_kill else 100 * job.timeout
        running.ends = (running.since or 0.0) + duration
        running.took += duration

    def _go_on(self, worker: Worker, running: Running) -> None:
        """End the item in hand, and begin the next."""
        job = running.chunk.job
        doom = job.doom(running.hand) if job.dooms else None
        fate = None if doom is None else doom.fate
        if fate is Fate.KILLS:
            self.die(worker)
            return
        if fate is None:
            job.succeeded.add(running.hand)
        elif fate is not Fate.HANGS:
            running.spoiled.append(running.hand)
        running.hand += 1
        asked_to_end = worker.killed and not self.can_kill
        raised = fate is Fate.RAISES and not job.collect
        replace = self.wears and (7 * running.hand + worker.id) % 5 == 0
        if running.hand == running.chunk.stop or raised or asked_to_end or replace:
            if job.at_once:
                self._call_off(job, range(running.hand, running.chunk.stop))
            self._report(worker, running, last=True, replace=replace)
            running.ended = True
            worker.running = None
        else:
            self._begin(worker, running)

    @staticmethod
    def _call_off(job: Job, items: range) -> None:
        """End items that began with their chunk: as the worker says, they count as not begun."""
        job.begun.difference_update(items)
        if job.retries:
            for item in items:
                job.begins[item] -= 1

    def _report(self, worker: Worker, running: Running, last: bool, replace: bool = False) -> None:
        count = running.hand - running.sent
        elapsed = running.took if last else 0.0
        failed = tuple(running.spoiled)
        dooms = running.chunk.job.dooms
        again = frozenset([item for item in failed if dooms[item].again])
        event = ItemsFinished(worker.id, count, failed, elapsed, last, again, replace)
        worker.outbox.append(event)
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
        if running is None or running.waits:
            return 0
        return running.chunk.stop - running.hand if running.chunk.job.at_once else 1

    def look(self, worker: Worker, limit: float) -> tuple[float | None, bool]:
        """Return since when a worker runs its item, and whether it is held because of that."""
        seen = worker.seen
        # An item that is over is taken for one that runs until the next one begins.
        if seen is None or seen.chunk is not worker.holds[0] or seen.since is None:
            return None, False
        worker.held = seen.since + limit <= self.now
        return seen.since, worker.held

    def deliver(self, worker: Worker) -> None:
        """Tell the scheduler the next thing that a worker has to tell."""
        event = worker.outbox.popleft()
        if isinstance(event, WorkerReady):
            worker.ready = True
            self.start_failures = 0
        elif isinstance(event, ItemsFinished):
            self._finished(worker, event)
        elif isinstance(event, WorkerGone):
            self._gone(worker, event.begun)
        self.tell(event)
        assert not self._expected, f"{self._expected} is missing"

    def _finished(self, worker: Worker, event: ItemsFinished) -> None:
        chunk = worker.holds[0]
        job = chunk.job
        items = range(chunk.next, chunk.next + event.items)
        if job.retries:
            for item in items:
                tries = job.retried.get(item, 0) - job.unbegun.get(item, 0) + 1
                assert job.begins[item] == tries, f"it was told of another try of {item}"
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
                    self._lose_all(worker, chunk, begun)
                elif chunk.next == chunk.start and worker.asked is None:
                    job.tries[chunk.next] = job.tries.get(chunk.next, 0) + 1
                    if job.tries[chunk.next] >= TRIES:
                        self._may_lose = LoseItem(job.id, chunk.next, worker.id)
        for chunk in worker.holds:
            chunk.job.given.difference_update(range(chunk.next, chunk.stop))

    def _lose_all(self, worker: Worker, chunk: Chunk, begun: int) -> None:
        """Expect that the scheduler finds items lost, or tries them again."""
        job = chunk.job
        overdue = worker.asked is not None
        if overdue:
            seen = worker.seen
            assert seen is not None
            assert seen.chunk is chunk
            assert seen.since is not None
            assert job.timeout is not None, "an item is overdue that may take its time"
            assert seen.since + job.timeout <= self.now, "an item is overdue before its time"
        else:
            assert worker.innocent or self.ended, (
                f"item {chunk.next} of {job.id} fell to a kill of ours"
            )
        may = job.retry_overdue if overdue else job.retry_lost
        for index in range(chunk.next, chunk.next + begun):
            if index >= job.end:
                break  # it is gone as well, but nobody wants it
            chunk.next += 1
            if may and job.has_try_left(index):
                self._expected.append(RetryItem(job.id, index))
            else:
                self._expected.append(LoseItem(job.id, index, worker.id, overdue))
                self._lose(job, index)

    def _lose(self, job: Job, index: int) -> None:
        job.finished.add(index)
        job.failed.add(index)
        job.given.add(index)

    # --- time passes ---------------------------------------------------------------------------

    def busy(self, worker: Worker) -> bool:
        """Whether something will happen at a worker by itself, or when its time is over."""
        if worker.outbox or not worker.up:
            return True
        return bool(worker.killed or worker.running or worker.inbox)

    def _can_move(self, worker: Worker) -> bool:
        """Whether something can happen at a worker without the scheduler."""
        if worker.outbox or not worker.up:
            return True
        if worker.dead:
            return False
        if worker.doomed and self.can_kill:
            return True
        running = worker.running
        if running is not None:
            return not running.waits and running.ends < inf
        return bool(worker.inbox or (worker.killed and not self.can_kill))

    def pass_time(self, until: float) -> None:
        """Move the clock on; in a punctual world all items end that do so before."""
        while self.punctual and until > self.now:
            ends = [
                (worker.running.ends, worker.id)
                for worker in self.workers.values()
                if worker.running is not None and not worker.dead and not worker.running.waits
            ]
            first, number = min(ends, default=(inf, 0))
            if first >= until:
                break
            self.now = max(self.now, first)
            worker = self.workers[number]
            assert worker.running is not None
            self._go_on(worker, worker.running)
        if self.now < until < inf:
            self.now = until

    def hear(self) -> bool:
        """Tell the scheduler all that workers have to tell; return whether there was anything."""
        heard = False
        for worker in list(self.workers.values()):
            while worker.outbox:
                heard = True
                self.deliver(worker)
        return heard

    def tick(self, wait: bool) -> bool:
        """Tell the scheduler that its time has come; return whether it has.

        Args:
            wait: whether to let time pass until then.
        """
        alarm = self.scheduler.alarm
        if alarm is None or (alarm > self.now and not wait):
            return False
        self.pass_time(alarm)
        if self.punctual:  # all that was said by now is heard before, as the driver does it
            self.hear()
        for job in self.open_jobs():
            job.release(self.now)
        answer = self.tell(Tick())
        asked = any(
            isinstance(command, ReclaimChunks) for command in answer
        )  # one of them at a time
        alarm = self.scheduler.alarm
        assert asked or alarm is None or alarm > self.now, (
            "a tick is wanted that there was just now"
        )
        return True

    def advance(self, tape: bytes) -> None:
        """Let a byte's worth of things happen for each byte of `tape`."""
        for byte in tape:
            what = byte >> 4
            if what in (4, 12):
                self.tick(wait=what == 12)
            movable = [worker for worker in self.workers.values() if self._can_move(worker)]
            if not movable:
                if self.tick(wait=True):
                    continue
                return
            worker = movable[(byte & 0x0F) % len(movable)]
            if what == 15:
                self.die(worker)
            elif worker.outbox and (worker.dead or what < 6):
                self.deliver(worker)
            elif worker.dead:
                continue
            elif what == 14:
                self.flush(worker)
            elif worker.doomed and self.can_kill and what & 1:
                self.die(worker)
            else:
                self.step(worker)
                while what > 10 and worker.running is not None and self._can_go_on(worker):
                    self.step(worker)

    def _can_go_on(self, worker: Worker) -> bool:
        running = worker.running
        return running is not None and not (worker.dead or running.waits or running.ends == inf)

    def run_out(self, starts_fail: bool = False) -> None:
        """Let everything happen that is under way, with workers that behave from now on.

        Args:
            starts_fail: whether those that are not ready, and all later ones, die at their start.
        """
        for _ in range(_STEPS):
            moved = self.tick(wait=False)
            next = inf  # when an item ends
            for worker in list(self.workers.values()):
                if worker.id not in self.workers or not self._can_move(worker):
                    continue
                running = worker.running
                if worker.outbox:
                    self.deliver(worker)
                elif (starts_fail and not worker.up) or (worker.doomed and self.can_kill):
                    self.die(worker)
                elif running is not None and running.ends > self.now:
                    next = min(next, running.ends)
                    continue
                else:
                    self.step(worker)
                moved = True
            if not moved and next < inf:
                alarm = self.scheduler.alarm
                self.pass_time(next if alarm is None else min(next, alarm))
            elif not moved and not self.tick(wait=True):
                return
        raise AssertionError("it never comes to an end")

    # --- what the scheduler does ---------------------------------------------------------------

    def tell(self, event: Event) -> list[Command]:
        """Tell the scheduler something, do what it answers, check everything; return the answer."""
        answer = self._handle(event)
        self.check()
        return answer

    def _handle(self, event: Event) -> list[Command]:
        self.log.append(event)
        answer = self.scheduler.handle(event, self.now)
        for command in answer:
            self.log.append(command)
            self._obey(command)
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
            case KillWorker(number, gently):
                if gently:
                    self._ask_to_go(self.workers[number])
                else:
                    self._kill(self.workers[number])
            case LoseItem() | RetryItem():
                self._lose_or_retry(command)
            case DiscardChunks(number, id):
                worker = self.workers[number]
                assert self.jobs[id].over is None, "the driver knows it no more"
                assert not worker.leaving
                assert any(chunk.job.id == id for chunk in worker.holds)
                worker.inbox.append(Void(self.jobs[id]))
            case FinishJob() | FailJob():
                self._end(command)
            case CheckDeadline(number, limit):
                self._look(self.workers[number], limit)
            case ReclaimChunks(number):
                self._take_back(self.workers[number])

    def _take_back(self, worker: Worker) -> None:
        # It may be told to go by what was answered to a look just before.
        for_others = any(other.idle for other in self.workers.values())
        if self.withdrawing is not None:
            for_others = for_others or any(c.job is self.withdrawing for c in worker.holds)
        unwanted = any((c.job.stop or c.step) and c.next >= c.job.end for c in worker.holds)
        assert for_others or unwanted or worker.renewed, "they are taken back for nobody"
        more = len(worker.holds) > 1 or any(chunk.step for chunk in worker.holds)
        assert more, "there is nothing to take back"
        items: int | None = None
        if worker.can_reclaim_chunks:
            for chunk in [chunk for chunk in worker.holds if chunk in worker.inbox]:
                worker.holds.remove(chunk)
                worker.inbox.remove(chunk)
                worker.taken -= 1
                chunk.job.given.difference_update(range(chunk.start, chunk.stop))
                self.taken_back += 1
        seen = worker.seen
        if (
            worker.can_reclaim_items
            and worker.holds
            and seen is not None
            and seen.chunk is worker.holds[-1]
        ):
            chunk = seen.chunk
            if chunk.step and (worker.running is seen or worker.dead) and not seen.ended:
                # What is held has not begun, though it is in hand.
                items = seen.hand - chunk.start if seen.waits else chunk.kept(seen.hand)
                stop, chunk.stop = chunk.stop, chunk.start + items
                chunk.job.given.difference_update(range(chunk.stop, stop))
                self.split += chunk.stop < stop
        # The driver answers in the middle of what it was told, and so does this.
        self._handle(ChunksReclaimed(worker.id, len(worker.holds), items))

    def _look(self, worker: Worker, limit: float) -> None:
        assert not worker.leaving, "a worker is looked at that is leaving"
        assert limit == worker.holds[0].job.timeout
        since, held = self.look(worker, limit)
        # The driver answers in the middle of what it was told, and so does this.
        self._handle(ItemRuns(worker.id, since, held))
        if held:
            assert worker.gently, "an item runs for too long, and nobody ends it"
        else:
            alarm = self.scheduler.alarm
            latest = (self.now if since is None else since) + limit
            assert alarm is not None, "nobody looks at a worker again"
            assert alarm <= latest, "a worker is looked at again too late"

    def _lose_or_retry(self, command: LoseItem | RetryItem) -> None:
        job = self.jobs[command.job]
        item = command.item
        if self._expected:
            assert command == self._expected.popleft(), "another item was lost or is tried again"
        else:
            assert self._may_lose is not None, "an item is lost that is not"
            retried = job.retry_lost and job.has_try_left(item)
            assert command == (RetryItem(job.id, item) if retried else self._may_lose)
            self._may_lose = None
            if retried:
                job.unbegun[item] = job.unbegun.get(item, 0) + 1
                job.tries[item] = 0
            else:
                self._lose(job, item)
        if isinstance(command, RetryItem):
            tried = job.retried.get(item, 0)
            assert item not in job.later
            job.retried[item] = tried + 1
            job.begun.discard(item)
            job.given.add(item)
            job.later[item] = self.now + job.retries[tried]
            for other in self.open_jobs():
                other.release(self.now)

    def _start(self, number: int) -> None:
        assert number not in self.workers
        assert self.start_failures < MAX_START_FAILURES, "no start is tried for ever"
        can_reclaim_chunks = self.can_reclaim_chunks and number % 5 != 4
        can_reclaim_items = can_reclaim_chunks and number % 3 != 2
        self.workers[number] = Worker(
            number,
            stubborn=number % 2 == 1,
            can_reclaim_chunks=can_reclaim_chunks,
            can_reclaim_items=can_reclaim_items,
        )
        assert len(self.workers) <= self.limit, "there are too many workers"

    def _send(self, command: SendChunk) -> None:
        worker = self.workers[command.worker]
        job = self.jobs[command.job]
        items = range(command.start, command.stop)
        assert worker.ready, "a chunk is sent to a worker that is not ready"
        assert not worker.leaving, "a chunk is sent to a worker that is leaving"
        assert not worker.replace, "a chunk is sent to a worker that is to be replaced"
        assert job.over is None, "a chunk of a job that is over"
        assert items, "a chunk of nothing"
        assert items.stop <= job.end, "an item is dispatched after a failure before it"
        assert job.given.isdisjoint(items), "an item is dispatched again"
        assert job.begun.isdisjoint(items), "an item is dispatched that had begun"
        assert not command.step or worker.can_reclaim_items, "nobody could have the rest of it back"
        assert 0 <= command.step < len(items)
        assert not (job.at_once and command.step), "they all begin at once"
        if job.chunksize is not None and len(items) > job.chunksize:
            assert worker.can_reclaim_items, "chunks are put together for good"
            assert self.max_chunks is None, "a chunk counts as several"
            assert not job.streams, "results are kept from who waits for them"
            assert not job.at_once
            self.batches += 1
        job.given.update(items)
        chunk = Chunk(job, items.start, items.stop, items.start, command.step)
        worker.holds.append(chunk)
        worker.inbox.append(chunk)
        worker.taken += 1
        assert job.later.keys().isdisjoint(items), "an item is tried again before its delay is over"
        most = MOST_CALLS if job.size == 1 and not job.streams else MOST_HELD
        assert len(worker.holds) <= (1 if self.wears else most), "too many chunks for a worker"
        assert self.max_chunks is None or worker.taken <= self.max_chunks

    def _ask_to_go(self, worker: Worker) -> None:
        assert not worker.leaving, "a worker is asked to go that is leaving"
        assert worker.held, "a worker is killed gently that may go on"
        worker.killed = worker.gently = True
        worker.asked = self.now
        if not self.can_kill:
            self.die(worker)  # it is left to itself, and nobody hears of it again

    def _kill(self, worker: Worker) -> None:
        if worker.asked is not None:
            assert worker.gently, "a worker is killed a third time"
            assert self.now >= worker.asked + LAST_WORDS, "a worker has no time to speak"
            worker.gently = False
            return
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
        if isinstance(command, FailJob) and (job is self.withdrawing or self.ended):
            assert job is not self.withdrawing or not job.begun, "what has begun is cancelled"
            job.cancelled = True
            job.stop = False
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

    def _held_by(self, job: Job, dead: bool = False) -> list[Worker]:
        workers = [w for w in self.workers.values() if any(c.job is job for c in w.holds)]
        return [worker for worker in workers if dead or not worker.dead]

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
        if waiting and not self.ended:
            assert not any(w.idle for w in workers), "work waits while a worker is idle"
            taken = sum(1 for w in workers if w.holds or w.leaving)
            if self.start_failures < MAX_START_FAILURES:
                chunks = sum(-(-job.waiting // (job.chunksize or 1)) for job in jobs)
                enough = min(chunks, self.limit - taken)
                assert len(workers) - taken >= enough, "work waits, and no worker is started for it"
            else:
                assert workers, "work waits, and nobody will come"
        if self.can_kill:
            for worker in workers:
                if worker.running is None or worker.leaving or worker.dead:
                    continue
                chunk = worker.running.chunk
                if chunk is worker.holds[0] and chunk.job.stop:
                    assert chunk.next < chunk.job.end, "what nobody wants runs on"
        if self.closed and not jobs:
            assert not any(w.idle for w in workers), "an idle worker stays in a closed pool"
        if self.scheduler.timed:
            self.check_alarm()
        else:
            assert not any(job.timeout or job.delayed() for job in jobs), "no alarm is looked for"
        self.check_who_is_meant()
        assert self.scheduler.workers == len(workers)
        assert self.scheduler.busy == bool(jobs or (self.closed and workers))
        if not any(map(self.busy, workers)) and not any(job.delayed() for job in jobs):
            self.check_quiet()

    def check_who_is_meant(self) -> None:
        """Check that what comes is for workers that can take it."""
        scheduler = self.scheduler
        prefetch = scheduler._prefetch
        for worker in (*prefetch._below_target.values(), *prefetch._at_share.values()):
            assert scheduler._workers.all.get(worker.id) is worker, "it is for one that is gone"
            assert not worker.leaving, "it is for one that is leaving"

    def check_alarm(self) -> None:
        """Check that the scheduler wants to be told of the time when it has to know."""
        latest = min([due for job in self.open_jobs() for due in job.delayed()], default=inf)
        for worker in self.workers.values():
            if worker.gently and worker.asked is not None:
                # When its time is over it is killed, and nothing more is waited for.
                latest = min(latest, worker.asked + LAST_WORDS)
            elif worker.holds and not worker.leaving:
                limit = worker.holds[0].job.timeout
                latest = latest if limit is None else min(latest, self.now + limit)
        if latest < inf:
            alarm = self.scheduler.alarm
            assert alarm is not None, "nobody will know that the time has come"
            assert alarm <= latest, "it will be known too late that the time has come"

    def check_quiet(self) -> None:
        """Check what holds when nothing happens any more by itself."""
        jobs = self.open_jobs()
        # A job that waits for its input is all that may be left, and nothing that has come of that.
        assert all(job.takes_more for job in jobs), "nothing happens, and a job is not over"
        assert all(job.complete for job in jobs), "nothing happens, and results are to come"
        assert all(worker.idle for worker in self.workers.values())
        assert self.scheduler.alarm is None, "there is nothing to look at"
        self.check_all()

    def check_all(self) -> None:
        """Check that the scheduler keeps nothing of what is over, when nothing is under way."""
        scheduler = self.scheduler
        assert {*scheduler._jobs} == {job.id for job in self.open_jobs()}
        assert not scheduler._jobs.turns, "jobs with nothing to do stay in the queue"
        assert scheduler._workers.all.keys() == self.workers.keys()
        assert scheduler._workers.idle.keys() == self.workers.keys()
        assert not any(worker.chunks for worker in scheduler._workers.all.values())

    def check_law_of_errors(self, job: Job) -> None:
        """Check the end of a job in a world where no worker died but by an item's own fault."""
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


def _only_sends(answer: list[Command]) -> bool:
    """Whether an answer is what any event may have: chunks that waited anyway are sent ahead."""
    return all(isinstance(command, SendChunk) for command in answer)


def dooms_of(size: int, marks: Iterable[tuple[int, Doom]]) -> dict[int, Doom]:
    """Return which of `size` items end badly, and how."""
    return {index % size: doom for index, doom in marks} if size else {}
