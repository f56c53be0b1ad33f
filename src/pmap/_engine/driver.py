"""The loop: carries events and commands between the scheduler and a backend.

**Who runs it.** There is no thread that always runs. A blocking call *leads*: its own thread polls
the backend until its result is there, which saves two hand-overs between threads. When nobody leads
and there is work (asynchronous calls, or another caller's), a background thread leads, and parks
when there is none. One thread leads at a time; who finds another leading waits for its job's event,
and the leader that leaves looks for work left behind and calls the background thread.

**What guards the books.** All state below is touched under one lock. Requests (submit, cancel,
close) go into an inbox, which whoever holds the lock empties. A request made by a signal handler, a
finaliser or a pickling method in the very thread that holds the lock does not wait for it: it is
carried out a moment later, further up the stack, and is not a deadlock.

**Ctrl-C.** A signal's exception may strike the main thread anywhere. In `poll`, where a leader
spends its time, it finds the books in order: the job is cancelled and the exception goes on. Within
the lock it may have torn them: then nothing of them is trusted, all workers are ended, all open
jobs fail with `InterruptedPoolError`, and the pool starts anew.
"""

import atexit
import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any

from .._backends.protocol import Backend, Finished, Gone, Happening, Ready
from .._calls.call import Call, Rules
from .._calls.input import Window
from .._errors import (
    CancelledError,
    InterruptedPoolError,
    PmapError,
    PoolClosedError,
    TaskTimeout,
    WorkerLost,
    WorkerStartError,
    is_ctrl_c,
)
from .._jobs.item_errors import readable_stack, tried, with_stack
from .._jobs.job import Job
from .._jobs.pending import waits_for_itself
from .._jobs.reports import Report, pass_on
from .._jobs.stream_job import Flow
from .._jobs.work import Brief, Work
from .._scheduling import commands as c
from .._scheduling import events as e
from .._scheduling import scheduler as s
from .._scheduling.chunk_sizes import worth_ahead
from .._transport.exceptions import describe
from .._transport.importable import code_version
from .._transport.payload import Payload
from .._transport.settings import waiting_threads

# Seconds for what was registered for the ends of all workers, when the interpreter ends.
_LAST_WAIT = 2.0
# Seconds without work after which the backend gives back what it keeps for the next call.
_WARM = 1.0

_NONE: frozenset[int] = frozenset()
# Seconds between two looks whether another thread has let the workers go.
_MOMENT = 0.005
_numbers = itertools.count(1)
_drivers: "weakref.WeakSet[Driver]" = weakref.WeakSet()
_exiting = False


def exiting() -> bool:
    """Return whether the interpreter is ending, so that no workers can be had any more."""
    return _exiting


