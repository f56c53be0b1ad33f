"""The interface between the engine and a backend, which runs items: `Backend` and its events."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from .._jobs.reports import Report
from .._jobs.work import CallSpec, Work
from .._transport.by_value.sent_names import SentNames
from .capacity import CapacityChanged


class WorkerStarted(NamedTuple):
    """The event that a worker has started and can take chunks.

    `can_reclaim_chunks`: chunks that the worker has not begun can be taken back from it.
    `can_reclaim_items`: single items of a chunk that the worker has begun can be taken back, too.
    `one_ahead`: whether the worker would wait long for its next chunk, because it takes the
    processor of the thread that sends chunks.
    """

    worker: int
    can_reclaim_chunks: bool = True
    can_reclaim_items: bool = False
    one_ahead: bool = False


class ResultsArrived(NamedTuple):
    """The event that the next items of a worker's first chunk are finished.

    `values` has one value for each item; the first item has the index `start`. `failures` has the
    errors of the items that have failed, by their offsets in `values`; the value of a failed item
    means nothing. `last`: the worker has done with the chunk. `elapsed`: the seconds that the whole
    chunk took, if `last`. `replace`: the worker is to be replaced. `size`: the bytes of the whole
    chunk and of its results, if `last`; 0 if the backend sends no bytes. `times` is empty unless
    the call is traced. Otherwise it has the times at which the worker began with these items and at
    which it had finished them, and then the begin and the end of each item, by `time.perf_counter`.
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
    times: Sequence[float] = ()


class CallsArrived(NamedTuple):
    """The event that the first chunks of a worker are finished, each the one item of its call.

    `works` and `values`: these calls and their results. No item has failed, and no call is traced,
    is the call of a stream or has a checkpoint. `elapsed` and `size`: as in `ResultsArrived`, of
    all these chunks together.
    """

    worker: int
    works: list[Work]
    values: list[object]
    elapsed: float
    size: int


class WorkerEnded(NamedTuple):
    """The event that a worker has ended, or that it could not start.

    `begun`: how many unfinished items of its first chunk the worker had begun. `pid` and `exitcode`
    belong to the worker's process; None: not known. `reason`, in words, and `cause` say why the
    worker could not start, or why it cannot be used any more. `stack`: the worker's stack at its
    end, innermost call first, or "". `hopeless`: whether no other worker could start either.
    """

    worker: int
    begun: int
    pid: int | None = None
    exitcode: int | None = None
    reason: str = ""
    cause: Exception | None = None
    stack: str = ""
    hopeless: bool = False


BackendEvent: TypeAlias = WorkerStarted | ResultsArrived | CallsArrived | WorkerEnded | Report


Polled = TypeVar("Polled")

# Backends put functions here that are called when the program is about to end, after all workers
# have been ended.
acts_at_exit: Final[list[Callable[[], object]]] = []

# Some methods return how many chunks a worker has begun, or how many it keeps. This number stands
# for all chunks that the worker holds.
ALL_CHUNKS: Final = sys.maxsize


