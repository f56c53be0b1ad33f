"""Which thread leads: runs the loop between the scheduler and a backend, one thread at a time.

No thread of pmap runs all the time. A blocking call *leads*: the calling thread polls the backend
until the result of the call is there, which saves two hand-overs between threads. When no thread
leads and there is work (asynchronous calls, or calls of other threads), a background thread leads;
when there is no work, the background thread waits. A thread that finds another thread leading waits
for the event of its job. A thread that ceases to lead checks whether work is left, and wakes the
background thread if there is.

The pattern is known as leader/followers (Schmidt, O'Ryan, Kircher, Pyarali: Leader/Followers, PLoP
2000).
"""

import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf

from .._scheduling import events as e
from .._transport.settings import waiting_threads
from .state import EngineState

# Seconds without work after which the backend frees the memory that it keeps for the next call.
_WARM = 1.0


class Leadership:
    """Lets one thread at a time lead, and makes sure that a thread leads while there is work."""

    def __init__(
        self, state: EngineState, idle_timeout: float | None, owner: "weakref.ref[object]"
    ) -> None:
        """Begin without a leader.

        Args:
            state: the state of the pool, which the leader works on.
            idle_timeout: seconds after which idle workers are stopped; None: never.
            owner: the driver. The background thread keeps the driver alive, so that the module
                `process_end` finds the driver when the interpreter ends.
        """
        self._state = state
        self._owner = owner
        self._backend = state.backend
        self._idle_timeout = idle_timeout
        self.last_used: float = time.monotonic()  # when a thread ceased to lead
        self._retiring = False
        self.renew_locks()

    def renew_locks(self) -> None:
        """Begin without a background thread; also in a fork, where the thread does not exist."""
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._parked_until = inf  # when the waiting background thread wakes by itself

    @property
    def thread(self) -> threading.Thread | None:
        """The background thread; None while there is none."""
        return self._thread

    def is_mine(self) -> bool:
        """Whether this thread leads and does not hold the lock of the state.

        That is so in a callback that the leader calls.
        """
        state = self._state
        return state.leader.is_thread(threading.get_ident()) and not state.holds_lock()

    def retire(self) -> None:
        """Stop idle workers as if they had been idle for long."""
        self._retiring = True
        self.call_background(work=True)

    def watch_idling(self) -> None:
        """After a call that this thread led, let the background thread stop idle workers later."""
        if self._idle_timeout is not None and self._thread is None:
            self.call_background(work=False)

    def run_until(self, reached: Callable[[], bool], wait: Callable[[], object] | None) -> None:
        """Return when `reached` returns true.

        Until then this thread runs the engine's loop, or waits while another thread runs it.
        """
        me = threading.get_ident()
        if self._state.leader.is_thread(me):
            # This is a callback or a signal handler in the thread that leads: the loop runs within
            # the loop.
            try:
                self.lead(reached)
            finally:
                # A signal handler may run within a `poll` of the outer loop, which goes on after
                # the handler. By then the inner loop may have taken in the events that the outer
                # `poll` waits for, or may have set an earlier alarm.
                self._backend.wake()
        while not reached():
            if self.claim(me, partial(self.lead, reached)) or wait is None:
                return
            wait()

    def claim(self, me: int, lead: Callable[[], None]) -> bool:
        """Call `lead` as the leader, then stop leading; return False if another thread leads."""
        try:
            try:
                if not self._state.leader.claim(me):
                    return False
                lead()
                return True
            finally:
                self._stop_leading(me)
        finally:
            # The exception of a signal may strike within `_stop_leading`. If this thread kept its
            # claim to lead and led no more, all other threads would wait for ever.
            if self._state.leader.is_thread(me):
                self._stop_leading(me)

    def _stop_leading(self, me: int) -> None:
        self._state.leader.release(me)
        # After the claim is released: a thread that closed the pool while this thread led has left
        # the closing of the backend to this thread.
        if self._state.closed and self._backend.is_open:
            try:
                if self._state.leader.claim(me):
                    self._state.post(self._state.tidy)
            finally:
                self._state.leader.release(me)
        # A thread that came while this thread led waits for the event of its job: so another thread
        # must lead now.
        self.ensure_leader()
        if self._backend.has_cache and self._parked_until > self.last_used + _WARM:
            # The background thread would not wake in time to free the backend's cache.
            self.call_background(work=False)
            # If no background thread could be started, the cache is freed now.
            if self._thread is None:
                self._state.post(partial(self._cool, 0.0))

    def lead(self, reached: Callable[[], bool]) -> None:
        """Poll the backend and handle its events until `reached`; only the leader calls this."""
        state = self._state
        if state.inbox or state.over:
            state.enter()
        while not reached():
            # `polls_until` is set before the alarm is read. A thread that sets an earlier alarm
            # before it is read here need not wake this thread. A thread that sets an earlier alarm
            # later sees in `polls_until` that this thread waits for longer, and wakes it; a wake-up
            # that comes before the poll ends the poll at once.
            state.polls_until = inf
            alarm = state.alarm
            state.polls_until = inf if alarm is None else alarm
            wait = None if alarm is None else max(0.0, alarm - time.monotonic())
            polled = self._backend.poll(wait)
            state.polls_until = -inf
            state.enter(polled)
            if alarm is not None and alarm <= time.monotonic():
                state.post(state.tick)
        self.last_used = time.monotonic()

    def ensure_leader(self) -> None:
        """Make sure that a thread leads if there is work."""
        # A thread that leads at this moment calls this method itself when it ceases to lead.
        if not self._state.leader and (self._state.inbox or self._wanting()):
            self.call_background(work=True)

    def _wanting(self) -> bool:
        """Return whether any event is awaited for which a thread has to lead."""
        if not self._state.scheduler.awaits_events:
            return False
        if not self._backend.runs_in_poll:
            return True
        # The items of a stream run in the consumer's thread, and wait until the consumer asks for
        # results.
        jobs = list(self._state.jobs.values())
        return not jobs or any(not job.resting for job in jobs)

    def call_background(self, work: bool) -> None:
        """Wake the background thread, or start one; `work`: the background thread has to lead.

        Raises:
            RuntimeError: there is work, and no thread can be started.
        """
        with self._state.parking:
            self._wanted = self._wanted or work
            if self._thread is None:
                thread = threading.Thread(
                    target=_background, args=(self, self._owner()), name="pmap-driver", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending, or has no threads left
                    if work:
                        raise
                else:
                    # The attribute is set after the start of the thread: `join` in another thread
                    # waits for the background thread, and must find it started. The background
                    # thread cannot have ended already: to end, it needs the lock `parking`, which
                    # this thread holds.
                    self._thread = thread
                    waiting_threads.append(self)
            else:
                self._state.parking.notify()

    def park(self) -> bool:
        """Wait for work; return whether there is work. Only the background thread calls this."""
        with self._state.parking:
            try:
                return self._park()
            finally:
                # If Ctrl-C has struck when the thread was started, `self` was never added.
                with suppress(ValueError):
                    waiting_threads.remove(self)

    def _park(self) -> bool:
        while not self._wanted:
            if self._state.ended.is_set():
                self._thread = None
                return False
            left = None
            if self._idle_timeout is not None:
                unused = not (self._state.scheduler.workers or self._state.scheduler.busy)
                if unused and not self._backend.is_open:
                    # There is nothing to wait for: the next call starts a new background thread.
                    self._thread = None
                    return False
                left = self._left(self._idle_timeout)
            # The cache is freed only when there is no work. While there is work, the thread that
            # leads calls `call_background` when it ceases to lead.
            if self._backend.has_cache and not self._state.scheduler.busy:
                left = min(self._left(_WARM), inf if left is None else left)
            if left is not None and left <= 0:
                return True
            self._parked_until = inf if left is None else time.monotonic() + left
            self._state.parking.wait(left)
            self._parked_until = inf
        self._wanted = False
        return True

    def _left(self, idle: float) -> float:
        """Return the seconds until the pool has been without work for `idle` seconds."""
        left = self.last_used + idle - time.monotonic()
        # If that time is over already and a job is in progress, a caller leads a long call: the
        # background thread checks again after `idle` seconds.
        return idle if left <= 0 and self._state.scheduler.busy else left

    def _cool(self, after: float) -> None:
        """Let the backend free its cache, if there was no work for `after` seconds.

        To be called in the lock of the state.
        """
        if not self._state.scheduler.busy and time.monotonic() - self.last_used >= after:
            self._backend.release_cache()

    def background(self) -> None:
        """Lead while there is work, then stop workers that were idle for too long.

        Only the background thread calls this method.
        """
        me = threading.get_ident()
        if self._backend.has_cache:
            self._state.post(partial(self._cool, _WARM))
        self.claim(me, self._work_on)
        waiting_threads.append(self)  # from here on the background thread creates no file

    def _work_on(self) -> None:
        idle = self._idle_for_too_long()
        self.lead(lambda: not self._state.inbox and not self._wanting())
        if idle:
            self._state.post(lambda: self._state.handle(e.Retire()))
            self.lead_until_no_workers()

    def lead_until_no_workers(self) -> None:
        """Lead until all workers are gone or there is work again; only the leader calls this."""
        self.lead(lambda: not self._state.scheduler.workers or self._state.scheduler.busy)
        self._state.post(partial(self._state.tidy, idle=True))

    def lose_thread(self, error: BaseException) -> None:
        """Record that an error ends the background thread: no thread may wait for that thread."""
        with self._state.parking:
            self._thread = None
        # The state counts as poisoned even if it is in order, as when the system refuses to poll:
        # no other thread leads, so the open jobs would never end.
        self._state.poisoned = self._state.poisoned or error
        self._state.post(lambda: None)  # `post` finds the state poisoned, and fails all open jobs

    def _idle_for_too_long(self) -> bool:
        if self._state.scheduler.busy:
            return False
        if self._retiring:
            self._retiring = False
            return True
        idle = time.monotonic() - self.last_used
        return self._idle_timeout is not None and idle >= self._idle_timeout


_exiting = False


def exiting() -> bool:
    """Return whether the interpreter is ending, so that no worker can be started any more."""
    return _exiting


def begin_exit() -> None:
    """Record that the interpreter is ending."""
    global _exiting
    _exiting = True


def _background(leadership: Leadership, _owner: object) -> None:
    try:
        while leadership.park():
            leadership.background()
    except BaseException as error:
        # When the interpreter ends, the backend is closed while this daemon thread may still use
        # the backend, so errors are expected then.
        if not _exiting:
            leadership.lose_thread(error)
            raise
