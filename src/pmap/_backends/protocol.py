"""The small protocol that the driver speaks with whatever runs the items."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeAlias, TypeVar

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


class Backend(ABC, Generic[Polled]):
    """Starts and stops workers, sends them chunks, tells what happened.

    What is not abstract is right for items that run in this very process.

    `can_kill`: workers can be ended at any moment. `runs_in_poll`: there are none, and items run
    in the thread that polls. `has_cache`: something is kept that `release_cache` would
    give back; any thread may ask.
    `sent_names`: what workers were told of the caller's names; None: they are in this very process.

    Only the driver calls it, under its lock, with a few exceptions: `check`, which whoever makes
    it calls first, `poll`, which only the thread that leads calls, and `wake`, `workers`,
    `identity`, `runs_here` and `finished_ahead`, which anyone may call at any time.
    """

    can_kill: bool = False
    runs_in_poll: bool = False
    has_cache: bool = False
    sent_names: SentNames | None = None

    @property
    def start_method(self) -> str | None:
        """How worker processes begin, if there are any."""
        return None

    def check(self) -> None:
        """Raise what makes it impossible to start a worker, if that is known beforehand."""

    @abstractmethod
    def start(self, worker: int) -> None:
        """Start a worker; `WorkerStarted` or `WorkerEnded` tells what came of it."""
        ...

    def workers(self) -> dict[int, int | None]:
        """Return the process ids of all workers, by their numbers.

        None: it has none of its own, or it is being started.
        """
        return {}

    def identity(self, worker: int) -> tuple[tuple[int, ...], str]:
        """Return what a worker's items find as the identity and the name of their process.

        Of a thread, or where it is not there, something of that kind.
        """
        return (worker + 1,), f"PoolWorker-{worker + 1}"

    def runs_here(self) -> bool:
        """Return whether this very thread is one of the workers."""
        return False

    def finished_ahead(self, number: int) -> int:
        """Return how many items of a call are finished and not told yet, as far as is known.

        It may be too few, and is never too many for those who first look how many were told: an
        item is told only after it counts no more here.
        """
        return 0

    @abstractmethod
    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        """Give a worker items `start` to `stop` - 1, behind what it has; never blocks.

        So many of them begin `step`; 0: all of them. See `reclaim`.
        """
        ...

    @abstractmethod
    def discard(self, worker: int, work: Work) -> None:
        """Tell a worker that what it holds of `work` and has not begun is not to be run."""
        ...

    def is_robbed(self) -> bool:
        """Return whether the program has closed what workers are reached by; anyone may ask."""
        return False

    def is_outdated(self, spec: CallSpec) -> bool:
        """Return whether workers lack what a call uses, and new ones would have it."""
        return False

    def renew(self) -> None:
        """Take in that all workers are replaced: new ones are to have nothing of the old code."""

    def drop(self, spec: CallSpec) -> None:
        """Let all workers forget a call spec that no call uses any more."""

    def on_idle(self) -> None:
        """Take in that there is no work; what would make the next start sooner may be kept."""

    def release_cache(self) -> None:
        """Give back what was kept: no work came for a while."""

    @abstractmethod
    def stop(self, worker: int) -> None:
        """Let a worker go that holds nothing."""
        ...

    @abstractmethod
    def kill(self, worker: int) -> None:
        """End a worker whatever it does; where that is impossible, after its present item."""
        ...

    def abort(self, worker: int) -> None:
        """End a worker as `kill` does; it may first say where it was, if it does so at once."""
        self.kill(worker)

    def terminate(self, worker: int) -> None:
        """Ask a worker to end at once, whatever it does; where that is impossible, as `kill`."""
        self.kill(worker)

    @abstractmethod
    def begun(self, worker: int) -> int:
        """Return how many of the chunks that a worker has it may have begun: the first ones."""
        ...

    def check_deadline(self, worker: int, limit: float) -> tuple[float, bool] | None:
        """Return since when a worker runs an item of its first chunk, and whether it is held.

        It is held, so that it begins no other one, if it runs that one for longer than `limit`
        seconds. None if it has not begun.
        """
        return None

    @abstractmethod
    def reclaim(self, worker: int) -> tuple[int, int | None]:
        """Take back what a worker has not begun; return what it keeps.

        How many chunks: the first ones, and all where nobody can tell which have begun; if there
        are several, all but the last are done. And how many items of the last of them, from its
        start on; None: all.
        """
        ...

    def flush(self) -> None:
        """Pass on what the commands since the last flush left to be sent."""

    @abstractmethod
    def poll(self, timeout: float | None) -> Polled:
        """Wait until something happens; return what `collect` needs to tell it."""
        ...

    @abstractmethod
    def collect(self, polled: Polled) -> Iterable[BackendEvent]:
        """Tell what happened, in order.

        The caller carries out its answer to each event before it asks for the next one: it may send
        a worker something until the event that says that the worker has ended.
        """
        ...

    @abstractmethod
    def wake(self) -> None:
        """Make the `poll` that is under way, or the next one, return at once."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether anything is held beside the workers that `close` would give back."""
        return False

    def close(self) -> None:
        """Give back what is held beside the workers; it is opened again when one is started.

        Only called where `poll` is: what a `poll` waits on must not be closed under it.
        """

    def let_go(self) -> None:
        """Tell workers that have nothing to do to go, since the interpreter ends."""
        return

    def is_left(self) -> bool:
        """Return whether one that was told to go is still there."""
        return False

    @abstractmethod
    def end(self) -> None:
        """End all workers at once, without telling what came of them."""
        ...

    def after_fork_in_child(self) -> None:
        """Forget everything without touching it: this process is a fork of the owner's."""
