"""The small protocol that the driver speaks with whatever runs the items."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from .._jobs.reports import Report
from .._jobs.work import CallSpec, Work
from .._transport.by_value.sent_names import SentNames


class WorkerStarted(NamedTuple):
    """A worker has started and can take work.

    `can_reclaim_chunks`: `reclaim` can tell which chunks have begun. `can_reclaim_items`: and which
    of their items.
    """

    worker: int
    can_reclaim_chunks: bool = True
    can_reclaim_items: bool = False


class ResultsArrived(NamedTuple):
    """The next items of a worker's first chunk are finished.

    `values` has a slot for each, of no meaning where `failures` has the offset of the slot. `last`:
    the worker is done with the chunk. `elapsed`: seconds for the whole chunk, with `last`.
    `replace`: the worker is to be replaced. `size`: bytes that the whole chunk took, there and
    back, with `last`; 0 where nothing travels.
    """

    worker: int
    work: Work
    start: int
    values: list[object]
    failures: Mapping[int, Exception]
    last: bool
    elapsed: float
    replace: bool = False
    size: int = 0


class WorkerEnded(NamedTuple):
    """A worker is no more. `begun`: how many unfinished items of its first chunk it had begun.

    `pid` and `exitcode` are those of a process (None where they are not known); `reason` and
    `cause` say why it could not start, if it could not; `stack` is where it was, innermost first,
    if it could say so. `hopeless`: no other one could start, either.
    """

    worker: int
    begun: int
    pid: int | None = None
    exitcode: int | None = None
    reason: str = ""
    cause: Exception | None = None
    stack: str = ""
    hopeless: bool = False


BackendEvent: TypeAlias = WorkerStarted | ResultsArrived | WorkerEnded | Report


Polled = TypeVar("Polled")

ALL_CHUNKS: Final = sys.maxsize  # for `begun` and `reclaim`: as many as the worker holds


class Backend(ABC, Generic[Polled]):
    """Starts and stops workers, gives them chunks, and tells what happened.

    To write one, define the eight abstract methods. What is not abstract has a default that is
    right for a backend that runs items in this process and cannot interrupt them.

    - A *worker* is a number that the scheduler has chosen. `start` makes it; from then on exactly
      one `WorkerStarted` or `WorkerEnded` follows, and a started worker ends with `WorkerEnded`.
    - A *chunk* is a range of the items of a call. `send` gives it to a worker, which runs its items
      in order, and its chunks in the order in which they were sent. For each chunk there are one or
      more `ResultsArrived`, of which the last has `last`. Where the first failure ends a call, a
      chunk may end behind the item that has failed. `in_process.run_chunk` does all of this for
      items that run in this process.
    - Commands never wait. What comes of them is kept until the leader asks: `poll` waits for it,
      without the lock, and `collect` tells it, under the lock. Whatever brings something new ends
      the wait of `poll`, in whichever thread that is.

    Only the driver calls a backend, under its lock, with a few exceptions: whoever makes a backend
    calls `check` first; only the thread that leads calls `poll`; any thread may call `wake`,
    `workers`, `identity`, `has_lost_descriptors`, `runs_here` and `finished_ahead` at any time.

    Attributes:
        can_kill: workers can be ended at any moment.
        runs_in_poll: there are no workers, and items run in the thread that polls.
        has_cache: something is kept that `release_cache` would give back; any thread may ask.
        sent_names: what workers were told of the caller's names; None: they are in this process.
        start_method: how worker processes begin; None: there are none.
    """

    can_kill: bool = False
    runs_in_poll: bool = False
    has_cache: bool = False
    sent_names: SentNames | None = None
    start_method: str | None = None

    def check(self) -> None:
        """Raise an error that makes it impossible to start a worker, if one is known already."""

    @abstractmethod
    def start(self, worker: int) -> None:
        """Start a worker; `WorkerStarted` or `WorkerEnded` tells whether it did start."""
        ...

    def workers(self) -> dict[int, int | None]:
        """Return the process ids of all workers, by their numbers.

        None in the place of a process id: the worker has no process of its own, or it is being
        started. The default: no workers, which is right if items run in the thread that polls.
        """
        return {}

    def identity(self, worker: int) -> tuple[tuple[int, ...], str]:
        """Return what `multiprocessing` would call a worker: its identity, and its name.

        The default is made of its number, for a worker that is not a process or does not exist.
        """
        return (worker + 1,), f"PoolWorker-{worker + 1}"

    def runs_here(self) -> bool:
        """Return whether the calling thread is a worker of this backend."""
        return False

    def finished_ahead(self, number: int) -> int:
        """Return how many items of a call are finished and not told yet, as far as is known.

        It may be too few, and is never too many for those who first look how many were told: an
        item is told only after it counts no more here.
        """
        return 0

    @abstractmethod
    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        """Give a worker a chunk, behind those that it has; never blocks.

        Args:
            worker: its number.
            work: the call.
            start: the index of the first item in `work.call.items`.
            stop: the index behind the last item.
            step: how many items the worker notes as begun at a time; 0: all. See `reclaim`.
        """
        ...

    def discard(self, worker: int, work: Work) -> None:
        """Tell a worker not to run what it holds of `work` and has not begun.

        Such a chunk is answered all the same, by `ResultsArrived` with the values that there are.
        The default: the worker runs it.
        """

    def has_lost_descriptors(self) -> bool:
        """Return whether the program has closed descriptors by which workers are reached."""
        return False

    def is_outdated(self, spec: CallSpec) -> bool:
        """Return whether a call uses what the present workers lack and new ones would have."""
        return False

    def renew(self) -> None:
        """Take in that all workers are replaced: new ones are to have nothing of the old code."""

    def drop(self, spec: CallSpec) -> None:
        """Let all workers forget a call spec: no call uses it any more."""

    def on_idle(self) -> None:
        """Note that there is no work; what would make the next call faster may be kept."""

    def release_cache(self) -> None:
        """Give back what was kept, since no work has come for a while."""

    @abstractmethod
    def stop(self, worker: int) -> None:
        """End a worker that holds no chunk; `WorkerEnded` follows."""
        ...

    @abstractmethod
    def kill(self, worker: int) -> None:
        """End a worker whatever it does; where that is impossible, after its present item.

        `WorkerEnded` follows, and nothing else of what it holds.
        """
        ...

    def abort(self, worker: int) -> None:
        """End a worker whose item runs for too long, as `kill` does.

        It may tell first which line of code it is at (`WorkerEnded.stack`), if that takes no time.
        """
        self.kill(worker)

    def terminate(self, worker: int) -> None:
        """End a worker at once, but in order: what is registered for its end is called.

        Where that is impossible, as `kill` does.
        """
        self.kill(worker)

    def begun(self, worker: int) -> int:
        """Return how many of its chunks a worker may have begun: the first ones.

        The default: all.
        """
        return ALL_CHUNKS

    def check_deadline(self, worker: int, limit: float) -> tuple[float, bool] | None:
        """Return since when a worker runs an item of its first chunk, and whether it is held.

        A worker that runs the item for longer than `limit` seconds is held if possible: it begins
        no other item. The time is that of `time.monotonic`. None: it has not begun the item, or, by
        default, nobody knows: then no item is found to be overdue.
        """
        return None

    def reclaim(self, worker: int) -> tuple[int, int | None]:
        """Reclaim what a worker has not begun; return what it keeps.

        Returns:
            How many chunks it keeps, the first ones; if there are several, all but the last are
            finished. And how many items of the last of these it keeps, from its start; None: all.
            The default: the worker keeps everything, as one that tells nobody what it has begun.
        """
        return ALL_CHUNKS, None

    def flush(self) -> None:
        """Send what the commands since the last flush have left to be sent."""

    @abstractmethod
    def poll(self, timeout: float | None) -> Polled:
        """Wait until something has happened; return what `collect` needs to tell it, never None.

        It returns after `timeout` seconds at the latest (None: no limit), at once if something has
        happened before, and soon after `wake`. It must not lose what has happened: an exception of
        a signal handler may strike before `collect` is called.
        """
        ...

    @abstractmethod
    def collect(self, polled: Polled) -> Iterable[BackendEvent]:
        """Return what has happened, in order.

        The driver carries out the commands that follow from an event before it asks for the next
        event. So a worker may be sent a chunk until the event that says that the worker has ended.
        """
        ...

    @abstractmethod
    def wake(self) -> None:
        """Make the `poll` that is under way, or else the next one, return at once."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether something beside the workers is held, which `close` would give back."""
        return False

    def close(self) -> None:
        """Give back what is held beside the workers; it is opened again when one is started.

        Only the thread that leads calls it: what `poll` waits on must not be closed meanwhile.
        """

    def let_go(self) -> None:
        """Tell workers that hold no chunk to end, since the interpreter ends."""
        return

    def is_left(self) -> bool:
        """Return whether a worker that `let_go` has told to end is still there."""
        return False

    @abstractmethod
    def end(self) -> None:
        """End all workers at once; no event follows."""
        ...

    def after_fork_in_child(self) -> None:
        """Forget all workers without touching them: this process is a fork of their owner."""