class Backend(ABC, Generic[Polled]):
    """Starts and ends workers, gives them chunks, and returns events about them.

    To write a backend, define the eight abstract methods. Each other method has a default that is
    right for a backend that runs items in the caller's process and cannot interrupt them.

    - A *worker* is known by a number that the scheduler has chosen. After `start` exactly one event
      `WorkerStarted` or `WorkerEnded` follows for the worker. A worker that has started ends with
      the event `WorkerEnded`.
    - A *chunk* is a range of the items of a call. `send` gives a chunk to a worker. The worker runs
      the items in order, and its chunks in the order in which they were sent. For each chunk there
      are one or more events `ResultsArrived`; the last of these has `last` set. If the first
      failure ends a call, a chunk may end after the item that has failed. `in_process.run_chunk`
      runs a chunk in this way for items that run in the caller's process.
    - Commands never wait. The backend keeps the events that follow from a command until the leader
    (the thread that runs the engine's loop) asks for them: `poll` waits for events, without the
    lock of the engine's state, and `collect` returns the events, under that lock. Each new event
    ends the wait of `poll`, whichever thread waits there.

    With a few exceptions, only the engine calls the methods of a backend, and it holds the lock of
    its state then. The code that makes a backend calls `check` first. Only the leader calls `poll`,
    without the lock. Any thread may call `wake`, `workers`, `identity`, `has_lost_descriptors`,
    `runs_here` and `finished_ahead` at any time.

    Attributes:
        can_kill: whether workers can be ended at any moment.
        runs_in_poll: whether there are no workers, and items run in the thread that calls `poll`.
        has_cache: whether `release_cache` would free anything; any thread may read this.
        sent_names: the caller's names that were sent to workers; None if workers are in this
            process.
        start_method: how worker processes begin; None: the backend has no worker processes.
        packs: whether `pack` is called for each call.
    """

    can_kill: bool = False
    runs_in_poll: bool = False
    has_cache: bool = False
    sent_names: SentNames | None = None
    start_method: str | None = None
    packs: bool = False

    def check(self) -> None:
        """Raise an error if the backend knows already that no worker can start."""

    @abstractmethod
    def start(self, worker: int) -> None:
        """Start a worker; an event tells later whether it started."""
        ...

    def workers(self) -> dict[int, int | None]:
        """Return the process ids of all workers, by the numbers of the workers.

        The process id of a worker is None if the worker has no process of its own, or if its
        process is being started. The default is to return no workers, which is right if items run
        in the thread that calls `poll`.
        """
        return {}

    def identity(self, worker: int) -> tuple[tuple[int, ...], str]:
        """Return the identity and the name that `multiprocessing` would give a worker.

        By default both are made from the number of the worker, which is right for a thread.
        """
        return (worker + 1,), f"PoolWorker-{worker + 1}"

    def runs_here(self) -> bool:
        """Return whether the calling thread is a worker of this backend."""
        return False

    def finished_ahead(self, number: int) -> int:
        """Return how many items of a call have ended of which no event has told yet.

        `number` is the number of the call. The count may be too low. An item is not counted any
        more when the event with its result is returned. So code that first counts the items whose
        events were returned, and then adds this count, never counts an item twice.
        """
        return 0

    def pack(self, work: Work) -> None:
        """Prepare a new call to be sent to workers; the thread that makes the call does this.

        If the call cannot be sent, this method raises an exception, which may be of any class.
        """

    @abstractmethod
    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        """Give a worker a chunk, to be run after the chunks that the worker holds; never block.

        Args:
            worker: the number of the worker.
            work: the call that the chunk belongs to.
            start: the index of the chunk's first item in `work.call.items`.
            stop: the index after the chunk's last item.
            step: how many items begin together. The worker notes their beginning before it runs
                them; items that have not begun can be taken back. 0: all items of the chunk.
        """
        ...

    def discard(self, worker: int, work: Work) -> None:
        """Tell a worker not to run those chunks of the call `work` that it has not begun.

        An event `ResultsArrived` comes for each of these chunks in any case, with the values that
        there are. By default this method does nothing, and the worker runs the chunks.
        """

    def has_lost_descriptors(self) -> bool:
        """Return whether the program has closed descriptors that the backend needs for workers."""
        return False

    def is_outdated(self, spec: CallSpec) -> bool:
        """Return whether a call uses names that new workers would have and present ones lack.

        The processes backend also returns True if the caller has changed its user or groups.
        """
        return False

    def renew(self) -> None:
        """Let workers that are started from now on run the present code of the program."""

    def drop(self, spec: CallSpec) -> None:
        """Let all workers forget the description of a call that no call uses any more."""

    def on_idle(self) -> None:
        """Tidy up: no call is in progress. Memory that makes the next call quicker may stay."""

    def release_cache(self) -> None:
        """Free the memory that is kept for the next call, because none has come for a while."""

    @abstractmethod
    def stop(self, worker: int) -> None:
        """End a worker that holds no chunk; the event `WorkerEnded` follows."""
        ...

    @abstractmethod
    def kill(self, worker: int) -> None:
        """End a worker at any moment; a worker that cannot be killed ends after its present item.

        The event `WorkerEnded` follows, and after it no event for the chunks that the worker holds.
        """
        ...

    def abort(self, worker: int) -> None:
        """End a worker whose item runs for too long, in the same way as `kill`.

        If it takes no time, the worker may write its stack before it ends (`WorkerEnded.stack`).
        """
        self.kill(worker)

    def terminate(self, worker: int) -> None:
        """End a worker by SIGTERM: at once, unless the worker has a handler of SIGTERM.

        If the worker has no process of its own, end the worker as `kill` does.
        """
        self.kill(worker)

    def begun(self, worker: int) -> int:
        """Return how many of its chunks a worker may have begun, from the first chunk on.

        By default the method returns `ALL_CHUNKS`.
        """
        return ALL_CHUNKS

    def check_deadline(self, worker: int, limit: float) -> tuple[float, bool] | None:
        """Return when a worker began its present item, and whether the item is overdue.

        The time is one of `time.monotonic`. If the item has run for `limit` seconds or longer, the
        second value is True, and the backend keeps the worker from beginning another item, if it
        can. Return None if the worker runs no item. By default the method returns None, since the
        backend does not know: then no item is ever overdue.
        """
        return None

    def reclaim(self, worker: int) -> tuple[int, int | None]:
        """Take back the chunks and items that a worker has not begun.

        Returns:
            How many chunks the worker keeps, counted from the first chunk; if it keeps several, all
            but the last are finished. And how many items of the last kept chunk the worker keeps,
            counted from the chunk's first item; None: all. The default is that the worker keeps all
            chunks, which is right if the backend does not know which chunks have begun.
        """
        return ALL_CHUNKS, None

    def flush(self) -> None:
        """Send workers all messages that were not sent to them yet."""

    @abstractmethod
    def poll(self, timeout: float | None) -> Polled:
        """Wait until there is an event; return a value (never None), which `collect` takes.

        `poll` returns after `timeout` seconds at the latest (None: no limit). If there is an event
        already, it returns at once, and after a call of `wake` soon. `poll` must not lose an event:
        a signal handler may raise an exception before `collect` is called.
        """
        ...

    @abstractmethod
    def collect(self, polled: Polled) -> Iterable[BackendEvent | CapacityChanged]:
        """Return the events since the last call, in order; `polled` is what `poll` has returned.

        The engine carries out the commands that follow from an event before it takes the next
        event. So it may send a worker a chunk until the event `WorkerEnded` of the worker is
        returned.
        """
        ...

    @abstractmethod
    def wake(self) -> None:
        """Make `poll` return at once in the thread that waits there, or else at its next call."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether the backend has descriptors to close, besides those of its workers."""
        return False

    def close(self) -> None:
        """Free the descriptors and the memory that the backend has besides those of its workers.

        The next `start` opens the descriptors again. Only the thread that runs the engine's loop
        calls this method, because the descriptors on which `poll` waits must not be closed
        meanwhile.
        """

    def let_go(self) -> None:
        """Tell the workers that hold no chunk to end, because the caller's Python is ending."""
        return

    def is_left(self) -> bool:
        """Return whether any worker that `let_go` has told to end still runs."""
        return False

    @abstractmethod
    def end(self) -> None:
        """End all workers at once, without an event for any of them."""
        ...

    def after_fork_in_child(self) -> None:
        """Forget all workers, but do not end them.

        This process is a fork, and the workers belong to its parent.
        """