class Driver:
    """A pool's books and the one who keeps them."""

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
        self._max_chunks = max_chunks
        self._idle_timeout = idle_timeout
        self._prefetch = prefetch
        self._scheduler = s.Scheduler(limit, max_chunks, backend.can_kill, prefetch)
        self._jobs: dict[int, Job] = {}
        self._over: deque[Job] = deque()  # jobs whose outcome is known but not told
        self._reports: deque[Report] = deque()  # what items printed and logged, not passed on yet
        self._closed = ""  # why no more work is taken
        self._taken_away = False
        self._alarm: float | None = None  # when the scheduler wants to be told of the time
        self._polls_until = -inf  # when the one who leads looks at the alarm again by itself
        self._torn: BaseException | None = None  # what struck in the middle of the books
        self._retiring = False
        self._softly = False  # workers that are to be killed may end by themselves
        self._gone: Gone | None = None  # the worker whose end is being taken in
        self._start_failure: Gone | None = None
        self._last_used = time.monotonic()
        self._brief: Brief | None = None  # the last one that the next call may share
        self._large: Payload | None = None  # the last that was large
        self._code: int | None = None  # the version of the caller's modules at its last call
        self._rules = Rules()  # of the last call, and what the scheduler is told of them
        self._terms = _terms(self._rules)
        self._carry_out = self._table()
        self._new_locks()
        _drivers.add(self)

    def _new_locks(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None
        # Held while reports are passed on: no result is told before what its item has printed is
        # out. Reentrant, as the caller's streams and handlers may do anything, also use this pool.
        self._reporting = threading.RLock()
        self._is_reporting = False  # while there are reports, or one is passed on
        self._inbox: deque[Callable[[], None]] = deque()
        # {0: the thread that leads} or empty. A dict and not a lock: setdefault both claims and
        # tells whose the claim is, so a signal's exception right behind it cannot lose the claim.
        self._leader: dict[int, int] = {}
        self._ended = threading.Event()
        self._parking = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._parked_until = inf  # when the background thread looks again by itself

    # --- what callers ask for ------------------------------------------------------------------

    def run(self, call: Call) -> Job:
        """Run `call` to its end and return its job, led by this thread if nobody leads."""
        job = self._enter(call)
        try:
            self._see_to(lambda: job.over, job.wait)
        except BaseException:  # Ctrl-C while it runs: what was asked for is not wanted any more
            self.cancel(job)
            raise
        if self._idle_timeout is not None and self._thread is None:
            self._call_background(work=False)
        return job

    def submit(self, call: Call) -> Job:
        """Start `call` and return its job at once."""
        job = self._enter(call)
        if not job.over:
            try:
                self._leave_work()
            except RuntimeError:  # no thread can be had: nobody hears what would come of it
                self._post(lambda: self._handle(e.JobCancelled(job.number, kill=True)))
                raise
        return job

    def open(self, call: Call, window: Window, *, ordered: bool, as_values: bool) -> Flow:
        """Return the job of a call whose input comes bit by bit into `window`, not yet started."""
        self.take_no_more()
        ahead = worth_ahead(self.limit, None, call.rules.chunksize, 0)
        flow = Flow(
            next(_numbers),
            call,
            window,
            self,
            ordered=ordered,
            as_values=as_values,
            ahead=ahead,
        )
        flow.resting = True
        self._pack(flow)
        return flow

    def begin(self, flow: Flow) -> None:
        """Start a job made by `open`."""
        self._post(lambda: self._submit(flow, open=True))

    def feed(self, flow: Flow, window: Window, items: list[object], ended: bool) -> None:
        """Add `items` to the input of a job that has begun; `ended`: they are the last."""
        number = flow.number

        def take_in() -> None:
            window.extend(items)
            flow.read += len(items)
            if items:
                self._handle(e.InputArrived(number, len(items)))
            if ended:
                self._handle(e.InputEnded(number))

        self._post(take_in)
        self._leave_work()

    def await_more(self, flow: Flow, start: int, timeout: float | None) -> None:
        """Return when a job has more results from `start` on, or is over, or the time is up."""
        if timeout is None and (self.backend.runs_in_poll or self._leads_here()):
            # The items run in the thread that leads: in that of the consumer, and only now. Or this
            # is a callback of the thread that leads, and nobody else would.
            self._see_to(lambda: flow.has(start), lambda: self._rely_on_others(flow, start, None))
        else:
            self._rely_on_others(flow, start, timeout)

    def _rely_on_others(self, flow: Flow, start: int, timeout: float | None) -> None:
        if timeout is None and self.holder_is_here() and not flow.has(start):
            raise waits_for_itself(flow.name)
        self.tend(flow)
        try:
            flow.wait_for(start, timeout)
        finally:
            flow.resting = True

    def await_end(self, job: Job) -> None:
        """Return when a job that was begun is over; at once where nobody could end it."""
        if job.number in self._jobs and not self.holder_is_here():
            self._see_to(lambda: job.over, job.wait)

    def lead_to(self, reached: Callable[[], bool]) -> None:
        """Return when `reached` if it is this thread that leads: nobody else would get there."""
        if self._leads_here():
            self._see_to(reached, None)

    def _leads_here(self) -> bool:
        """Whether this thread leads, as in a callback of it, and is not in the books."""
        return self._leader.get(0) == threading.get_ident() and not self.holder_is_here()

    def tend(self, flow: Flow) -> None:
        """See that somebody works on a job, also if its consumer does not lead."""
        flow.resting = False
        self._leave_work()  # only now: whoever has just left had not seen that we wait

    def prestart(self) -> None:
        """Start all workers now."""
        self._post(lambda: self._handle(e.Prestart()))

    def worker_pids(self) -> dict[int, int | None]:
        """Return the process ids of the workers there are, by their numbers; of threads None."""
        if not self._leader and self.backend.workers() and not self.holder_is_here():
            # One that is idle may have ended since, and nobody has looked.
            look = partial(self.backend.poll, 0.0)
            self._claim(threading.get_ident(), lambda: self._enter_books(look()))
        return self.backend.workers()

    def met_workers(self) -> dict[int, int | None]:
        """Return the same when the process ids are known of those that are being started."""
        backend = self.backend
        if backend.can_kill and not self.holder_is_here():
            self._see_to(
                lambda: self._ended.is_set() or None not in backend.workers().values(),
                lambda: self._ended.wait(_MOMENT),
            )
        return self.worker_pids()

    def end_worker(self, number: int) -> None:
        """End a worker, if it is there, whatever it does."""

        def end() -> None:
            if number in self.backend.workers():
                self.backend.kill(number)

        self._post(end)

    def calls(self) -> dict[int, Job]:
        """Return the calls that are under way, by their numbers."""
        return self._jobs.copy()

    def close(self) -> None:
        """Take no more work; let the workers go when what there is is done."""
        self._closed = self._closed or "it was closed"
        self._post(lambda: self._handle(e.Close()))
        self._after_the_end()

    def terminate(self) -> None:
        """End everything now. Where workers can be killed, returns when they are gone."""
        self._closed = self._closed or "it was terminated"
        self._post(lambda: self._handle(e.Terminate()))
        if self._softly:
            self._softly = False
            self._post(self._kill_all)
        if self.backend.can_kill and not self.holder_is_here():
            self.join()
        self._after_the_end()

    def end_workers(self, *, softly: bool) -> None:
        """End the workers now; what they run is lost with them, and all else is cancelled.

        Args:
            softly: by SIGTERM, upon which one may do something before it goes, or not go at once.
        """
        self._closed = self._closed or "its workers were ended"
        self._softly = softly
        self._post(lambda: self._handle(e.Terminate(lose=True)))
        self._post(self._kill_all)  # those that were ended before, and did not go
        self._after_the_end()

    def _kill_all(self) -> None:
        if self.backend.can_kill and not self._softly:
            for worker in self._scheduler.all_workers():
                self.backend.kill(worker)

    def join(self) -> None:
        """Wait until a closed or terminated pool is empty."""
        if not self._closed:
            raise ValueError("the pool is still running: call close() or terminate() before join()")
        if self.holder_is_here():
            raise waits_for_itself("the end of the pool")
        thread = self._thread
        self._see_to(self._ended.is_set, self._ended.wait)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _after_the_end(self) -> None:
        me = threading.get_ident()
        # In a callback or signal handler, inside of leading, nothing: that goes on and keeps the
        # claim, or another thread would poll besides and take in what this one waits for. It may be
        # in `poll` and needs what that polls: it tidies when it leads no more.
        if self._leader.get(0) != me and not self._claim(me, lambda: None):
            self.backend.wake()  # the leader may wait for what will not come any more
        self._leave_work()
        with self._parking:
            self._parking.notify()

    def retire(self) -> None:
        """Let idle workers go as if they had been idle for long; the pool can be used again."""
        self._retiring = True
        self._call_background(work=True)

    def renew(self) -> None:
        """Have all workers replaced: those at work when they are done with what they have begun."""
        self._post(lambda: self._handle(e.Renew()))
        self._leave_work()

    def let_go(self) -> None:
        """Let all workers go, and return when they are gone; at once where they have work."""
        self.renew()
        me = threading.get_ident()
        if self.busy or self._leader.get(0) == me:
            self.retire()  # when there is no more work
            return
        while not self._is_empty():
            if self._claim(me, self._lead_to_the_end):
                break
            self._ended.wait(_MOMENT)  # another thread leads, and will not for long
        with self._parking:
            self._parking.notify()  # the background thread has nothing to wait for any more

    def _lead_to_the_end(self) -> None:
        self._lead(lambda: not self._scheduler.workers or self._scheduler.busy)
        self._post(partial(self._tidy, True))

    def _is_empty(self) -> bool:
        return self.busy or not (self._scheduler.workers or self.backend.is_open)

    @property
    def busy(self) -> bool:
        """Whether there is work under way."""
        return bool(self._jobs)

    @property
    def workers(self) -> int:
        """How many worker processes there are, or are about to start; 0 where there are none."""
        return self._scheduler.workers if self.backend.can_kill else 0

    @property
    def last_used(self) -> float:
        """When a call ended last, by the monotonic clock."""
        return self._last_used

    @property
    def closed(self) -> str:
        """Why no more work is taken, or nothing."""
        return self._closed

    def holder_is_here(self) -> bool:
        """Whether this very thread is inside the books, as a pickling method called from there."""
        return self._holder == threading.get_ident()

    @property
    def taken_away(self) -> bool:
        """Whether its owner has it no more: the interpreter is ending, or this is a fork."""
        return self._taken_away

    def take_no_more(self) -> None:
        """Raise `PoolClosedError` if the pool is closed."""
        if self._closed:
            raise PoolClosedError(f"the pool takes no more work: {self._closed}")

    def _enter(self, call: Call) -> Job:
        self.take_no_more()
        job = Job(next(_numbers), call, self)
        if not call.items or self._pack(job):
            self._inbox.append(lambda: self._submit(job))
            self._enter_books()
        return job

    def _pack(self, job: Job) -> bool:
        """Make a job's function ready to travel; return whether it is, else the job is over."""
        book = self.backend.book
        if book is not None:
            if self.backend.is_robbed():
                self._post(lambda: None)  # or it would refer to what can be sent no more
            self._notice_new_code()
            try:
                brief = job.pack(self._brief, self._large, book)
                payload = brief.payload
                if self.backend.is_outdated(brief):
                    self.renew()
                if payload.segment is not None:
                    self._large = payload
            except BaseException as error:  # whatever the function's own pickling does
                if is_ctrl_c(error):
                    raise
                job.error = _unsent_function(job, error)
                job.settle()
        return not job.over

    def _notice_new_code(self) -> None:
        """Have workers replaced that may have imported a module which was loaded again since."""
        version = code_version()
        if version != self._code:
            before, self._code = self._code, version
            if before is not None:
                self.renew()

    def _submit(self, job: Job, open: bool = False) -> None:
        if self._closed:
            job.error = PoolClosedError(f"the pool takes no more work: {self._closed}")
            self._over.append(job)
            return
        self._jobs[job.number] = job
        self._brief_for(job)
        rules, size = job.call.rules, job.total
        if rules is not self._rules:
            self._rules, self._terms = rules, _terms(rules)
        like = job.brief.like if size == 1 and not open and job.brief is not None else None
        self._handle(e.JobSubmitted(job.number, size, self._terms, open, like))

    def cancel(self, job: Job) -> None:
        """Ask for the end of a job."""
        cancelled = e.JobCancelled(job.number, job.call.rules.kill)
        self._post(lambda: self._handle(cancelled))
        if not job.over:
            self._leave_work()

    def withdraw(self, job: Job) -> bool:
        """Cancel a job if nothing of it has begun; return whether it is cancelled."""
        withdrawn = e.JobWithdrawn(job.number)
        self._have_done(job, lambda: self._handle(withdrawn))
        return isinstance(job.error, CancelledError)

    def withdraw_all(self) -> None:
        """Cancel all jobs of which nothing has begun, but those that workers are started for."""

        def withdraw() -> None:
            unsent = [number for number in self._jobs if not self._scheduler.where(number)]
            spared = {*unsent[: self._scheduler.starting]}
            for number in reversed([*self._jobs]):  # or those behind it would begin meanwhile
                if number not in spared:
                    self._handle(e.JobWithdrawn(number))

        self._post(withdraw)

    def has_begun(self, job: Job) -> bool:
        """Return whether anything of a job runs, or has run."""
        begun = False

        def look() -> None:
            nonlocal begun
            begun = any(place < self.backend.begun(w) for w, place in self._scheduler.where(number))

        number = job.number
        self._have_done(job, look)
        return begun or job.over

    def _have_done(self, job: Job, request: Callable[[], None]) -> None:
        """Return when something about a job was done in the books, or the job is over.

        At once, and with nothing done, where this very thread is inside the books.
        """
        if self.holder_is_here():
            return
        done = False

        def do() -> None:
            nonlocal done
            try:
                request()
            finally:
                done = True

        self._post(do)
        # Another thread may have taken it from the inbox, and be just about to do it. If an
        # exception strikes there, the books are torn, and the job ends by that.
        while not (done or job.over):
            time.sleep(_MOMENT)

    # --- the books -----------------------------------------------------------------------------

    def _post(self, request: Callable[[], None]) -> None:
        if self.backend.is_robbed():
            # Before anything is written to a descriptor, or closed, that may be another's by now.
            self._torn = self._torn or OSError("the program closed the descriptors of the pool")
        self._inbox.append(request)
        self._enter_books()

    def _enter_books(self, polled: object = None) -> None:
        """Take in what was polled, do what is in the inbox, then tell what came of it."""
        me = threading.get_ident()
        if self._holder == me:
            return  # whoever holds the lock further up this stack looks at the inbox again
        while polled is not None or self._inbox:
            # A `with`, and nothing between it and the next line that could run a signal's handler:
            # the lock is never held without its holder being known.
            with self._lock:
                self._holder = me
                try:
                    self._keep(polled)
                except BaseException as error:
                    self._torn = error
                    raise
                finally:
                    self._holder = None
            polled = None
        if self._over or self._reports:
            self._tell()

    def _keep(self, polled: object) -> None:
        if self._torn is not None:
            self._start_anew(self._torn)
        if polled is not None:
            for happening in self.backend.collect(polled):
                self._take(happening)
        while self._inbox:
            self._inbox.popleft()()
        self.backend.flush()
        # Here, in the books: what it is computed from must not change meanwhile.
        self._alarm = self._scheduler.alarm
        if self._alarm is not None and self._alarm < self._polls_until:
            self.backend.wake()  # another thread leads, and would sleep beyond it

    def _tell(self) -> None:
        """Settle the jobs that are over: callbacks run here, outside the lock."""
        self.pass_on_reports()
        while self._over:
            try:
                job = self._over[0]
            except IndexError:
                break  # another thread told it
            job.settle()  # before it is taken off, so that no exception can lose it
            try:
                self._over.remove(job)
            except ValueError:
                pass
            if self._leader.get(0, threading.get_ident()) != threading.get_ident():
                self.backend.wake()  # the leader may have been waiting for just this

    def pass_on_reports(self) -> None:
        """Return when what was printed and logged so far is with the caller's streams and loggers.

        A thread that comes while another does so waits for it.
        """
        if not (self._reports or self._is_reporting):
            return  # as mostly
        with self._reporting:
            outer, self._is_reporting = self._is_reporting, True  # before one is taken off
            try:
                while self._reports:
                    pass_on(self._reports.popleft())
            finally:
                self._is_reporting = outer

    def _start_anew(self, torn: BaseException) -> None:
        self.backend.end()
        for job in self._jobs.values():
            job.error = InterruptedPoolError(
                f"{type(torn).__name__} struck in the middle of the pool's bookkeeping; all work "
                "under way on this pool was ended"
            )
            job.error.__cause__ = torn
            self._over.append(job)
        self._jobs.clear()
        self._brief = self._large = None
        self._scheduler = s.Scheduler(
            self.limit, self._max_chunks, self.backend.can_kill, self._prefetch
        )
        if self._closed:
            self._handle(e.Close())
        self._torn = None

    def _take(self, happening: Happening) -> None:
        if isinstance(happening, Finished):
            worker, work, start, values, failures, last, elapsed, worn, size = happening
            job = self._jobs.get(work.number)
            failed = tuple([start + offset for offset in failures]) if failures else ()
            count = len(values)
            event = e.ItemsFinished(worker, count, failed, elapsed, last, _NONE, worn, size)
            if job is not None and failures and work.call.rules.retries:
                self._handle_failures(event, job, start, values, failures)
            else:
                if job is not None:
                    job.fill(start, values, failures)
                self._handle(event)
            if isinstance(job, Flow):
                job.cost, job.ahead = self._scheduler.outlook(work.number)
        elif isinstance(happening, Report):
            self._reports.append(happening)
        elif isinstance(happening, Ready):
            self._handle(e.WorkerReady(*happening))
        else:
            self._gone = happening
            if happening.reason:
                self._start_failure = happening
            self._handle(e.WorkerGone(happening.worker, happening.begun, happening.hopeless))

    def _handle_failures(
        self,
        event: e.ItemsFinished,
        job: Job,
        start: int,
        values: list[Any],
        failures: Mapping[int, Exception],
    ) -> None:
        """Take in results of which some failed, and may be tried again."""
        retry_on = job.call.rules.retry_on
        may = [offset for offset, error in failures.items() if isinstance(error, retry_on)]
        event = event._replace(again=frozenset([start + offset for offset in may]))
        commands = self._scheduler.handle(event, time.monotonic())
        holes = sorted([one.item - start for one in commands if isinstance(one, c.RetryItem)])
        at = 0
        for hole in [*holes, len(values)]:
            part = {
                offset - at: tried(error, job.tries(start + offset))
                for offset, error in failures.items()
                if at <= offset < hole
            }
            if hole > at:
                job.fill(start + at, values[at:hole], part)
            at = hole + 1
        self._obey(commands)

    def _handle(self, event: e.Event) -> None:
        self._obey(self._scheduler.handle(event, time.monotonic()))

    def _obey(self, commands: list[c.Command]) -> None:
        for command in commands:
            self._carry_out[type(command)](*command)
        if self._closed and not self._scheduler.busy and not self._ended.is_set():
            self._ended.set()
            with self._parking:
                self._parking.notify_all()

    def _table(self) -> dict[type, Callable[..., None]]:
        """Return how each command is carried out."""
        return {
            c.SendChunk: self._send,
            c.StartWorker: self.backend.start,
            c.StopWorker: self.backend.stop,
            c.KillWorker: self._kill,
            c.Look: self._look,
            c.TakeBack: self._take_back,
            c.RetryItem: self._retry,
            c.VoidChunks: self._void,
            c.LoseItem: self._lose,
            c.FinishJob: self._finish,
            c.FailJob: self._fail,
        }

    def _send(self, worker: int, number: int, start: int, stop: int, together: int) -> None:
        self.backend.send(worker, self._jobs[number], start, stop, together)

    def _void(self, worker: int, number: int) -> None:
        self.backend.void(worker, self._jobs[number])

    def _kill(self, worker: int, gently: bool) -> None:
        if gently:
            self.backend.abort(worker)
        elif self._softly:
            self.backend.terminate(worker)
        else:
            self.backend.kill(worker)

    def _look(self, worker: int, limit: float) -> None:
        since, held = self.backend.look(worker, limit) or (None, False)
        self._handle(e.ItemRuns(worker, since, held))

    def _take_back(self, worker: int) -> None:
        self._handle(e.ChunksBack(worker, *self.backend.take_back(worker)))

    def _retry(self, number: int, index: int) -> None:
        self._jobs[number].try_again(index)

    def _lose(self, number: int, index: int, worker: int, overdue: bool) -> None:
        job = self._jobs[number]
        error = self._overdue(job, index) if overdue else self._lost(job, index)
        job.lose(index, tried(error, job.tries(index)))

    def _finish(self, number: int, failed: int | None) -> None:
        job = self._jobs.pop(number)
        if failed is not None and job.failures is not None:
            job.error = job.failures[failed]
        self._end_job(job)

    def _fail(self, number: int, cancelled: bool) -> None:
        job = self._jobs.pop(number)
        job.error = self._cancelled(job) if cancelled else self._unstarted()
        self._end_job(job)

    def _brief_for(self, work: Work) -> None:
        """Note that a call uses its brief, which the next one may share."""
        brief = work.brief
        if brief is not None:
            brief.calls += 1
            if brief.named and brief is not self._brief:
                last, self._brief = self._brief, brief
                if last is not None and not last.calls:
                    self.backend.drop(last)

    def _end_job(self, job: Job) -> None:
        self._over.append(job)
        brief = job.brief
        if brief is not None:
            brief.calls -= 1
            if not brief.calls and brief is not self._brief:
                self.backend.drop(brief)
        if not self._jobs:
            self.backend.rest()

    def _overdue(self, job: Job, index: int) -> Exception:
        item = job.item(index)
        stack = readable_stack(self._gone.stack if self._gone else "")
        error = TaskTimeout(
            limit=job.call.rules.timeout or 0.0,
            function=item.function,
            index=index,
            input=item.input,
            stack=stack,
        )
        return with_stack(error, stack)

    def _lost(self, job: Job, index: int) -> Exception:
        item = job.item(index)
        gone = self._gone
        error = WorkerLost(
            pid=(gone.pid if gone else None) or 0,
            exitcode=gone.exitcode if gone else None,
            begun=gone is None or gone.begun > 0,
            reason=gone.reason if gone and gone.begun else "",
            function=item.function,
            index=index,
            input=item.input,
        )
        return with_stack(error, readable_stack(gone.stack if gone else ""))

    def _cancelled(self, job: Job) -> Exception:
        why = "its pool was terminated" if self._closed else "it was cancelled"
        return CancelledError(
            f"{job.name} has no result: {why} after {job.done} of {job.total} items"
        )

    def _unstarted(self) -> Exception:
        failure = self._start_failure
        attempts = 1 if failure is not None and failure.hopeless else s.MAX_START_FAILURES
        error = WorkerStartError(attempts, failure.reason if failure else "not known")
        error.__cause__ = failure.cause if failure else None
        return error

    def _tidy(self, idle: bool = False) -> None:
        """Give back what only workers need, if no more are to come soon; for the one who leads.

        In the books, or another thread's call could start a worker between the look and the deed.
        """
        unused = not self._scheduler.workers and not self._scheduler.busy
        if unused and (idle or self._closed):
            self.backend.close()
            self._brief = self._large = None

    # --- leading -------------------------------------------------------------------------------

    def _see_to(self, reached: Callable[[], bool], wait: Callable[[], object] | None) -> None:
        """Return when `reached`: lead until then, or wait while another thread leads."""
        me = threading.get_ident()
        if self._leader.get(0) == me:  # a callback or signal handler of ours: lead within leading
            try:
                self._lead(reached)
            finally:
                # A handler's runs within `poll`, which goes on afterwards; and this may have taken
                # in what that was waiting for, or have let the alarm be set earlier.
                self.backend.wake()
        while not reached():
            if self._claim(me, lambda: self._lead(reached)) or wait is None:
                return
            wait()

    def _claim(self, me: int, lead: Callable[[], None]) -> bool:
        """Call `lead` as the one who leads, and stop leading; return False if another one does."""
        try:
            try:
                if self._leader.setdefault(0, me) != me:
                    return False
                lead()
                return True
            finally:
                self._stop_leading(me)
        finally:
            # A signal's exception may strike between the lines of that: who keeps a claim and leads
            # no more would let everybody wait for ever.
            if self._leader.get(0) == me:
                self._stop_leading(me)

    def _stop_leading(self, me: int) -> None:
        self._let_go(me)
        # Only now: who closes the pool while somebody leads leaves it to that one to tidy.
        if self._closed and self.backend.is_open:
            try:
                if self._leader.setdefault(0, me) == me:
                    self._post(self._tidy)
            finally:
                self._let_go(me)
        # Who came while we led waits for its event: somebody must lead on.
        self._leave_work()
        if self.backend.warm and self._parked_until > self._last_used + _WARM:
            self._call_background(work=False)  # it would not look in time
            if self._thread is None:  # it cannot be had: nobody would do it later
                self._post(partial(self._cool, 0.0))

    def _let_go(self, me: int) -> None:
        if self._leader.get(0) == me:
            self._leader.pop(0, None)  # it may be gone: a fork in between has a claim of its own

    def _lead(self, reached: Callable[[], bool]) -> None:
        if self._inbox or self._over:
            self._enter_books()
        while not reached():
            # In this order: who sets the alarm before we read it need not wake us, and who sets it
            # after that finds us waiting for longer, and does; a wake-up also ends the next poll.
            self._polls_until = inf
            alarm = self._alarm
            self._polls_until = inf if alarm is None else alarm
            wait = None if alarm is None else max(0.0, alarm - time.monotonic())
            polled = self.backend.poll(wait)
            self._polls_until = -inf
            self._enter_books(polled)
            if alarm is not None and alarm <= time.monotonic():
                self._post(lambda: self._handle(e.Tick()))
        self._last_used = time.monotonic()

    def _leave_work(self) -> None:
        """See that somebody leads if there is work."""
        # Whoever leads at this moment looks here again when it stops leading.
        if not self._leader and (self._inbox or self._wanting()):
            self._call_background(work=True)

    def _wanting(self) -> bool:
        """Return whether anything is under way that somebody is to see to."""
        if not self._scheduler.restless:
            return False
        if not self.backend.runs_in_poll:
            return True
        # Those of streams are run by whoever asks for them, and wait until then.
        return not self._jobs or any(not job.resting for job in list(self._jobs.values()))

    def _call_background(self, work: bool) -> None:
        with self._parking:
            self._wanted = self._wanted or work
            if self._thread is None:
                thread = threading.Thread(
                    target=_background, args=(self,), name="pmap-driver", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending, or has no threads left
                    if work:
                        raise
                else:
                    # Only now: `join` in another thread waits for it, and must find it started. It
                    # cannot have left again: for that it would need the lock that is held here.
                    self._thread = thread
            else:
                self._parking.notify()

    def park(self) -> bool:
        """Wait for work; return whether there is some. For the background thread."""
        with self._parking:
            while not self._wanted:
                if self._ended.is_set():
                    self._thread = None
                    return False
                left = None
                if self._idle_timeout is not None:
                    unused = not (self._scheduler.workers or self._scheduler.busy)
                    if unused and not self.backend.is_open:
                        self._thread = None  # nothing to wait for; the next call starts another
                        return False
                    left = self._left(self._idle_timeout)
                if self.backend.warm and not self._scheduler.busy:  # who ends the work says so
                    left = min(self._left(_WARM), inf if left is None else left)
                if left is not None and left <= 0:
                    return True
                self._parked_until = inf if left is None else time.monotonic() + left
                waiting_threads.append(self)
                try:
                    self._parking.wait(left)
                finally:
                    waiting_threads.remove(self)
                self._parked_until = inf
            self._wanted = False
            return True

    def _left(self, idle: float) -> float:
        """Return the seconds until the pool has been without work for `idle` seconds."""
        left = self._last_used + idle - time.monotonic()
        # Beyond it a caller leads a long call: look again later.
        return idle if left <= 0 and self._scheduler.busy else left

    def _cool(self, after: float) -> None:
        """Let the backend give back what it keeps, `after` seconds without work; in the books."""
        if not self._scheduler.busy and time.monotonic() - self._last_used >= after:
            self.backend.cool()

    def background(self) -> None:
        """Lead while there is work, then let idle workers go. For the background thread."""
        me = threading.get_ident()
        if self.backend.warm:
            self._post(partial(self._cool, _WARM))
        self._claim(me, self._work_on)

    def _work_on(self) -> None:
        idle = self._idle_for_too_long()
        self._lead(lambda: not self._inbox and not self._wanting())
        if idle:
            self._post(lambda: self._handle(e.Retire()))
            self._lead(lambda: not self._scheduler.workers or self._scheduler.busy)
            self._post(partial(self._tidy, idle))

    def lose_thread(self, error: BaseException) -> None:
        """Take in that the background thread ends by an error: nobody may wait for it."""
        with self._parking:
            self._thread = None
        # Also if the books are whole, as when the system refuses to let it poll: nobody else leads.
        self._torn = self._torn or error
        self._post(lambda: None)  # finds the books torn, and fails what is open

    def _idle_for_too_long(self) -> bool:
        if self._scheduler.busy:
            return False
        if self._retiring:
            self._retiring = False
            return True
        idle = time.monotonic() - self._last_used
        return self._idle_timeout is not None and idle >= self._idle_timeout

    # --- the end of the process, and forks ------------------------------------------------------

    def hold(self) -> bool:
        """Let no other thread into the books, if none is there; return whether that is so."""
        return self._lock.acquire(blocking=False)

    def let_loose(self) -> None:
        """Undo `hold`."""
        self._lock.release()

    def end_at_exit(self) -> None:
        """End all workers, whatever is under way: the interpreter is about to end."""
        self._closed = "the interpreter is ending"
        self._taken_away = True
        # A daemon thread may be inside; it lets go soon, and if it does not, we go all the same.
        held = self._lock.acquire(timeout=1.0)
        if held and not self._leader:
            self._hear_the_last()
        self.backend.end()
        self._ended.set()
        if held:
            self._lock.release()
        for job in list(self._jobs.values()):
            job.error = CancelledError("it has no result: the interpreter is ending")
            job.settle()

    def _hear_the_last(self) -> None:
        """Pass on what items have printed and logged by now: nobody may have looked for a while."""
        try:
            if self.backend.is_open and not self.backend.runs_in_poll:
                for happening in self.backend.collect(self.backend.poll(0)):
                    if isinstance(happening, Report):
                        pass_on(happening)
        except Exception:  # the interpreter is ending: whatever the streams make of that
            pass

    def abandon(self) -> None:
        """Forget everything: this process is a fork of the one that the pool belongs to."""
        self.backend.abandon()
        self._closed = f"it belongs to the process {os.getppid()} that this one was forked from"
        self._taken_away = True
        jobs = list(self._jobs.values()) + list(self._over)
        self._jobs.clear()
        self._over.clear()
        self._new_locks()  # theirs may be held by threads that do not exist here
        self._scheduler = s.Scheduler(1)
        self._ended.set()
        for job in jobs:
            job.abandon(PoolClosedError(f"no result comes from this pool: {self._closed}"))


def _background(driver: Driver) -> None:
    try:
        while driver.park():
            driver.background()
    except BaseException as error:
        # When the interpreter ends, the backend is taken from under this daemon thread.
        if not _exiting:
            driver.lose_thread(error)
            raise


def _terms(rules: Rules) -> e.Terms:
    """Return what of a call's rules is the scheduler's business."""
    return e.Terms(
        rules.chunksize,
        rules.collect,
        rules.stop,
        rules.timeout,
        rules.retries,
        issubclass(WorkerLost, rules.retry_on),
        issubclass(TaskTimeout, rules.retry_on),
        rules.at_once,
    )


def _unsent_function(work: Work, error: BaseException) -> PmapError:
    from .._multiprocessing_errors import NotPicklableError
    from .._transport.by_value.blame import where_it_fails
    from .._transport.by_value.names import UnsentNameError

    why = error.why if isinstance(error, UnsentNameError) else error
    where = where_it_fails(work.call.function, work.function_name, why)
    wrapped = NotPicklableError(
        "function",
        "caller",
        f"it could not be pickled: {describe(why)}{where}",
        function=work.function_name,
        index=None,
        input="",
    )
    wrapped.__cause__ = why
    return wrapped


def _end_all() -> None:
    global _exiting
    _exiting = True
    drivers = list(_drivers)
    _let_go_in_order(drivers)
    for driver in drivers:
        driver.end_at_exit()


def _let_go_in_order(drivers: list[Driver]) -> None:
    """Let workers that have nothing to do go: what was registered for their ends runs."""
    # Where a daemon thread is in the books, and starts or ends workers, they are killed. While we
    # wait, none may come in.
    ours = [driver for driver in drivers if driver.hold()]
    try:
        for driver in ours:
            driver.backend.let_go()
        until = time.monotonic() + _LAST_WAIT
        for driver in ours:
            driver.backend.await_leave(until)
    finally:
        for driver in ours:
            driver.let_loose()


def _abandon_all() -> None:
    for driver in list(_drivers):
        driver.abandon()


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
