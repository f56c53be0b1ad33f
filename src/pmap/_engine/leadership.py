"""Which thread carries events and commands between the scheduler and a backend: one at a time.

There is no thread that always runs. A blocking call *leads*: its own thread polls the backend until
its result is there, which saves two hand-overs between threads. When no thread leads and there is
work (asynchronous calls, or another caller's), a background thread leads, and parks when there is
none. A thread that finds another one leading waits for its job's event. A leader that stops looks
for work that is left, and wakes the background thread if there is some.

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

# Seconds without work after which the backend gives back what it keeps for the next call.
_WARM = 1.0


class Leadership:
    """Lets one thread at a time lead, and makes sure that one does while there is work."""

    def __init__(
        self, state: EngineState, idle_timeout: float | None, owner: "weakref.ref[object]"
    ) -> None:
        """Begin without a leader.

        Args:
            state: what is led.
            idle_timeout: seconds after which idle workers are let go; None: never.
            owner: the driver. The background thread keeps it alive, so that `process_end` finds
                it when the interpreter ends.
        """
        self._state = state
        self._owner = owner
        self._backend = state.backend
        self._idle_timeout = idle_timeout
        self.last_used: float = time.monotonic()  # when a thread ceased to lead
        self._retiring = False
        self.renew_locks()

    def renew_locks(self) -> None:
        """Begin without a background thread, also in a fork: threads do not exist there."""
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._parked_until = inf  # when the background thread wakes by itself

    @property
    def thread(self) -> threading.Thread | None:
        """The background thread, while there is one."""
        return self._thread

    def is_mine(self) -> bool:
        """Whether this thread leads, as in a callback of it, and is not within the state's lock."""
        state = self._state
        return state.leader.is_thread(threading.get_ident()) and not state.holds_lock()

    def retire(self) -> None:
        """Let idle workers go as if they had been idle for long."""
        self._retiring = True
        self.call_background(work=True)

    def watch_idling(self) -> None:
        """Let the background thread stop idle workers in time, after a call that this one led."""
        if self._idle_timeout is not None and self._thread is None:
            self.call_background(work=False)

    def run_until(self, reached: Callable[[], bool], wait: Callable[[], object] | None) -> None:
        """Return when `reached`: lead until then, or wait while another thread leads."""
        me = threading.get_ident()
        if self._state.leader.is_thread(me):
            # This is a callback or a signal handler of the leader: it leads within leading.
            try:
                self.lead(reached)
            finally:
                # A signal handler runs within a `poll`, which goes on afterwards. By now the events
                # that it waits for may have been taken in, or the alarm may be an earlier one.
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
            # A signal's exception may strike within `_stop_leading`. If this thread kept its claim
            # and led no more, all other threads would wait for ever.
            if self._state.leader.is_thread(me):
                self._stop_leading(me)

    def _stop_leading(self, me: int) -> None:
        self._state.leader.release(me)
        # Only now: a thread that closes the pool while this one leads leaves the tidying to it.
        if self._state.closed and self._backend.is_open:
            try:
                if self._state.leader.claim(me):
                    self._state.post(self._state.tidy)
            finally:
                self._state.leader.release(me)
        # A thread that came while we led waits for its event: another thread must lead on.
        self.ensure_leader()
        if self._backend.has_cache and self._parked_until > self.last_used + _WARM:
            self.call_background(work=False)  # it would not wake in time
            if self._thread is None:  # there is none: nothing would do it later
                self._state.post(partial(self._cool, 0.0))

    def lead(self, reached: Callable[[], bool]) -> None:
        """Poll the backend and take in what comes until `reached`; for the thread that leads."""
        state = self._state
        if state.inbox or state.over:
            state.enter()
        while not reached():
            # In this order: a thread that sets the alarm before we read it need not wake us. One
            # that sets it later sees that we wait for longer, and wakes us; a wake-up that comes
            # before the poll ends that at once.
            state.polls_until = inf
            alarm = state.alarm
            state.polls_until = inf if alarm is None else alarm
            wait = None if alarm is None else max(0.0, alarm - time.monotonic())
            polled = self._backend.poll(wait)
            state.polls_until = -inf
            state.enter(polled)
            if alarm is not None and alarm <= time.monotonic():
                state.post(lambda: state.handle(e.Tick()))
        self.last_used = time.monotonic()

    def ensure_leader(self) -> None:
        """Make sure that a thread leads if there is work."""
        # If one leads at this moment, it comes here itself when it stops leading.
        if not self._state.leader and (self._state.inbox or self._wanting()):
            self.call_background(work=True)

    def _wanting(self) -> bool:
        """Return whether anything is under way for which a thread has to lead."""
        if not self._state.scheduler.awaits_events:
            return False
        if not self._backend.runs_in_poll:
            return True
        # The items of a stream run in the consumer's thread, and wait until it asks for results.
        jobs = list(self._state.jobs.values())
        return not jobs or any(not job.resting for job in jobs)

    def call_background(self, work: bool) -> None:
        """Wake the background thread, or start it; `work`: there is some for it.

        Raises:
            RuntimeError: there is work, and no thread can be had.
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
                    # Only now: `join` in another thread waits for it, and must find it started. It
                    # cannot have left again: for that it would need the lock that is held here.
                    self._thread = thread
                    waiting_threads.append(self)
            else:
                self._state.parking.notify()

    def park(self) -> bool:
        """Wait for work; return whether there is some. For the background thread."""
        with self._state.parking:
            try:
                return self._park()
            finally:
                # If Ctrl-C has struck at its start, it was never added.
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
                    self._thread = None  # nothing to wait for; the next call starts another
                    return False
                left = self._left(self._idle_timeout)
            # Only without work: the thread that ends it calls again.
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
        # If that time is over already, a caller leads a long call: try again later.
        return idle if left <= 0 and self._state.scheduler.busy else left

    def _cool(self, after: float) -> None:
        """Let the backend give back what it keeps, `after` seconds without work; in the lock."""
        if not self._state.scheduler.busy and time.monotonic() - self.last_used >= after:
            self._backend.release_cache()

    def background(self) -> None:
        """Lead while there is work, then let idle workers go. For the background thread."""
        me = threading.get_ident()
        if self._backend.has_cache:
            self._state.post(partial(self._cool, _WARM))
        self.claim(me, self._work_on)
        waiting_threads.append(self)  # it creates no file from here on

    def _work_on(self) -> None:
        idle = self._idle_for_too_long()
        self.lead(lambda: not self._state.inbox and not self._wanting())
        if idle:
            self._state.post(lambda: self._state.handle(e.Retire()))
            self.lead_until_no_workers()

    def lead_until_no_workers(self) -> None:
        """Lead until all workers are gone, or there is work again; for the thread that leads."""
        self.lead(lambda: not self._state.scheduler.workers or self._state.scheduler.busy)
        self._state.post(partial(self._state.tidy, idle=True))

    def lose_thread(self, error: BaseException) -> None:
        """Take in that an error ends the background thread: no thread may wait for it."""
        with self._state.parking:
            self._thread = None
        # Also if the state is in order, as when the system refuses to poll: no other thread leads.
        self._state.poisoned = self._state.poisoned or error
        self._state.post(lambda: None)  # finds the state poisoned, and fails what is open

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
    """Return whether the interpreter is ending, so that no workers can be had any more."""
    return _exiting


def begin_exit() -> None:
    """Note that the interpreter is ending."""
    global _exiting
    _exiting = True


def _background(leadership: Leadership, _owner: object) -> None:
    try:
        while leadership.park():
            leadership.background()
    except BaseException as error:
        # When the interpreter ends, the backend is taken from under this daemon thread.
        if not _exiting:
            leadership.lose_thread(error)
            raise
