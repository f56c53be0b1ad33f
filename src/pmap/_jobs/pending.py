"""The base of all futures of pmap: work in progress that ends once, with results or an error.

Such work is a `Pending`: a call in progress (a job), several jobs gathered into one, or a job with
a function that runs on its result.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .._errors import CancelledError, is_ctrl_c
from .._transport.light_stdlib import allocate_lock, get_ident
from .event_loops import until

# The module `threading` takes long to import: only a thread that waits imports it.
if TYPE_CHECKING:
    from threading import Event

# The states of a `Pending` (work in progress), and the transitions between them.
PENDING: Final = 0  # the outcome is not known
# The outcome is known, and a thread is running the callbacks. To that thread the work counts as
# over.
SETTLING: Final = 1
SETTLED: Final = 2  # the work is over for all threads

NAMES: Final = ("pending", "settling", "settled")
STARTS: Final = {PENDING: "a call is made"}

TRANSITIONS: Final = {
    PENDING: {
        SETTLING: "its outcome is known",
        SETTLED: "this process is a fork: no outcome comes here",
    },
    SETTLING: {SETTLED: "its callbacks have run, or an exception has struck in them"},
    SETTLED: {},
}

# One lock serves all `Pending` objects, so that each object stays small. It is held only for a few
# lines that call nothing, make no object and do not loop: at each of these three, Python may run a
# signal handler or a finaliser, which may cancel a call, and then wait for this lock in the very
# thread that holds it.
_lock = allocate_lock()


def _renew_lock() -> None:
    """Make a new lock in a forked process: the old one may be held by a thread of the parent."""
    global _lock
    _lock = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


# The value of the attribute `values` as long as there are no results; always empty.
NONE_YET: list[Any] = []


def waits_for_itself(name: str) -> RuntimeError:
    """Return the error for a thread that would wait for a pool while it holds the pool's lock."""
    return RuntimeError(
        f"{name} would be waited for in vain: its pool can only go on when the pickling method or "
        "signal handler that waits has returned. Take the result before that"
    )


class _Listener:
    """A callback for the end of the work, in a linked list of callbacks, the last one first."""

    __slots__ = ("before", "call", "follows")

    def __init__(self, call: Callable[[], object], follows: bool) -> None:
        self.call = call
        # Whether the function is called only when all callbacks have run and the work is over for
        # all threads.
        self.follows = follows
        self.before: _Listener | None = None


