"""The serial backend, without workers: items run one after the other in the calling thread.

The backend is for debugging, with real breakpoints and tracebacks, and for calls that an item of
another call makes.
"""

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from .._jobs.notifier import Notifier
from .._jobs.work import Work
from .._transport.process_role import inside_item
from .in_process import initialize, run_chunk
from .protocol import Backend, BackendEvent, ResultsArrived, WorkerEnded, WorkerStarted


class _Sent:
    """A chunk (items that are sent together) of the serial backend: it waits, runs or is done."""

    __slots__ = ("begun", "finished", "items", "start", "values", "work", "worker")

    def __init__(self, worker: int, work: Work, start: int, items: Sequence[object]) -> None:
        self.worker = worker
        self.work = work
        self.start = start
        self.items = items
        self.values: list[object] = []  # the results of the items that have ended
        self.begun = False
        self.finished: ResultsArrived | None = None

    @property
    def runs(self) -> bool:
        """Whether a caller of this code, further up in the stack, is running this chunk already."""
        return self.begun and self.finished is None and inside_item()


class SerialBackend(Backend[bool]):
    """Runs each chunk within `poll`, in the thread that runs the engine's loop.

    `poll` runs items without the lock of the engine's state, and stores the results in the chunk.
    `collect` reads the results under that lock. So no result is lost, even if Ctrl-C comes between
    the two.
    """

    runs_in_poll = True

    def __init__(
        self, initializer: Callable[..., object] | None, initargs: tuple[object, ...]
    ) -> None:
        self._initializer = initializer
        self._initargs = initargs
        self._chunks: deque[_Sent] = deque()
        self._notifier = Notifier()
        self._woken = False
        # The numbers of calls that ended while chunks of theirs were waiting: these chunks do not
        # run.
        self._forgotten: set[int] = set()
        # The numbers of workers that were killed: their chunks do not run.
        self._killed: set[int] = set()
        self._happened: list[BackendEvent] = []  # the events that `collect` has not returned yet

    def start(self, worker: int) -> None:
        failed = initialize(self._initializer, self._initargs)
        if failed is None:
            self._tell(WorkerStarted(worker, can_reclaim_chunks=False))
        else:
            self._tell(WorkerEnded(worker, begun=0, reason=failed[0], cause=failed[1]))

    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        self._chunks.append(_Sent(worker, work, start, work.call.items[start:stop]))
        self._notifier.notify()

    def discard(self, worker: int, work: Work) -> None:
        if self._chunks:
            self._forgotten.add(work.number)

    def stop(self, worker: int) -> None:
        self._tell(WorkerEnded(worker, begun=0))

    def kill(self, worker: int) -> None:
        self._killed.add(worker)
        self._tell(WorkerEnded(worker, begun=0))

    def _tell(self, event: BackendEvent) -> None:
        self._happened.append(event)
        self.wake()  # this wakes a thread that waits in `poll`, which then handles the event

    def finished_ahead(self, number: int) -> int:
        return sum([len(sent.values) for sent in [*self._chunks] if sent.work.number == number])

    def begun(self, worker: int) -> int:
        return sum([1 for sent in self._chunks if sent.begun])

    def poll(self, timeout: float | None) -> bool:
        self._notifier.wait(self._is_something, timeout)
        self._woken = False
        if self._chunks:
            sent = self._chunks[0]
            if not sent.begun and sent.worker not in self._killed:
                sent.begun = True
                sent.finished = self._run(sent)
        return True

    def _is_something(self) -> bool:
        waits = bool(self._chunks) and not self._chunks[0].runs
        return waits or self._woken or bool(self._happened)

    def _run(self, sent: _Sent) -> ResultsArrived:
        worker, work, start = sent.worker, sent.work, sent.start
        if not self._is_wanted(work):
            return ResultsArrived(worker, work, start, [], {}, True, 0.0)
        return run_chunk(
            worker, work, start, sent.items, lambda: self._is_wanted(work), sent.values
        )

    def _is_wanted(self, work: Work) -> bool:
        """Return whether the next item of a call still has to run.

        The thread that would notice the deadline of the call is busy with the items, so this method
        checks the deadline. When the deadline has passed, the other items wait until the engine
        notices that, too, and ends the call.
        """
        until = work.call.rules.until
        return work.number not in self._forgotten and (until is None or monotonic() < until)

    def collect(self, polled: bool) -> list[BackendEvent]:
        told, self._happened = self._happened, []
        while self._chunks:
            sent = self._chunks[0]
            if sent.runs:
                break
            # The worker counts as killed, and the engine has already got the last event of this
            # worker.
            if sent.worker not in self._killed:
                if sent.finished is not None:
                    told.append(sent.finished)
                elif sent.begun:
                    # Ctrl-C, or another exception that is no failure of an item, has interrupted
                    # the chunk. Nobody knows how far the chunk got, so all its items count as
                    # begun, and none runs again.
                    self._killed.add(sent.worker)
                    told.append(WorkerEnded(sent.worker, begun=len(sent.items)))
                else:
                    break
            self._chunks.popleft()
        if not self._chunks:
            self._forgotten.clear()
        return told

    def wake(self) -> None:
        self._woken = True
        self._notifier.notify()

    def end(self) -> None:
        self._chunks.clear()
        self._happened.clear()
        self._forgotten.clear()
        # new workers may get the same numbers, and were not killed
        self._killed.clear()
