"""The threads backend: its workers are threads of the caller's process.

The backend is for functions that wait, or that release the GIL. If this Python has no GIL, it is
for all functions.

A worker thread shares data with the thread that holds the engine's lock. These data have no lock of
pmap, so that workers do not wait for one another. That is right without the GIL, too, for these
reasons:

- `chunks` and `_happened` are queues with a lock of their own. An object that comes out of one is
  complete: the thread that put it in has written all of it before.
- `ending`, `left`, `running`: one thread stores an attribute, and another one loads either the old
  value or the new one.
- `forgotten` is changed under the engine's lock only, and a worker asks whether a number is in it;
  a set has a lock of its own.
- `item`: see the comment at `_Thread.item`. `holds` and `ends_asked` are used under the engine's
  lock only.
- The values of a chunk that runs are a list to which its worker appends, and of which others ask
  the length.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TypeAlias

from .._jobs.notifier import Notifier
from .._jobs.work import Work
from .in_process import initialize, run_chunk
from .protocol import Backend, BackendEvent, ResultsArrived, WorkerEnded, WorkerStarted

_Chunk: TypeAlias = tuple[Work, int, Sequence[object]]


def has_gil() -> bool:
    """Return whether only one thread at a time runs Python code."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class _Thread:
    """The state of one worker: its thread, the chunks it holds, and whether it is to end."""

    def __init__(self) -> None:
        self.chunks: SimpleQueue[_Chunk | None] = SimpleQueue()
        self.ending = False  # whether the thread has to end after its present item
        # Whether the worker counts as ended although its thread still runs an item, which is late.
        self.left = False
        # The time at which the present item began, if its call has a time limit. Whoever takes the
        # time out of the list decides how the item ends: the worker's thread, when the item is
        # done, or the method `abort`. `list.pop` gives the time to only one of them. The list is
        # empty between two items.
        self.item: list[float] = []
        self.thread: threading.Thread | None = None
        # The number of the call whose chunk runs, and the results of the chunk so far. None: no
        # chunk runs.
        self.running: tuple[int, list[object]] | None = None
        self.holds = 0  # how many chunks the worker was sent and has not finished
        # The numbers of jobs that ended while the worker held chunks: items of these jobs do not
        # run.
        self.forgotten: set[int] = set()
        self.number = 0  # the number of the job whose chunk runs, or ran last
        # How many times None was put into the queue of chunks. At a None the thread ends.
        self.ends_asked = 0

    def end_after_chunks(self) -> None:
        """Let the thread end when it has run the chunks that are in its queue now."""
        self.ends_asked += 1
        self.chunks.put(None)

    def is_wanted(self) -> bool:
        """Return whether the next item of the chunk is to run; the worker's thread calls this."""
        # Most often no call has ended, and then the number is not looked at. Without the GIL, all
        # threads that run items of a call would take turns to count references to it.
        return not self.ending and not (self.forgotten and self.number in self.forgotten)

    def waiting(self) -> int:
        """Return how many chunks are still in the queue; 0 if the thread has ended."""
        return max(0, self.chunks.qsize() - self.ends_asked)