class Pending:
    """Work in progress that ends once: with an `error`, or with results in the list `values`."""

    # There may be millions of such objects, so attributes that few of them need are set when
    # needed.
    __slots__ = ("_event", "_listeners", "_settling_thread", "_state", "error", "values")

    def __init__(self) -> None:
        """Begin with an unknown outcome."""
        self.error: Exception | None = None
        # The results, once the work is over without an error. The type is `Any`, because the types
        # of results are those of the caller's function.
        self.values: list[Any] = NONE_YET
        # Wakes the threads that wait; made when the first one waits.
        self._event: Event | None = None
        # The callback that was added last, which refers to the one before.
        self._listeners: _Listener | None = None
        self._state: int = PENDING  # the state, one of PENDING, SETTLING and SETTLED
        self._settling_thread = 0

    @property
    def name(self) -> str:
        """How messages call this work."""
        raise NotImplementedError

    # --- methods for the thread that brings the outcome ----------------------------------------

    def settle(self) -> None:
        """Run the callbacks, then wake the threads that wait, as the outcome is known.

        A second call does nothing. The callbacks come first, as in ``multiprocessing``: when a
        thread stops waiting, they have run.
        """
        me = get_ident()
        with _lock:
            if self._state != PENDING:
                return
            # The order matters, as the property `over` reads both attributes without the lock.
            self._settling_thread = me
            self._state = SETTLING
            listeners = self._listeners  # callbacks that are added from here on are run at once
        try:
            self._complete_values()
            self._call(listeners, follow=False)
        finally:
            self._settled()

    def _settled(self) -> None:
        """Wake the waiting threads, and run the callbacks that come last, even at Ctrl-C."""
        listeners: _Listener | None = None
        try:
            with _lock:
                self._state = SETTLED
                listeners = self._listeners
                self._listeners = None
        finally:
            try:
                if self._event is not None:
                    self._event.set()
            finally:
                if self._event is not None:
                    # If Ctrl-C has struck above before the waiting threads were woken, they are
                    # woken here.
                    self._event.set()
                self._call(listeners, follow=True)

    def _complete_values(self) -> None:
        """Give `values` their final form when the outcome is known, before any callback runs."""

    def after_fork_in_child(self, error: Exception) -> None:
        """End with `error`, in a forked process, where no outcome will ever come.

        The old event is dropped: a thread that does not exist here may hold its lock.
        """
        self._listeners = None
        self.error = error
        self._state = SETTLED
        self._event = None

    def _cancel(self) -> None:
        """Ask for the end of the work; a subclass that cannot do so lets the work go on."""

    def drive(self, enough: Callable[[], bool]) -> None:
        """Run the engine's loop until the work is over or `enough()`, if no other thread can.

        A thread calls this before it waits without a time limit. Only one thread at a time runs the
        loop that brings results. If it is this thread (which then runs a callback or a signal
        handler, say), no other thread would finish the work.

        Raises:
            RuntimeError: this thread holds the lock of the pool, so the pool cannot go on before
                the signal handler, or the user's `__reduce__`, in which this thread waits has
                returned.
        """

    # --- methods for threads and tasks that wait -----------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the outcome is known and the callbacks have run.

        In a callback, which asks before all have run, this is true.
        """
        # No lock is needed. A thread finds its own number in `_settling_thread` only if it has
        # stored it itself. And `_state` is stored last, so a thread that finds `SETTLED` also finds
        # `error` and `values`. Without the GIL that is so, too: a slot of an object is loaded and
        # stored by atomic operations that keep the order of the code.
        state = self._state
        return state == SETTLED or (state == SETTLING and self._settling_thread == get_ident())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the work is over, at most `timeout` seconds; return whether it is over."""
        if self.over:
            return True
        if timeout is None:
            self.drive(lambda: self.over)
        event = self._event
        if event is None:
            from threading import Event

            event = Event()
        with _lock:
            if self._event is None:
                self._event = event
            event = self._event
            settled = self._state == SETTLED
        return settled or event.wait(timeout)

    async def await_end(self) -> None:
        """Wait until the work is over, as a coroutine, without blocking the event loop."""
        if not self.over:
            await until(self.when_settled)

    def progress(self) -> tuple[int, int]:
        """Return how many items are finished, and how many items there are."""
        raise NotImplementedError

    def cancel(self) -> bool:
        """Ask for the end of the work; return whether its outcome was still unknown."""
        if self.over:
            return False
        self._cancel()
        return isinstance(self.error, CancelledError) or not self.over

    def when_over(self, callback: Callable[[], object]) -> None:
        """Run `callback` when the work is over, or now if it is; log the exceptions it raises."""
        self._add(_Listener(callback, follows=False))

    def when_settled(self, callback: Callable[[], object]) -> None:
        """Run `callback` when all others have run and the work is over, or at once if it is so."""
        self._add(_Listener(callback, follows=True))

    def _add(self, listener: _Listener) -> None:
        """Keep a callback for the end of the work, or run it now if the work is over."""
        me = get_ident()
        with _lock:
            state = self._state
            # While a thread runs the callbacks, the work counts as over for that thread only. A
            # callback that another thread adds meanwhile, and that is to run after all others, is
            # still kept.
            in_time = state == PENDING or (
                listener.follows and state == SETTLING and self._settling_thread != me
            )
            if in_time:
                listener.before = self._listeners
                self._listeners = listener
        if not in_time:
            self._run(listener.call)

    def _call(self, last: _Listener | None, follow: bool) -> None:
        """Run the callbacks that come last (`follow`), or the others, in the order of adding."""
        found: list[_Listener] = []
        while last is not None:
            if last.follows == follow:
                found.append(last)
            last = last.before
        listeners = reversed(found)
        try:
            for listener in listeners:
                self._run(listener.call)
        finally:
            # If Ctrl-C has struck in one callback, the others are still run.
            for listener in listeners:
                self._run(listener.call)

    def _run(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:
            # A callback may raise anything, even `SystemExit`: the other callbacks are still run.
            if is_ctrl_c(error):
                raise
            import logging

            logging.getLogger("pmap").exception("a callback of %s raised", self.name)
