"""The state of a pool's engine: its calls and workers, and the lock that guards the state.

All access to the state is under one lock. Requests of threads (submit, cancel, close) go into an
inbox, and the thread that holds the lock carries them out. A signal handler, a finaliser or a
user's `__reduce__` may make a request in the very thread that holds the lock. If it waited for the
lock, there would be a deadlock. So its request stays in the inbox, and the thread carries it out
when the handler has returned.

If the exception of a signal strikes within the lock, the state may be half changed and is called
poisoned. Then nothing in the state is trusted: all workers are ended, all open jobs fail with
`InterruptedPoolError`, and the pool starts anew with new workers.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from .._backends.capacity import CapacityChanged
from .._backends.protocol import (
    Backend,
    BackendEvent,
    CallsArrived,
    ResultsArrived,
    WorkerEnded,
    WorkerStarted,
)
from .._errors import InterruptedPoolError, PoolClosedError
from .._jobs.item_errors import tried
from .._jobs.job import Job
from .._jobs.reports import Report
from .._jobs.stream_job import StreamJob
from .._scheduling import commands as c
from .._scheduling import events as e
from .._scheduling import scheduler as s
from . import outcomes
from .call_deadlines import CallDeadlines
from .leader import Leader
from .report_queue import ReportQueue
from .single_calls import SingleCalls
from .worker_end import WorkerEnd

if TYPE_CHECKING:
    from .._trace.recording import Recording

_NONE: frozenset[int] = frozenset()


class EngineState:
    """The calls in progress, the scheduler, and the outcomes that callers are still to be told."""

    def __init__(
        self, backend: Backend[Any], limit: int, max_chunks: int | None, prefetch: bool
    ) -> None:
        """Make the state of a pool without workers; the arguments are those of `Driver`."""
        self.backend = backend
        self._new_scheduler = partial(s.Scheduler, limit, max_chunks, backend.can_kill, prefetch)
        self.scheduler: s.Scheduler = self._new_scheduler()
        self.jobs: dict[int, Job] = {}
        self._deadlines = CallDeadlines(self.jobs)
        # Jobs whose outcome is known, and whose last results are still being written to a
        # checkpoint (a file that keeps results).
        self.writing: dict[int, Job] = {}
        self.over: deque[Job] = deque()  # jobs whose outcome is known, but not yet told to callers
        # Reports are what items print and log. The caller gets a report before the results that
        # came after the report.
        self.reports: Final = ReportQueue()
        self.items_done: int = 0  # how many items are finished, counted over all calls
        self.closed = ""  # why the pool takes no more calls; empty if it takes calls
        # The time at which the scheduler wants the event `Tick`; None: it wants none.
        self.alarm: float | None = None
        # The time until which the leader (the thread in the engine's loop) waits without reading
        # the alarm again; -inf: the leader does not wait.
        self.polls_until: float = -inf
        # The exception that interrupted a thread with the lock: the state may be half changed.
        self.poisoned: BaseException | None = None
        # Whether workers are ended by SIGTERM, which a worker may handle, and not by SIGKILL.
        self.softly = False
        # The event that a worker has ended; it is None while no such event is handled.
        self._gone: WorkerEnded | None = None
        # For each worker, by its number: the object that will hold how the worker has ended. An
        # entry stays as long as any code refers to its object.
        self.ends: WeakValueDictionary[int, WorkerEnd] = WeakValueDictionary()
        self._start_failure: WorkerEnded | None = None
        self.singles: Final = SingleCalls(self.jobs, self.over, backend)
        # For each traced call in progress, by the number of its job: the recording of what its
        # workers do. Most of the time the dict is empty.
        self.traced: Final[dict[int, Recording]] = {}
        self.renew_locks()

    # The page docs/internals/loop.md says which data threads read without the lock, and why.
    def renew_locks(self) -> None:
        """Make new locks, with no leader: for a new pool, and in a forked process."""
        self.lock: threading.Lock = threading.Lock()
        self._holder: int | None = None
        self.reports.renew_lock()
        self.inbox: deque[Callable[[], None]] = deque()
        self.leader: Leader = Leader()
        # This event is set when the pool is closed, and no jobs and no workers are left.
        self.ended: threading.Event = threading.Event()
        # The background thread waits for work on this condition.
        self.parking: threading.Condition = threading.Condition()

    def holds_lock(self) -> bool:
        """Whether this thread holds the lock of the state.

        A signal handler or a user's `__reduce__` may call pmap in a thread that holds the lock.
        """
        return self._holder == threading.get_ident()

    # --- requests, events and outcomes ---------------------------------------------------------

    def post(self, request: Callable[[], None]) -> None:
        """Have a request carried out: by this thread, or by the thread that holds the lock now."""
        if self.backend.has_lost_descriptors():
            # The program has closed descriptors of the pool, and may use their numbers for files of
            # its own by now. So the state is reset before the pool uses these descriptors again.
            self.poisoned = self.poisoned or OSError(
                "the program closed the descriptors of the pool"
            )
        self.inbox.append(request)
        self.enter()

    def enter(self, polled: object = None) -> None:
        """Handle polled events and the requests in the inbox, then tell callers the outcomes."""
        me = threading.get_ident()
        if self._holder == me:
            # In this thread an outer call of `enter` holds the lock, and runs this one. The outer
            # call carries out all requests before it returns.
            return
        singles = self.singles
        # `full` may be wrong in an engine that has to be reset, and no event may ever come.
        while (
            polled is not None
            or self.inbox
            or (singles.asked and (not singles.full or self.poisoned is not None))
        ):
            # No signal handler runs between the `with` and the next line, so `_holder` is right as
            # long as this thread holds the lock.
            with self.lock:
                self._holder = me
                try:
                    self._keep(polled)
                except BaseException as error:
                    self.poisoned = error
                    raise
                finally:
                    self._holder = None
            polled = None
        if self.over or self.reports.waiting:
            self._tell()

    def _keep(self, polled: object) -> None:
        if self.poisoned is not None:
            self._start_anew(self.poisoned)
        if self.singles.asked:
            self._submit_asked()
        if polled is not None:
            for event in self.backend.collect(polled):
                self._take(event)
        while self.inbox:
            # Earlier requests, such as one to close the pool, are carried out before this one.
            if self.singles.asked:
                self._submit_asked()
            self.inbox.popleft()()
        self.singles.full = self.scheduler.is_full
        # A thread that submits a job stores the job, and then reads `full`. This thread writes
        # `full`, and then reads the jobs. So one of the two sees what the other has stored.
        while self.singles.asked and not self.singles.full:
            self._submit_asked()
            self.singles.full = self.scheduler.is_full
        self.backend.flush()
        # The alarm is computed while the lock is held, so that the scheduler cannot change
        # meanwhile.
        self.alarm = self._deadlines.next(self.scheduler.alarm)
        if self.alarm is not None and self.alarm < self.polls_until:
            # The thread in the engine's loop would wait longer than until the new alarm, so it is
            # woken.
            self.backend.wake()

    def _submit_asked(self) -> None:
        closed = self.closed if self.scheduler.closed else ""
        for event in self.singles.submitted(closed):
            self._renew_if_outdated(self.jobs[event.jobs[0]])
            self.handle(event)
        if closed:
            self._obey([])  # a closed pool ends now, if no job is left

    def _tell(self) -> None:
        """Hand out the outcomes of the jobs that are over; callbacks run here, without the lock."""
        self.reports.pass_on()
        while self.over:
            try:
                job = self.over[0]
            except IndexError:
                break  # no job is left: another thread has handed out the outcome of the last one
            # The job leaves the queue only after its outcome is handed out, so that no exception
            # can lose it.
            job.settle()
            try:
                self.over.remove(job)
            except ValueError:
                pass
            me = threading.get_ident()
            if self.leader.get(0, me) != me:
                # The leader (the thread in the engine's loop) may be waiting for this job: wake it.
                self.backend.wake()

    def _start_anew(self, poison: BaseException) -> None:
        self.backend.end()
        for job in self.jobs.values():
            job.error = InterruptedPoolError(
                f"{type(poison).__name__} struck in the middle of the pool's bookkeeping; all work "
                "under way on this pool was ended"
            )
            job.error.__cause__ = poison
            self._hand_over(job)
        self.jobs.clear()
        self._deadlines.forget()
        self.traced.clear()
        self.singles.specs.forget()
        self.scheduler = self._new_scheduler()
        if self.closed:
            self.handle(e.Close())
        self.poisoned = None

    def _take(self, event: BackendEvent | CapacityChanged) -> None:
        if not isinstance(event, ResultsArrived):
            self._take_other(event)
            return
        worker, work, start, values, failures, last, elapsed, replace, size, times = event
        job = self.jobs.get(work.number)
        failed = tuple([start + offset for offset in failures]) if failures else ()
        count = len(values)
        self.items_done += count
        if job is not None and job.number in self.traced:
            note = self.traced[job.number].results
            note(worker, start, count, times, failed, job.tried, last)
        done = e.ItemsFinished(worker, count, failed, elapsed, last, _NONE, replace, size)
        if job is not None and failures and work.call.rules.retries:
            self._handle_failures(done, job, start, values, failures)
        else:
            if job is not None:
                if job.keeping is not None:
                    job.keep(start, values, failures)
                job.fill(start, values, failures)
            self.handle(done)
        if isinstance(job, StreamJob):
            job.cost, job.ahead = self.scheduler.cost_and_read_ahead(work.number)

    def _take_other(
        self, event: CallsArrived | Report | WorkerStarted | WorkerEnded | CapacityChanged
    ) -> None:
        if isinstance(event, CallsArrived):
            self.items_done += len(event.works)
            self.handle(self.singles.arrived(event))
        elif isinstance(event, Report):
            self.reports.add(event)
        elif isinstance(event, CapacityChanged):
            self.handle(e.CapacityChanged(*event))
        elif isinstance(event, WorkerStarted):
            for recording in self.traced.values():
                recording.ready(event.worker, self.backend.workers().get(event.worker))
            self.handle(e.WorkerReady(*event))
        else:
            self._gone = event
            if (end := self.ends.get(event.worker)) is not None:
                end.exitcode = event.exitcode
            if event.reason:
                self._start_failure = event
            if self.traced:
                self._trace_end(event)
            self.handle(e.WorkerGone(event.worker, event.begun, event.hopeless))

    def _trace_end(self, event: WorkerEnded) -> None:
        """Record in the traces of calls that a worker has ended, before the scheduler knows."""
        for number, recording in self.traced.items():
            runs = (event.worker, 0) in self.scheduler.where(number)
            recording.gone(event.worker, event.begun if runs else 0, self.jobs[number].tried)

    def _handle_failures(
        self,
        event: e.ItemsFinished,
        job: Job,
        start: int,
        values: list[Any],
        failures: Mapping[int, Exception],
    ) -> None:
        """Store the results of items of which some failed; find out which may be tried again."""
        retry_on = job.call.rules.retry_on
        may = [offset for offset, error in failures.items() if isinstance(error, retry_on)]
        event = event._replace(again=frozenset([start + offset for offset in may]))
        commands = self.scheduler.handle(event, time.monotonic())
        holes = sorted([one.item - start for one in commands if isinstance(one, c.RetryItem)])
        at = 0
        for hole in [*holes, len(values)]:
            part = {
                offset - at: tried(error, job.tries(start + offset))
                for offset, error in failures.items()
                if at <= offset < hole
            }
            if hole > at:
                job.keep(start + at, values[at:hole], part)
                job.fill(start + at, values[at:hole], part)
            at = hole + 1
        self._obey(commands)

    def renew(self) -> None:
        """Let all workers be replaced; the calling thread holds the lock."""
        self.singles.specs.share_no_more()
        self.backend.renew()
        self.handle(e.Renew())

    def _renew_if_outdated(self, job: Job) -> None:
        """Let all workers be replaced if they lack what this job needs, or have other rights."""
        if job.spec is not None and self.backend.is_outdated(job.spec):
            self.renew()

    def tick(self) -> None:
        """Cancel calls whose deadlines have come, and send `Tick`; this thread holds the lock."""
        for job in self._deadlines.pass_due(time.monotonic()):
            self.handle(e.JobCancelled(job.number, job.call.rules.kill))
        self.handle(e.Tick())

    def handle(self, event: e.Event) -> None:
        """Give the scheduler an event, and carry out its commands; this thread holds the lock."""
        self._obey(self.scheduler.handle(event, time.monotonic()))

    def _obey(self, commands: list[c.Command]) -> None:
        for command in commands:
            _CARRY_OUT[type(command)](self, *command)
        if not self.closed or self.writing or self.singles.asked:
            return
        if not (self.scheduler.busy or self.ended.is_set()):
            self.ended.set()
            with self.parking:
                self.parking.notify_all()

    @staticmethod
    def ways() -> "dict[type, Callable[..., None]]":
        """Return, for each type of command of the scheduler, the method that carries it out."""
        return {
            c.SendChunk: EngineState._send,
            c.StartWorker: EngineState._start,
            c.StopWorker: EngineState._stop,
            c.KillWorker: EngineState._kill,
            c.CheckDeadline: EngineState._check_deadline,
            c.ReclaimChunks: EngineState._reclaim,
            c.RetryItem: EngineState._retry,
            c.DiscardChunks: EngineState._discard,
            c.LoseItem: EngineState._lose,
            c.FinishJob: EngineState._finish,
            c.FinishCalls: EngineState._finish_calls,
            c.FailJob: EngineState._fail,
        }

    def _start(self, worker: int) -> None:
        for recording in self.traced.values():
            recording.starts(worker)
        self.backend.start(worker)

    def _stop(self, worker: int) -> None:
        self.backend.stop(worker)

    def _send(self, worker: int, number: int, start: int, stop: int, step: int) -> None:
        if number in self.traced:
            self.traced[number].sent(worker, start, stop)
        self.backend.send(worker, self.jobs[number], start, stop, step)

    def _discard(self, worker: int, number: int) -> None:
        self.backend.discard(worker, self.jobs[number])

    def _kill(self, worker: int, gently: bool) -> None:
        if gently:
            self.backend.abort(worker)
        elif self.softly:
            self.backend.terminate(worker)
        else:
            self.backend.kill(worker)

    def kill_all(self) -> None:
        """Kill all workers, unless they are to end by SIGTERM; this thread holds the lock."""
        if self.backend.can_kill and not self.softly:
            for worker in self.scheduler.all_workers():
                self.backend.kill(worker)

    def _check_deadline(self, worker: int, limit: float) -> None:
        since, held = self.backend.check_deadline(worker, limit) or (None, False)
        self.handle(e.ItemRuns(worker, since, held))

    def _reclaim(self, worker: int) -> None:
        self.handle(e.ChunksReclaimed(worker, *self.backend.reclaim(worker)))

    def _retry(self, number: int, index: int) -> None:
        self.jobs[number].try_again(index)

    def _lose(self, number: int, index: int, worker: int, overdue: bool) -> None:
        job = self.jobs[number]
        end = outcomes.overdue if overdue else outcomes.lost
        error = tried(end(job, index, self._gone), job.tries(index))
        job.keep(index, [None], {0: error})
        job.lose(index, error)

    def _finish(self, number: int, failed: int | None) -> None:
        job = self.jobs.pop(number)
        if failed is not None and job.failures is not None:
            job.error = job.failures[failed]
        self._end_job(job)

    def _finish_calls(self, numbers: list[int]) -> None:
        self.singles.finish(numbers)
        if not self.jobs:
            self.backend.on_idle()

    def _fail(self, number: int, cancelled: bool) -> None:
        job = self.jobs.pop(number)
        if cancelled and self._deadlines.take_passed(job):
            job.run_out_of_time(outcomes.late(job))
        elif cancelled:
            job.error = outcomes.cancelled(job, bool(self.closed))
        else:
            job.error = outcomes.unstarted(self._start_failure)
        self._end_job(job)

    def _end_job(self, job: Job) -> None:
        if job.number in self.traced:
            self.traced.pop(job.number).end(job.tried)
        self._hand_over(job)
        self.singles.specs.release(job)
        if not self.jobs:
            self.backend.on_idle()

    def _hand_over(self, job: Job) -> None:
        """Hand out the outcome of a job when the job's checkpoint, if any, has all its results."""
        keeping, job.keeping = job.keeping, None
        if keeping is None:
            self.over.append(job)
            return

        def hand_over() -> None:
            if self.writing.pop(job.number, None) is not None:
                self.over.append(job)
            self._obey([])  # a closed pool ends now, if no job is left

        def written(error: Exception | None) -> None:
            job.unkept = error
            self.post(hand_over)

        self.writing[job.number] = job
        keeping.end(written)

    def tidy(self, idle: bool = False) -> None:
        """Close the backend if the pool has no workers and no jobs, and will need none soon.

        Only the thread in the engine's loop calls this method, with the lock: otherwise another
        thread could start a worker between check and closing. `idle`: workers were idle for long.
        """
        unused = not self.scheduler.workers and not self.scheduler.busy
        if unused and (idle or self.closed):
            self.backend.close()
            self.singles.specs.forget()

    def _trace(self, job: Job, recording: "Recording") -> None:
        pids = self.backend.workers()
        recording.begin(self, {worker: pids.get(worker) for worker in self.scheduler.all_workers()})
        self.traced[job.number] = recording

    def submit(self, job: Job, open: bool = False) -> None:
        """Let a job begin; `open`: more input may come. The calling thread holds the lock."""
        if self.closed:
            job.error = PoolClosedError(f"the pool takes no more work: {self.closed}")
            self._hand_over(job)
            return
        until = job.call.rules.until
        # The deadline of the call has passed while the caller was reading the input, so the call
        # ends now.
        if until is not None and until <= time.monotonic():
            job.run_out_of_time(outcomes.late(job))
            self._hand_over(job)
            return
        self._renew_if_outdated(job)
        self.jobs[job.number] = job
        self._deadlines.add(job)
        if job.call.trace is not None:
            self._trace(job, job.call.trace)
        self.singles.specs.use(job)
        # A job with a checkpoint gets its items later, when it is known which of them have to run.
        size = job.total if job.keeping is None else 0
        key = None if open or job.spec is None else job.spec.key
        like, function = (key, None) if size == 1 else (None, key)
        self.handle(e.JobSubmitted(job.number, size, job.call.rules, open, like, function))


# This table is a global. As an attribute of the state, it would form a reference cycle with it, and
# the arguments of the initializer would stay in memory until the garbage collector runs.
_CARRY_OUT = EngineState.ways()
