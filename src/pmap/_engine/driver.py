"""The driver: the part of a pool's engine that takes calls and hands out their results.

The driver takes calls and returns jobs: a job is one call in progress. The module `state` has the
data of the calls and workers, and `leadership` decides which thread runs the loop. The loop takes
events from the backend to the scheduler, and carries out the scheduler's commands.

**Ctrl-C.** The exception of a signal may strike the main thread anywhere. The leader, which is the
thread that runs the engine's loop, spends most of its time waiting in `poll`. There the state is in
order: the call is cancelled and the exception goes on. If the exception strikes while the thread
holds the lock of the state, the state may be half changed: see the module `state`.
"""

import itertools
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from .._backends.protocol import Backend
from .._calls.call import Call
from .._calls.input import Window
from .._errors import CancelledError, PoolClosedError, is_ctrl_c
from .._jobs.job import Job
from .._jobs.pending import waits_for_itself
from .._jobs.stream_job import StreamJob
from .._scheduling import events as e
from .._scheduling.chunk_sizes import worth_ahead
from . import outcomes
from .kept_calls import begin_keeping, sort_in, submit_kept
from .leadership import Leadership
from .process_end import ProcessEnd, engines
from .shown_progress import watch_no_more, watch_progress
from .state import EngineState
from .worker_list import WorkerList

# Seconds between two checks of a thread that waits until another thread has carried out its
# request.
_MOMENT = 0.005
# A caller may give a function `watch` with a call. While another thread runs the engine's loop, the
# thread that waits for the call calls `watch` at this interval, in seconds.
_WATCH = 0.1
# If `watch` raises an exception, the call is cancelled. The thread then waits at most this many
# seconds until no item of the call runs any more.
_LAST = 5.0
# The numbers of jobs. Even without the GIL, `next` of a counter is one atomic step, so no two jobs
# get the same number. pmap's other counters rely on that, too.
_numbers = itertools.count(1)