class ThreadBackend(Backend[deque[BackendEvent]]):
    """Runs chunks in threads. A thread cannot be killed: `kill` ends it after its present item."""

    def __init__(
        self, initializer: Callable[..., object] | None, initargs: tuple[object, ...]
    ) -> None:
        self._initializer = initializer
        self._initargs = initargs
        self._threads: dict[int, _Thread] = {}
        # The events that `collect` has not returned yet. They are in a deque and not in a
        # `SimpleQueue`: if Ctrl-C came right after `SimpleQueue.get`, the event would be lost.
        self._happened: deque[BackendEvent] = deque()
        self._notifier = Notifier()
        self._woken = False

    def start(self, worker: int) -> None:
        state = self._threads[worker] = _Thread()
        # The thread is a daemon, so that an item that never ends does not keep the interpreter from
        # ending.
        thread = threading.Thread(
            target=self._serve, args=(worker, state), name=f"pmap-worker-{worker}", daemon=True
        )
        state.thread = thread
        try:
            thread.start()
        # RuntimeError means that the system starts no more threads, or that the interpreter is
        # ending.
        except RuntimeError as error:
            self._tell(self._happened, WorkerEnded(worker, begun=0, reason=str(error), cause=error))

    def workers(self) -> dict[int, int | None]:
        return dict.fromkeys(self._threads.copy())

    def runs_here(self) -> bool:
        me = threading.current_thread()
        return any(state.thread is me for state in self._threads.copy().values())

    def _tell(self, happened: deque[BackendEvent], event: BackendEvent) -> None:
        happened.append(event)
        self._notifier.notify()

    def _serve(self, worker: int, state: _Thread) -> None:
        happened = self._happened
        try:
            self._work(worker, state, partial(self._tell, happened))
        # Each exception becomes an event: if the thread ended without an event, the call would wait
        # for ever.
        except BaseException as error:
            cause = error if isinstance(error, Exception) else None
            self._tell(happened, WorkerEnded(worker, begun=1, reason=repr(error), cause=cause))

    def _work(self, worker: int, state: _Thread, tell: Callable[[BackendEvent], None]) -> None:
        failed = initialize(self._initializer, self._initargs)
        if failed is not None:
            tell(WorkerEnded(worker, begun=0, reason=failed[0], cause=failed[1]))
            return
        tell(WorkerStarted(worker, one_ahead=not has_gil()))
        while (chunk := state.chunks.get()) is not None and not state.ending:
            work, start, items = chunk
            if work.number in state.forgotten:
                tell(ResultsArrived(worker, work, start, [], {}, True, 0.0))
            else:
                state.number = work.number
                for finished in self._run(state, worker, work, start, items):
                    tell(finished)
                    # Without this deletion, the variable `finished` would keep the results alive
                    # until the next chunk comes.
                    del finished
            if state.left:
                return  # `abort` has already sent the event `WorkerEnded`
            # Without this deletion, these variables would keep the items alive until the next chunk
            # comes.
            del chunk, work, items
        tell(WorkerEnded(worker, begun=0))

    @staticmethod
    def _run(
        state: _Thread,
        worker: int,
        work: Work,
        start: int,
        items: Sequence[object],
    ) -> Iterator[ResultsArrived]:
        # `wanted` is asked after each item whether to go on, so that a chunk ends soon after its
        # call.
        wanted = state.is_wanted
        if work.call.rules.timeout is None and work.call.rules.until is None:
            values: list[object] = []
            state.running = work.number, values
            finished = run_chunk(worker, work, start, items, wanted, values)
            # The results are counted by `finished_ahead` until `running` is None. It is set to None
            # before the event with the results is added, so that no result is counted twice.
            state.running = None
            yield finished
            return
        # If the items or the call have a time limit, each result is reported before the next item
        # begins. The next item may be late. Then the worker is given up, and a result that was not
        # reported would be lost.
        begin = monotonic()
        for number, item in enumerate(items):
            present = state.item = [monotonic()]
            # `abort` sets `ending` before it reads `item`, and this thread reads `ending` after it
            # has set `item`. So at least one of them sees what the other has set, and no item
            # begins in a thread that was given up.
            if state.ending:
                _take(state, present)
                return
            finished = run_chunk(worker, work, start + number, [item], wanted, [])
            if not _take(state, present):
                return
            failed = bool(finished.failures) and not work.call.rules.collect
            last = failed or number + 1 == len(items) or not wanted()
            yield finished._replace(last=last, elapsed=monotonic() - begin)
            if last:
                return

    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        state = self._threads[worker]
        state.holds += 1
        state.chunks.put((work, start, work.call.items[start:stop]))

    def discard(self, worker: int, work: Work) -> None:
        if self._threads[worker].holds:
            self._threads[worker].forgotten.add(work.number)

    def stop(self, worker: int) -> None:
        self._threads[worker].end_after_chunks()

    def kill(self, worker: int) -> None:
        state = self._threads[worker]
        state.ending = True
        state.end_after_chunks()

    def abort(self, worker: int) -> None:
        """Give a worker up: its thread cannot be ended, but the worker counts as ended from now on.

        If the item is done at this very moment, the thread reports the result and ends by itself.
        """
        state = self._threads[worker]
        state.ending = True
        state.end_after_chunks()
        try:
            state.item.pop()
        except IndexError:  # the worker's thread was first: the item has ended in time
            return
        state.left = True
        self._tell(self._happened, WorkerEnded(worker, begun=1, stack=_stack_of(state.thread)))

    def finished_ahead(self, number: int) -> int:
        running = [state.running for state in [*self._threads.values()]]
        return sum([len(chunk[1]) for chunk in running if chunk is not None and chunk[0] == number])

    def begun(self, worker: int) -> int:
        state = self._threads[worker]
        return max(0, state.holds - state.waiting())

    def check_deadline(self, worker: int, limit: float) -> tuple[float, bool] | None:
        try:
            since = self._threads[worker].item[0]
        except IndexError:
            return None
        # If an item has run for too long, its thread is given up. The thread cannot be kept from
        # beginning another item before that, and then that item is lost, too.
        return since, monotonic() - since >= limit

    def reclaim(self, worker: int) -> tuple[int, int | None]:
        state = self._threads[worker]
        # The thread may take chunks from its queue at the same time. Each chunk goes to only one of
        # them: to the thread or to this loop.
        with suppress(Empty):
            while state.chunks.get_nowait() is not None:
                state.holds -= 1
        return state.holds, None

    def poll(self, timeout: float | None) -> deque[BackendEvent]:
        self._notifier.wait(self._is_something, timeout)
        self._woken = False
        return self._happened

    def _is_something(self) -> bool:
        return self._woken or bool(self._happened)

    def collect(self, polled: deque[BackendEvent]) -> list[BackendEvent]:
        told: list[BackendEvent] = []
        # If `polled` is not the present queue of events, all workers were ended since the poll, and
        # the events are dropped.
        while polled and polled is self._happened:
            event = polled.popleft()
            # The worker is unknown: it was given up before, and its thread has finished the chunk
            # after all. The event is dropped.
            state = self._threads.get(event.worker)
            if state is None:
                continue
            if isinstance(event, WorkerEnded):
                del self._threads[event.worker]
            elif isinstance(event, ResultsArrived) and event.last:
                state.holds -= 1
                if not state.holds:
                    state.forgotten.clear()
            told.append(event)
        return told

    def wake(self) -> None:
        self._woken = True
        self._notifier.notify()

    def end(self) -> None:
        for state in self._threads.values():
            state.ending = True
            state.end_after_chunks()
        self._threads.clear()
        # Old threads may still add events. These go to the old deque, which nobody reads any more.
        self._happened = deque()

    def after_fork_in_child(self) -> None:
        self._threads.clear()  # in a forked process, the threads of the parent do not exist


def _take(state: _Thread, present: list[float]) -> bool:
    """Claim the end of an item for its thread; return False if `abort` has claimed it before."""
    try:
        present.pop()
    except IndexError:
        state.left = True  # `abort`, in another thread, sets this attribute, too, but maybe later
        return False
    return True


def _stack_of(thread: threading.Thread | None) -> str:
    """Return the stack of a thread as text, in the format of the module `faulthandler`."""
    # Without the GIL the thread goes on while this code reads its frames. The frames may be freed
    # meanwhile, and Python would crash. So the stack is not read.
    if thread is None or not has_gil():
        return ""
    frame = sys._current_frames().get(thread.ident or 0)
    lines: list[str] = []
    while frame is not None:
        code = frame.f_code
        lines.append(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}')
        frame = frame.f_back
    return "\n".join(lines)
