"""What there is in a simulated pool: its jobs and their items, its workers and what they hold.

It is data, and questions that it answers. What happens to it is in the other modules.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from pmap._scheduling.commands import Command
from pmap._scheduling.events import Event

START: Final = 1000.0  # by the clock, so that the 0.0 of a driver without alarms is long past
# Seconds that an item takes: those that make chunks small, large, and sent ahead or not.
DURATIONS: Final = (0.0, 1e-6, 1e-4, 0.002, 0.03, 2.0)


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


def dooms_of(size: int, marks: Iterable[tuple[int, Doom]]) -> dict[int, Doom]:
    """Return which of `size` items end badly, and how."""
    return {index % size: doom for index, doom in marks} if size else {}


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

    def lose(self, item: int) -> None:
        """Note that an item is over, and has no result."""
        self.finished.add(item)
        self.failed.add(item)
        self.given.add(item)

    def delay(self, item: int, now: float) -> None:
        """Let an item wait until it is tried again."""
        tried = self.retried.get(item, 0)
        self.retried[item] = tried + 1
        self.begun.discard(item)
        self.given.add(item)
        self.later[item] = now + self.retries[tried]

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
class Discard:
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
    inbox: deque[Chunk | Discard | Quit] = field(default_factory=deque[Chunk | Discard | Quit])
    outbox: deque[Event] = field(default_factory=deque[Event])
    running: Running | None = None
    seen: Running | None = None  # what ran last: it can be looked at until another chunk begins
    held: bool = False
    stubborn: bool = False  # it does not go when it is asked to
    can_reclaim_chunks: bool = True  # chunks that wait there can be taken back
    can_reclaim_items: bool = False  # and what has not begun of one that has
    one_ahead: bool = False  # it is to hold one chunk more than the one that runs
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

    @property
    def in_hand(self) -> int:
        """How many items it has begun and not finished."""
        running = self.running
        if running is None or running.waits:
            return 0
        return running.chunk.stop - running.hand if running.chunk.job.at_once else 1


@dataclass(eq=False)
class Model:
    """A pool as it really is, which the scheduler only knows by what it is told.

    Attributes:
        limit: how many workers there may be.
        max_chunks: how many chunks a worker may run.
        can_kill: whether workers can be killed.
        wears: whether workers may need replacement after any item.
        punctual: whether an item ends in its time; else it may be late for no fault of its own.
        can_reclaim_chunks: whether what waits at a worker can be taken back, but for one in five.
    """

    limit: int
    max_chunks: int | None = None
    can_kill: bool = True
    wears: bool = False
    punctual: bool = False
    can_reclaim_chunks: bool = True
    now: float = START
    duration: float = 0.0  # what an item takes at present
    jobs: dict[int, Job] = field(default_factory=dict[int, Job])
    # Until the scheduler was told that they are gone:
    workers: dict[int, Worker] = field(default_factory=dict[int, Worker])
    closed: bool = False
    terminated: bool = False
    ended: bool = False  # what had begun is lost, and nothing else begins
    withdrawing: Job | None = None
    start_failures: int = 0  # in a row

    def open_jobs(self) -> list[Job]:
        """Return the jobs that are not over."""
        return [job for job in self.jobs.values() if job.over is None]

    def holders(self, job: Job) -> list[Worker]:
        """Return the workers that hold chunks of a job, be they dead or not."""
        return [w for w in self.workers.values() if any(c.job is job for c in w.holds)]

    def held_jobs(self) -> list[Job]:
        """Return the job of each chunk that a worker holds, if that is not over."""
        chunks = (chunk for worker in self.workers.values() for chunk in worker.holds)
        return [chunk.job for chunk in chunks if chunk.job.over is None]