class Driver:
    """The engine of one pool: takes calls from any number of threads, runs them on a backend."""

    def __init__(
        self,
        backend: Backend[Any],
        limit: int,
        max_chunks: int | None = None,
        idle_timeout: float | None = None,
        prefetch: bool = True,
    ) -> None:
        """Make the driver of a pool that has no workers yet.

        Args:
            backend: the backend that runs the items.
            limit: how many workers there may be.
            max_chunks: how many chunks a worker may run before it is replaced; None: no limit.
            idle_timeout: seconds after which idle workers are stopped; None: never.
            prefetch: whether chunks may be sent to workers ahead of need.
        """
        self.backend = backend
        self.limit = limit
        self._state = EngineState(backend, limit, max_chunks, prefetch)
        self._leadership = Leadership(self._state, idle_timeout, weakref.ref(self))
        self.process_end: ProcessEnd = ProcessEnd(self._state, self._leadership)
        self.worker_list: WorkerList = WorkerList(self._state, self._leadership)
        engines.add(self)

    # --- calls, and the end of the pool --------------------------------------------------------

    def run(self, call: Call, watch: Callable[[], object] | None = None) -> Job:
        """Run `call` to its end and return its job.

        Meanwhile this thread runs the engine's loop, unless another thread does.

        `watch` is called now and then until the call ends, each time that `Backend.poll` has
        returned. If `watch` raises an exception, the call is cancelled. This method raises the
        exception when nothing of the call runs any more.
        """
        job = self._enter(call)
        try:
            if call.progress is not False:
                watch_progress(job)
            if watch is None:
                self._leadership.run_until(lambda: job.over, job.wait)
            else:
                self._leadership.run_until(
                    lambda: job.over or bool(watch()), partial(job.wait, _WATCH)
                )
        except BaseException:  # the exception may be Ctrl-C: nobody wants the results any more
            self.cancel(job)
            if watch is not None:
                job.wait(_LAST)
            if call.progress is not False:
                watch_no_more(job)
            raise
        self._leadership.watch_idling()
        return job

    def submit(self, call: Call) -> Job:
        """Start `call` and return its job at once."""
        job = self._enter(call, may_wait=True)
        if not job.over:
            try:
                self._leadership.ensure_leader()
            except RuntimeError:
                # Without a thread for the engine's loop no result would come: cancel the job.
                self._state.post(lambda: self._state.handle(e.JobCancelled(job.number, kill=True)))
                raise
        if call.progress is not False:
            watch_progress(job)
        return job

    def open(self, call: Call, window: Window, *, ordered: bool, as_values: bool) -> StreamJob:
        """Return the job of a stream, not yet started; `window` gets its input bit by bit."""
        self.take_no_more()
        ahead = worth_ahead(self.limit, None, call.rules.chunksize, 0)
        stream_job = StreamJob(
            next(_numbers),
            call,
            window,
            self,
            ordered=ordered,
            as_values=as_values,
            ahead=ahead,
        )
        stream_job.resting = True
        self._pack(stream_job)
        return stream_job

    def begin(self, stream_job: StreamJob) -> None:
        """Start a job that `open` has returned."""
        if not stream_job.over:
            stream_job.keeping = begin_keeping(stream_job, self._state)
        stream_job.submitted = True
        if stream_job.call.trace is not None:
            stream_job.when_over(stream_job.call.trace.finish)
        self._state.post(lambda: self._state.submit(stream_job, open=True))
        if stream_job.call.progress is not False:
            watch_progress(stream_job)

    def feed(self, stream_job: StreamJob, window: Window, items: list[object], ended: bool) -> None:
        """Add `items` to the input of a stream's job; if `ended` is true, no more items come."""
        number = stream_job.number
        keeping = stream_job.keeping
        given = None if keeping is None else keeping.sort(items)

        def take_in() -> None:
            window.extend(items)
            stream_job.read += len(items)
            stream_job.fail_unfinished()
            if ended:
                stream_job.expected = stream_job.read
            if given is not None:
                sort_in(self._state, stream_job, len(items), given)
            elif items:
                self._state.handle(e.InputArrived(number, len(items)))
            if ended:
                self._state.handle(e.InputEnded(number))

        self._state.post(take_in)
        self._leadership.ensure_leader()

    def await_more(self, stream_job: StreamJob, start: int, timeout: float | None) -> None:
        """Wait until a stream's job is over or has results from `start` on, or for `timeout`."""
        if timeout is None and (self.backend.runs_in_poll or self._leadership.is_mine()):
            # With the serial backend, items run in the thread that runs the engine's loop, and that
            # must be the thread that consumes the stream. A callback in the loop's thread may call
            # this method, too; no other thread could run the loop then. In both cases this thread
            # runs the loop, and otherwise it only waits.
            self._leadership.run_until(
                lambda: stream_job.has(start),
                lambda: self._wait_without_leading(stream_job, start, None),
            )
        else:
            self._wait_without_leading(stream_job, start, timeout)

    def _wait_without_leading(
        self, stream_job: StreamJob, start: int, timeout: float | None
    ) -> None:
        if timeout is None and self.holds_lock() and not stream_job.has(start):
            raise waits_for_itself(stream_job.name)
        self.ensure_leader(stream_job)
        try:
            stream_job.wait_for(start, timeout)
        finally:
            stream_job.resting = True

    def await_end(self, job: Job) -> None:
        """Wait until a submitted job is over.

        If this thread holds the engine's lock, return at once: the job could not end while this
        thread waits.
        """
        under_way = job.number in self._state.jobs or job.number in self._state.writing
        if under_way and not self.holds_lock():
            self._leadership.run_until(lambda: job.over, job.wait)

    def run_until(self, reached: Callable[[], bool]) -> None:
        """If this thread is the leader, run the engine's loop until `reached` returns true.

        The leader is the thread that runs the loop. If the leader waited for something (in a
        callback, say) without running the loop, nobody would do the work. A thread that is not the
        leader returns at once.
        """
        if self._leadership.is_mine():
            self._leadership.run_until(reached, None)

    def ensure_leader(self, stream_job: StreamJob) -> None:
        """Make sure that some thread runs the engine's loop while a stream's consumer waits."""
        stream_job.resting = False
        # Record first that a consumer waits. A thread that is just leaving the loop may not have
        # seen that; then the call below finds another thread for the loop.
        self._leadership.ensure_leader()

    def prestart(self) -> None:
        """Start all workers now."""
        self._state.post(lambda: self._state.handle(e.Prestart()))

    def calls(self) -> dict[int, Job]:
        """Return the calls in progress as jobs, by their numbers."""
        return self._state.jobs | {job.number: job for job in self._state.singles.asked.copy()}

    def close(self) -> None:
        """Take no more calls; stop the workers when all jobs are over."""
        self._state.closed = self._state.closed or "it was closed"
        self._state.post(lambda: self._state.handle(e.Close()))
        self._after_the_end()

    def terminate(self) -> None:
        """Cancel all jobs and end all workers now.

        Processes are killed: return when they are gone. Threads are not waited for.
        """
        self._state.closed = self._state.closed or "it was terminated"
        self._state.post(lambda: self._state.handle(e.Terminate()))
        if self._state.softly:
            self._state.softly = False
            self._state.post(self._state.kill_all)
        if self.backend.can_kill and not self.holds_lock():
            self.join()
        self._after_the_end()

    def end_workers(self, *, softly: bool) -> None:
        """End the workers now.

        Items that run are lost with their workers, and all other jobs are cancelled.

        Args:
            softly: whether workers get SIGTERM instead of SIGKILL. With SIGTERM, a handler of the
                worker may do something before the worker ends, or may keep the worker alive for
                some time.
        """
        self._state.closed = self._state.closed or "its workers were ended"
        self._state.softly = softly
        self._state.post(lambda: self._state.handle(e.Terminate(lose=True)))
        # An earlier call of this method may have sent SIGTERM only. Workers that have not ended
        # since then are killed now.
        self._state.post(self._state.kill_all)
        self._after_the_end()

    def join(self) -> None:
        """Wait until a closed or terminated pool has no jobs and no workers left."""
        if not self._state.closed:
            raise ValueError("the pool is still running: call close() or terminate() before join()")
        if self.holds_lock():
            raise waits_for_itself("the end of the pool")
        thread = self._leadership.thread
        self._leadership.run_until(self._state.ended.is_set, self._state.ended.wait)
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self.pass_on_reports()  # when `join` returns, all output of workers is written

    def _after_the_end(self) -> None:
        me = threading.get_ident()
        # A callback or a signal handler may call this method in the thread that runs the engine's
        # loop. Then that thread goes on with its loop afterwards, and closes the backend at the
        # end. A second loop here would take the events for which the first loop waits.
        if not self._state.leader.is_thread(me) and not self._leadership.claim(me, lambda: None):
            # Another thread in the engine's loop may wait for events that will not come: wake it.
            self.backend.wake()
        self._leadership.ensure_leader()
        with self._state.parking:
            self._state.parking.notify()

    def retire(self) -> None:
        """Stop all idle workers at once, as if they were idle for long; the pool stays usable."""
        self._leadership.retire()

    def renew(self) -> None:
        """Let each worker be replaced as soon as it has finished the items that it has begun."""
        self._state.post(self._state.renew)
        self._leadership.ensure_leader()

    def let_go(self) -> None:
        """Stop all workers, and return when they have ended.

        If a job is in progress, or if this thread is in the engine's loop, return at once: the idle
        workers are stopped when there is no more work.
        """
        self.renew()
        me = threading.get_ident()
        if self.busy or self._state.leader.is_thread(me):
            self.retire()
            return
        while not self._state.jobs and (self._state.scheduler.workers or self.backend.is_open):
            if self._leadership.claim(me, self._leadership.lead_until_no_workers):
                break
            # Another thread is in the engine's loop, and will soon leave it.
            self._state.ended.wait(_MOMENT)
        with self._state.parking:
            self._state.parking.notify()  # wakes the background thread, so that it ends

    @property
    def busy(self) -> bool:
        """Whether any job is in progress."""
        return bool(self._state.jobs)

    @property
    def workers(self) -> int:
        """How many worker processes run or are being started; 0 where items run in threads."""
        return self._state.scheduler.workers if self.backend.can_kill else 0

    @property
    def workers_at_work(self) -> int:
        """The number of workers that hold chunks, and so have work."""
        return self._state.scheduler.at_work

    @property
    def items_done(self) -> int:
        """The number of items that have been finished, counted over all calls."""
        return self._state.items_done

    @property
    def last_used(self) -> float:
        """The time at which a thread last left the engine's loop, by `time.monotonic`."""
        return self._leadership.last_used

    @property
    def closed(self) -> str:
        """The reason why the pool takes no more calls, as a text; empty if it takes calls."""
        return self._state.closed

    def holds_lock(self) -> bool:
        """Whether this thread holds the lock that guards the engine's state.

        A signal handler or a user's `__reduce__` may call pmap in a thread that holds the lock.
        """
        return self._state.holds_lock()

    def pass_on_reports(self) -> None:
        """Wait until the caller's streams and loggers have what items have printed and logged."""
        self._state.reports.pass_on()

    @property
    def taken_away(self) -> bool:
        """Whether the pool is unusable: the interpreter is ending, or this is a forked process."""
        return self.process_end.has_come

    def take_no_more(self) -> None:
        """Raise `PoolClosedError` if the pool is closed."""
        if self._state.closed:
            raise PoolClosedError(f"the pool takes no more work: {self._state.closed}")

    def _enter(self, call: Call, *, may_wait: bool = False) -> Job:
        self.take_no_more()
        job = Job(next(_numbers), call, self)
        if call.trace is not None:
            job.when_over(call.trace.finish)
        if call.keeper is not None and call.items:
            if self._pack(job):
                submit_kept(job, self._state)
            return job
        if not call.items or self._pack(job):
            state = self._state  # requests that came earlier are carried out before this one
            if may_wait and not state.inbox and state.singles.ask(job):
                if state.singles.full and state.poisoned is None:
                    return job
            else:
                state.inbox.append(partial(state.submit, job))
            state.enter()
        return job

    def _pack(self, job: Job) -> bool:
        """Pickle the function of a call; return whether that succeeded.

        If it fails, the call is over, with the error as its outcome.
        """
        sent_names = self.backend.sent_names
        if sent_names is not None:
            if self.backend.has_lost_descriptors():
                # If the program has closed descriptors of the pool, `post` resets the state. That
                # comes first: otherwise the call spec would refer to objects that the new workers
                # are not sent.
                self._state.post(lambda: None)
            if self._state.singles.specs.notice_new_code():
                # The program has loaded a module again: replace workers, which may have the old
                # one.
                self.renew()
            try:
                self._state.singles.specs.pack(job, sent_names)
            except BaseException as error:
                # Pickling the function runs the user's code, which may raise anything.
                self._refuse(job, error)
        elif self.backend.packs:
            try:
                self.backend.pack(job)
            except BaseException as error:
                self._refuse(job, error)
        return not job.over

    @staticmethod
    def _refuse(job: Job, error: BaseException) -> None:
        """End a call whose function cannot be pickled; `error` is what the pickling has raised."""
        if is_ctrl_c(error):
            raise error
        job.error = outcomes.unsent_function(job, error)
        job.settle()

    def cancel(self, job: Job) -> None:
        """Cancel a call; if another thread holds the engine's lock, that thread does it later."""
        kill = job.call.rules.kill
        self._state.post(lambda: self._state.handle(e.JobCancelled(job.number, kill)))
        if not job.over:
            self._leadership.ensure_leader()

    def finished_ahead(self, job: Job) -> int:
        """Return how many items of a job have ended whose results are not here: a lower bound."""
        return self.backend.finished_ahead(job.number)

    def withdraw(self, job: Job) -> bool:
        """Cancel a job if none of its items has begun; return whether the job is cancelled."""
        self._do_and_wait(job, lambda: self._state.handle(e.JobWithdrawn(job.number)))
        return isinstance(job.error, CancelledError)

    def withdraw_all(self) -> None:
        """Cancel all jobs of which no item has begun.

        The first jobs in the queue go on, as many as there are workers that are being started.
        """

        def withdraw() -> None:
            where = self._state.scheduler.where
            unsent = [number for number in self._state.jobs if not where(number)]
            spared = {*unsent[: self._state.scheduler.starting]}
            # The last job is cancelled first. Otherwise a cancelled job could free a worker, which
            # would begin one of the jobs that are to be cancelled.
            for number in reversed([*self._state.jobs]):
                if number not in spared:
                    self._state.handle(e.JobWithdrawn(number))

        self._state.post(withdraw)

    def has_begun(self, job: Job) -> bool:
        """Return whether a worker has begun a chunk of a job, or the job is over."""
        begun = False

        def check_deadline() -> None:
            nonlocal begun
            where = self._state.scheduler.where(number)
            begun = any(place < self.backend.begun(worker) for worker, place in where)

        number = job.number
        self._do_and_wait(job, check_deadline)
        return begun or job.over

    def _do_and_wait(self, job: Job, request: Callable[[], None]) -> None:
        """Ask for a change of a job; return when the change is made, or when the job is over.

        A thread that holds the engine's lock cannot wait for the change: then nothing is done.
        """
        if self.holds_lock():
            return
        done = False

        def do() -> None:
            nonlocal done
            try:
                request()
            finally:
                done = True

        self._state.post(do)
        # Another thread may have taken the request and not carried it out yet. If an exception
        # interrupts that thread, the engine is reset, which ends the job.
        while not (done or job.over):
            time.sleep(_MOMENT)
