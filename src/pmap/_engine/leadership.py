"""Which thread is the leader: only one thread at a time runs the engine's loop.

In the loop, a thread takes events from the backend to the scheduler, and carries out the
scheduler's commands. No thread of pmap does so all the time. A blocking call *leads*: the calling
thread polls the backend until the result of the call is there, which saves two hand-overs between
threads. When no thread leads and there is work (asynchronous calls, or calls of other threads), a
background thread leads; when there is no work, the background thread waits. A thread that finds
another thread leading waits for the event of its job. A thread that ceases to lead checks whether
work is left, and wakes the background thread if there is.

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
from .._transport.process_role import daemon
from .._transport.settings import waiting_threads
from .state import EngineState

# If there is no work for this many seconds, the backend frees the memory that it has kept for the
# next call.
_WARM = 1.0


class Leadership:
    """Lets at most one thread run the engine's loop, and at least one while there is work."""

    def __init__(
        self, state: EngineState, idle_timeout: float | None, owner: "weakref.ref[object]"
    ) -> None:
        """Begin without a thread that runs the engine's loop.

        Args:
            state: the state of the engine, on which the loop works.
            idle_timeout: seconds after which idle workers are stopped; None: never.
            owner: the driver, which the background thread keeps alive, so that the module
                `process_end` finds the driver when the interpreter ends.
        """
        self._state = state
        self._owner = owner
        self._backend = state.backend
        self._idle_timeout = idle_timeout
        # The time at which a thread last left the engine's loop.
        self.last_used: float = time.monotonic()
        self._retiring = False
        self.renew_locks()

    def renew_locks(self) -> None:
        """Make new locks, and have no background thread: for a new pool, or in a forked process."""
        self._thread: threading.Thread | None = None
        self._wanted = False
        # The time until which the background thread sleeps, if nothing wakes it earlier.
        self._parked_until = inf

    @property
    def thread(self) -> threading.Thread | None:
        """The background thread; None while there is none."""
        return self._thread

    def is_mine(self) -> bool:
        """Whether this thread runs the engine's loop, and does not hold the engine's lock.

        That is so in a callback, since the loop calls callbacks without the lock.
        """
        state = self._state
        return state.leader.is_thread(threading.get_ident()) and not state.holds_lock()

    def retire(self) -> None:
        """Stop the idle workers at once, as if they had been idle for `idle_timeout` seconds."""
        self._retiring = True
        self.call_background(work=True)

    def watch_idling(self) -> None:
        """Start the background thread if it has to stop workers that are idle for too long."""
        if self._idle_timeout is not None and self._thread is None and daemon():
            self.call_background(work=False)

    def run_until(self, reached: Callable[[], bool], wait: Callable[[], object] | None) -> None:
        """Wait until `reached` returns true.

        Until then this thread runs the engine's loop, or waits while another thread runs it.
        """
        me = threading.get_ident()
        if self._state.leader.is_thread(me):
            # A callback or a signal handler calls this method in the thread that runs the engine's
            # loop. The thread cannot wait for itself, so it runs the loop here, within the outer
            # loop.
            try:
                self.lead(reached)
            finally:
                # A signal handler may run within a `poll` of the outer loop, which goes on
                # afterwards. The inner loop may have taken the events for which this `poll` waits,
                # or set an earlier alarm, so `poll` is told to return.
                self._backend.wake()
        while not reached():
            if self.claim(me, partial(self.lead, reached)) or wait is None:
                return
            wait()

    def claim(self, me: int, lead: Callable[[], None]) -> bool:
        """Make this thread the leader, and call `lead`.

        Return False at once if another thread is the leader: only one thread may run the engine's
        loop.
        """
        try:
            try:
                if not self._state.leader.claim(me):
                    return False
                lead()
                return True
            finally:
                self._stop_leading(me)
        finally:
            # The exception of a signal may interrupt `_stop_leading`, so it is called once more. If
            # this thread left the loop and stayed registered as the leader, no thread would run the
            # loop, and all others would wait for ever.
            if self._state.leader.is_thread(me):
                self._stop_leading(me)

    def _stop_leading(self, me: int) -> None:
        self._state.leader.release(me)
        # From here on another thread can become the leader. If another thread has closed the pool
        # while this thread was in the loop, it has left the closing of the backend to this thread.
        if self._state.closed and self._backend.is_open:
            try:
                if self._state.leader.claim(me):
                    self._state.post(self._state.tidy)
            finally:
                self._state.leader.release(me)
        # Another thread may have begun to wait for a result while this thread ran the loop. So some
        # other thread must run the loop from now on.
        self.ensure_leader()
        if self._backend.has_cache and self._parked_until > self.last_used + _WARM:
            # The background thread may be asleep already, until a time that is too late to free the
            # backend's cache. So it is woken.
            self.call_background(work=False)
            # No background thread could be started, so this thread frees the memory that the
            # backend keeps.
            if self._thread is None:
                self._state.post(partial(self._cool, 0.0))

    def lead(self, reached: Callable[[], bool]) -> None:
        """Run the engine's loop until `reached` returns true; only the leader calls this.

        The loop waits for events of the backend, and handles them.
        """
        state = self._state
        if state.inbox or state.over:
            state.enter()
        while not reached():
            # `polls_until` tells other threads until when this thread waits: here, for ever. It is
            # set before this thread reads the alarm. If another thread sets an earlier alarm before
            # that, this thread reads it. If it does so later, the other thread finds in
            # `polls_until` that this thread waits too long, and wakes this thread.
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
        """Make sure that some thread runs the engine's loop if there is work."""
        # A thread that is in the loop calls this method when it leaves the loop. So there is
        # nothing to do now.
        if not self._state.leader and (self._state.inbox or self._wanting()):
            self.call_background(work=True)

    def _wanting(self) -> bool:
        """Return whether an event may come for which some thread has to run the engine's loop."""
        if not self._state.scheduler.awaits_events:
            return False
        if not self._backend.runs_in_poll:
            return True
        # With the serial backend, a stream's items run in the thread that consumes the stream, when
        # it asks for results. So no other thread has to run the loop for them.
        jobs = list(self._state.jobs.values())
        return not jobs or any(not job.resting for job in jobs)

    def call_background(self, work: bool) -> None:
        """Wake the background thread, or start it; if `work`, it has to run the engine's loop.

        Raises:
            RuntimeError: there is work, and no thread can be started.
        """
        with self._state.parking:
            self._wanted = self._wanted or work
            if self._thread is None:
                thread = threading.Thread(
                    target=_background,
                    args=(self, self._owner()),
                    name="pmap-driver",
                    daemon=daemon(),
                )
                try:
                    thread.start()
                except RuntimeError:
                    # No thread can be started: the interpreter is ending, or the system allows no
                    # more.
                    if work:
                        raise
                else:
                    # The attribute is set when the thread has started, because another thread may
                    # then call the `join` of the thread. The background thread has not ended by
                    # now: for that it needs the lock `parking`, which this thread holds.
                    self._thread = thread
                    waiting_threads.append(self)
            else:
                self._state.parking.notify()

    def park(self) -> bool:
        """Wait for work; return whether there is any. Only the background thread calls this."""
        with self._state.parking:
            try:
                return self._park()
            finally:
                # Python raises ValueError if Ctrl-C has interrupted this thread while it was being
                # started: then the list of waiting threads does not have it.
                with suppress(ValueError):
                    waiting_threads.remove(self)

    def _park(self) -> bool:
        while not self._wanted:
            # A thread that is no daemon would hold up the end of the interpreter while it waits. So
            # it ends, and the next work starts another one. Idle workers end with the interpreter.
            if self._state.ended.is_set() or not daemon():
                self._thread = None
                return False
            left = None
            if self._idle_timeout is not None:
                unused = not (self._state.scheduler.workers or self._state.scheduler.busy)
                if unused and not self._backend.is_open:
                    # There is nothing to wait for, so the background thread ends. The next call
                    # starts another one.
                    self._thread = None
                    return False
                left = self._left(self._idle_timeout)
            # There is no work, so the cache can be freed. While there is work, the thread that is
            # in the loop calls `call_background` when it leaves.
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
        """Return in how many seconds the pool will have been without work for `idle` seconds."""
        left = self.last_used + idle - time.monotonic()
        # The pool was last used more than `idle` seconds ago, but another thread still runs a long
        # call. The background thread checks again after `idle` seconds.
        return idle if left <= 0 and self._state.scheduler.busy else left

    def _cool(self, after: float) -> None:
        """Let the backend free its cache, if there has been no work for `after` seconds.

        The calling thread holds the engine's lock.
        """
        if not self._state.scheduler.busy and time.monotonic() - self.last_used >= after:
            self._backend.release_cache()

    def background(self) -> None:
        """Run the engine's loop while there is work; stop workers that are idle for too long.

        Only the background thread calls this method.
        """
        me = threading.get_ident()
        if self._backend.has_cache:
            self._state.post(partial(self._cool, _WARM))
        self.claim(me, self._work_on)
        # Code that counts the threads that may create files does not count those in the list
        # `waiting_threads`: until it is woken, this thread only waits for work.
        waiting_threads.append(self)

    def _work_on(self) -> None:
        idle = self._idle_for_too_long()
        self.lead(lambda: not self._state.inbox and not self._wanting())
        if idle:
            self._state.post(lambda: self._state.handle(e.Retire()))
            self.lead_until_no_workers()

    def lead_until_no_workers(self) -> None:
        """Run the engine's loop until no worker is left or there is work again.

        Only the leader calls this.
        """
        self.lead(lambda: not self._state.scheduler.workers or self._state.scheduler.busy)
        self._state.post(partial(self._state.tidy, idle=True))

    def lose_thread(self, error: BaseException) -> None:
        """Record that an error has ended the background thread, so that no thread waits for it."""
        with self._state.parking:
            self._thread = None
        # The engine is marked as poisoned: it will be reset. That is done even if its state is in
        # order, because no thread runs the loop any more, and the calls in progress would never
        # end.
        self._state.poisoned = self._state.poisoned or error
        # This empty request makes the engine see that it is poisoned. It resets itself, and all
        # calls in progress fail.
        self._state.post(lambda: None)

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
    """Record that the interpreter is ending: from now on no worker is started."""
    global _exiting
    _exiting = True


def _background(leadership: Leadership, _owner: object) -> None:
    try:
        while leadership.park():
            leadership.background()
    except BaseException as error:
        # The interpreter is ending, and has closed the backend while this daemon thread uses it.
        # The errors that come of that are not reported.
        if not _exiting:
            leadership.lose_thread(error)
            raise
