"""A pool's engine, as its callers see it: calls come in, and their jobs go out.

`state` has what is known of the calls and workers, and `leadership` which thread carries events and
commands between the scheduler and the backend.

**Ctrl-C.** A signal's exception may strike the main thread anywhere. In `poll`, where a leader
spends its time, it finds the state in order: the job is cancelled and the exception goes on. Within
the lock it may have poisoned that: see `state`.
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
from .leadership import Leadership
from .process_end import ProcessEnd, engines
from .state import EngineState
from .worker_list import WorkerList

# Seconds between two looks whether another thread has done what this one waits for.
_MOMENT = 0.005
_numbers = itertools.count(1)


class Driver:
    """Runs calls on a backend, for any number of threads."""

    def __init__(
        self,
        backend: Backend[Any],
        limit: int,
        max_chunks: int | None = None,
        idle_timeout: float | None = None,
        prefetch: bool = True,
    ) -> None:
        """Make the driver of a pool without workers yet.

        Args:
            backend: what runs the items.
            limit: how many workers there may be.
            max_chunks: how many chunks a worker may run before it is replaced; None: no limit.
            idle_timeout: seconds after which idle workers are let go; None: never.
            prefetch: whether chunks may be sent to workers ahead of need.
        """
        self.backend = backend
        self.limit = limit
        self._state = EngineState(backend, limit, max_chunks, prefetch)
        self._leadership = Leadership(self._state, idle_timeout, weakref.ref(self))
        self.process_end: ProcessEnd = ProcessEnd(self._state, self._leadership)
        self.worker_list: WorkerList = WorkerList(self._state, self._leadership)
        engines.add(self)

    # --- what callers ask for ------------------------------------------------------------------

    def run(self, call: Call) -> Job:
        """Run `call` to its end and return its job; this thread leads if no other one does."""
        job = self._enter(call)
        try:
            if call.progress is not False:
                _watch(job)
            self._leadership.run_until(lambda: job.over, job.wait)
        except BaseException:  # Ctrl-C while it runs: what was asked for is not wanted any more
            self.cancel(job)
            if call.progress is not False:
                _watch_no_more(job)
            raise
        self._leadership.watch_idling()
        return job

    def submit(self, call: Call) -> Job:
        """Start `call` and return its job at once."""
        job = self._enter(call)
        if not job.over:
            try:
                self._leadership.ensure_leader()
            except RuntimeError:  # there is no thread to lead, so no result would ever come
                self._state.post(lambda: self._state.handle(e.JobCancelled(job.number, kill=True)))
                raise
        if call.progress is not False:
            _watch(job)
        return job

    def open(self, call: Call, window: Window, *, ordered: bool, as_values: bool) -> StreamJob:
        """Return the job of a call whose input comes bit by bit into `window`, not yet started."""
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
        """Start a job made by `open`."""
        stream_job.submitted = True
        self._state.post(lambda: self._state.submit(stream_job, open=True))
        if stream_job.call.progress is not False:
            _watch(stream_job)

    def feed(self, stream_job: StreamJob, window: Window, items: list[object], ended: bool) -> None:
        """Add `items` to the input of a job that has begun; `ended`: they are the last."""
        number = stream_job.number

        def take_in() -> None:
            window.extend(items)
            stream_job.read += len(items)
            if ended:
                stream_job.expected = stream_job.read
            if items:
                self._state.handle(e.InputArrived(number, len(items)))
            if ended:
                self._state.handle(e.InputEnded(number))

        self._state.post(take_in)
        self._leadership.ensure_leader()

    def await_more(self, stream_job: StreamJob, start: int, timeout: float | None) -> None:
        """Return when a job has more results from `start` on, or is over, or the time is up."""
        if timeout is None and (self.backend.runs_in_poll or self._leadership.is_mine()):
            # The items run in the thread that leads: it must be the consumer's. Or this is a
            # callback of the leader, and no other thread would lead.
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
        """Return when a submitted job is over; at once if this thread holds the state's lock."""
        if job.number in self._state.jobs and not self.holds_lock():
            self._leadership.run_until(lambda: job.over, job.wait)

    def run_until(self, reached: Callable[[], bool]) -> None:
        """Return when `reached` if this thread leads, as no other one would; else at once."""
        if self._leadership.is_mine():
            self._leadership.run_until(reached, None)

    def ensure_leader(self, stream_job: StreamJob) -> None:
        """See that a thread leads while the consumer of a job waits for results."""
        stream_job.resting = False
        # Only now: a leader that has just left did not see that the consumer waits.
        self._leadership.ensure_leader()

    def prestart(self) -> None:
        """Start all workers now."""
        self._state.post(lambda: self._state.handle(e.Prestart()))

    def calls(self) -> dict[int, Job]:
        """Return the calls that are under way, by their numbers."""
        return self._state.jobs.copy()

    def close(self) -> None:
        """Take no more work; let the workers go when what there is is done."""
        self._state.closed = self._state.closed or "it was closed"
        self._state.post(lambda: self._state.handle(e.Close()))
        self._after_the_end()

    def terminate(self) -> None:
        """End everything now. Where workers can be killed, returns when they are gone."""
        self._state.closed = self._state.closed or "it was terminated"
        self._state.post(lambda: self._state.handle(e.Terminate()))
        if self._state.softly:
            self._state.softly = False
            self._state.post(self._state.kill_all)
        if self.backend.can_kill and not self.holds_lock():
            self.join()
        self._after_the_end()

    def end_workers(self, *, softly: bool) -> None:
        """End the workers now; what they run is lost with them, and all else is cancelled.

        Args:
            softly: by SIGTERM, upon which one may do something before it goes, or not go at once.
        """
        self._state.closed = self._state.closed or "its workers were ended"
        self._state.softly = softly
        self._state.post(lambda: self._state.handle(e.Terminate(lose=True)))
        self._state.post(self._state.kill_all)  # those that were ended before, and did not go
        self._after_the_end()

    def join(self) -> None:
        """Wait until a closed or terminated pool is empty."""
        if not self._state.closed:
            raise ValueError("the pool is still running: call close() or terminate() before join()")
        if self.holds_lock():
            raise waits_for_itself("the end of the pool")
        thread = self._leadership.thread
        self._leadership.run_until(self._state.ended.is_set, self._state.ended.wait)
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self.pass_on_reports()  # what workers said last is out before this returns

    def _after_the_end(self) -> None:
        me = threading.get_ident()
        # If this thread leads already (this is a callback or a signal handler of it), it goes on to
        # lead, and tidies when it stops: a second leader would take in the events that it waits
        # for.
        if not self._state.leader.is_thread(me) and not self._leadership.claim(me, lambda: None):
            self.backend.wake()  # the leader may wait for what will not come any more
        self._leadership.ensure_leader()
        with self._state.parking:
            self._state.parking.notify()

    def retire(self) -> None:
        """Let idle workers go as if they had been idle for long; the pool can be used again."""
        self._leadership.retire()

    def renew(self) -> None:
        """Have all workers replaced: those at work when they are done with what they have begun."""
        self._state.post(self._state.renew)
        self._leadership.ensure_leader()

    def let_go(self) -> None:
        """Let all workers go, and return when they are gone; at once where they have work."""
        self.renew()
        me = threading.get_ident()
        if self.busy or self._state.leader.is_thread(me):
            self.retire()  # when there is no more work
            return
        while not self._state.jobs and (self._state.scheduler.workers or self.backend.is_open):
            if self._leadership.claim(me, self._leadership.lead_until_no_workers):
                break
            self._state.ended.wait(_MOMENT)  # another thread leads, and will not for long
        with self._state.parking:
            self._state.parking.notify()  # the background thread has nothing to wait for any more

    @property
    def busy(self) -> bool:
        """Whether there is work under way."""
        return bool(self._state.jobs)

    @property
    def workers(self) -> int:
        """How many worker processes there are, or are about to start; 0 where there are none."""
        return self._state.scheduler.workers if self.backend.can_kill else 0

    @property
    def workers_at_work(self) -> int:
        """How many workers have something to do."""
        return self._state.scheduler.at_work

    @property
    def items_done(self) -> int:
        """How many items' results have come so far."""
        return self._state.items_done

    @property
    def last_used(self) -> float:
        """When a call ended last, by the monotonic clock."""
        return self._leadership.last_used

    @property
    def closed(self) -> str:
        """Why no more work is taken, or nothing."""
        return self._state.closed

    def holds_lock(self) -> bool:
        """Whether this thread holds the state's lock, as a pickling method called from there."""
        return self._state.holds_lock()

    def pass_on_reports(self) -> None:
        """Return when what was printed and logged so far is with streams and loggers."""
        self._state.reports.pass_on()

    @property
    def taken_away(self) -> bool:
        """Whether its owner has it no more: the interpreter is ending, or this is a fork."""
        return self.process_end.has_come

    def take_no_more(self) -> None:
        """Raise `PoolClosedError` if the pool is closed."""
        if self._state.closed:
            raise PoolClosedError(f"the pool takes no more work: {self._state.closed}")

    def _enter(self, call: Call) -> Job:
        self.take_no_more()
        job = Job(next(_numbers), call, self)
        if not call.items or self._pack(job):
            self._state.inbox.append(partial(self._state.submit, job))
            self._state.enter()
        return job

    def _pack(self, job: Job) -> bool:
        """Make a job's function ready to travel; return whether it is, else the job is over."""
        sent_names = self.backend.sent_names
        if sent_names is not None:
            if self.backend.has_lost_descriptors():
                self._state.post(lambda: None)  # or it would refer to what can be sent no more
            if self._state.specs.notice_new_code():
                self.renew()  # a worker may have imported what was loaded again since
            try:
                if self.backend.is_outdated(self._state.specs.pack(job, sent_names)):
                    self.renew()
            except BaseException as error:  # whatever the function's own pickling does
                if is_ctrl_c(error):
                    raise
                job.error = outcomes.unsent_function(job, error)
                job.settle()
        return not job.over

    def cancel(self, job: Job) -> None:
        """Ask for the end of a job."""
        cancelled = e.JobCancelled(job.number, job.call.rules.kill)
        self._state.post(lambda: self._state.handle(cancelled))
        if not job.over:
            self._leadership.ensure_leader()

    def finished_ahead(self, job: Job) -> int:
        """Return how many items are finished whose results have not come yet, as far as known."""
        return self.backend.finished_ahead(job.number)

    def withdraw(self, job: Job) -> bool:
        """Cancel a job if nothing of it has begun; return whether it is cancelled."""
        withdrawn = e.JobWithdrawn(job.number)
        self._do_and_wait(job, lambda: self._state.handle(withdrawn))
        return isinstance(job.error, CancelledError)

    def withdraw_all(self) -> None:
        """Cancel all jobs of which nothing has begun, but those that workers are started for."""

        def withdraw() -> None:
            unsent = [
                number for number in self._state.jobs if not self._state.scheduler.where(number)
            ]
            spared = {*unsent[: self._state.scheduler.starting]}
            for number in reversed([*self._state.jobs]):  # or those behind it would begin meanwhile
                if number not in spared:
                    self._state.handle(e.JobWithdrawn(number))

        self._state.post(withdraw)

    def has_begun(self, job: Job) -> bool:
        """Return whether anything of a job runs, or has run."""
        begun = False

        def check_deadline() -> None:
            nonlocal begun
            begun = any(
                place < self.backend.begun(w) for w, place in self._state.scheduler.where(number)
            )

        number = job.number
        self._do_and_wait(job, check_deadline)
        return begun or job.over

    def _do_and_wait(self, job: Job, request: Callable[[], None]) -> None:
        """Carry out a request about a job, and return when it is done or the job is over.

        If this thread holds the lock, nothing is done, and it returns at once.
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
        # Another thread may have taken the request from the inbox and not be done with it. If an
        # exception strikes there, the state is poisoned, and that ends the job.
        while not (done or job.over):
            time.sleep(_MOMENT)


# The module of progress is imported only for calls that ask for it.


def _watch(job: Job) -> None:
    """Show how far a call is from now on."""
    from .._jobs.progress import watch

    watch(job)


def _watch_no_more(job: Job) -> None:
    """Show it no more, also if the call has not ended yet."""
    from .._jobs.progress import watch_no_more

    watch_no_more(job)
