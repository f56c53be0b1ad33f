"""The base of all futures of pmap: work in progress that ends once, with results or an error.

A job of a pool is a `Pending`. So is a combination of jobs: several jobs gathered, or a job with a
function that runs after it.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .._errors import CancelledError, is_ctrl_c
from .._transport.light_stdlib import allocate_lock, get_ident
from .event_loops import until

if TYPE_CHECKING:  # `threading` takes long to import, so it is imported when a thread waits
    from threading import Event

# The states of a `Pending`, and the transitions between them.
PENDING: Final = 0  # the outcome is not known
# The outcome is known, and a thread runs the callbacks. For that thread the `Pending` is over.
SETTLING: Final = 1
SETTLED: Final = 2  # the `Pending` is over for all threads

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

# One lock serves all `Pending` objects, so that each object stays small. The lock is held only for
# a few lines that call nothing, make no object and do not loop. For at a call, a new object or a
# loop the interpreter may run a signal handler or a finaliser, which may cancel a call and wait for
# this lock in the very thread that holds the lock.
_lock = allocate_lock()


def _renew_lock() -> None:
    """Make a new lock in a fork: a thread that does not exist there may hold the old lock."""
    global _lock
    _lock = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


NONE_YET: list[Any] = []  # the `values` of each `Pending` without results; the list stays empty


def waits_for_itself(name: str) -> RuntimeError:
    """Return the error for a thread that waits for a pool while the thread holds its lock."""
    return RuntimeError(
        f"{name} would be waited for in vain: its pool can only go on when the pickling method or "
        "signal handler that waits has returned. Take the result before that"
    )


class _Listener:
    """A function to be called when a `Pending` is over; linked to the listener added before it."""

    __slots__ = ("before", "call", "follows")

    def __init__(self, call: Callable[[], object], follows: bool) -> None:
        self.call = call
        # Whether the function is called after all callbacks, when the `Pending` is over for all
        # threads.
        self.follows = follows
        self.before: _Listener | None = None


class Pending:
    """Work in progress that ends once: with an `error`, or with results in `values`."""

    # There may be millions of such objects, so attributes that few need are made when needed.
    __slots__ = ("_event", "_listeners", "_settling_thread", "_state", "error", "values")

    def __init__(self) -> None:
        """Begin with an unknown outcome."""
        self.error: Exception | None = None
        # The results, once the work is over without an error. The type is `Any`, because the types
        # of results are those of the caller's function.
        self.values: list[Any] = NONE_YET
        self._event: Event | None = None  # made when a thread waits
        self._listeners: _Listener | None = None  # the listener that was added last
        self._state: int = PENDING  # see `TRANSITIONS`
        self._settling_thread = 0

    @property
    def name(self) -> str:
        """The name of this work in messages."""
        raise NotImplementedError

    # --- methods for the thread that knows the outcome -----------------------------------------

    def settle(self) -> None:
        """Run the callbacks, then wake the waiting threads; a second call does nothing.

        The callbacks come first, as in ``multiprocessing``: a thread that has waited finds that
        they have run.
        """
        me = get_ident()
        with _lock:
            if self._state != PENDING:
                return
            # The thread is set before the state, because `over` reads both without the lock.
            self._settling_thread = me
            self._state = SETTLING
            listeners = self._listeners  # from here on no callback is added
        try:
            self._complete_values()
            self._call(listeners, follow=False)
        finally:
            self._settled()

    def _settled(self) -> None:
        """Wake the waiting threads, then call the listeners that follow, even if Ctrl-C strikes."""
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
                    # Ctrl-C may have struck before the first `set` had effect: so `set` once more.
                    self._event.set()
                self._call(listeners, follow=True)

    def _complete_values(self) -> None:
        """Bring `values` into their final form when the outcome is known, before any callback."""

    def after_fork_in_child(self, error: Exception) -> None:
        """End with `error`, in a fork: no outcome comes there.

        The old event is dropped: a thread that does not exist in the fork may hold its lock.
        """
        self._listeners = None
        self.error = error
        self._state = SETTLED
        self._event = None

    def _cancel(self) -> None:
        """Ask for the end of the work; a class that cannot ask for the end lets the work go on."""

    def drive(self, enough: Callable[[], bool]) -> None:
        """Lead the engine until the work is over or `enough` is true, if only this thread can.

        To be called before this thread waits without a limit: if this thread leads already, as in a
        callback, no other thread would finish the work.

        Raises:
            RuntimeError: this thread holds the lock of the pool, so the pool cannot go on before
                the pickling method or the signal handler that waits has returned.
        """

    # --- methods for threads and tasks that wait -----------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the outcome is known and the callbacks have run, or a callback asks for this."""
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
        """Return when the work is over, without blocking the event loop."""
        if not self.over:
            await until(self.when_settled)

    def progress(self) -> tuple[int, int]:
        """Return how many items are finished, and how many there are."""
        raise NotImplementedError

    def cancel(self) -> bool:
        """Ask for the end of the work; return whether the outcome was not known yet."""
        if self.over:
            return False
        self._cancel()
        return isinstance(self.error, CancelledError) or not self.over

    def when_over(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the work is over, or now if it is over; log its exceptions."""
        self._add(_Listener(callback, follows=False))

    def when_settled(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the work is over for all threads, or at once if that is so now."""
        self._add(_Listener(callback, follows=True))

    def _add(self, listener: _Listener) -> None:
        """Keep a listener for the end of the work, or call the listener now if the end has come."""
        me = get_ident()
        with _lock:
            state = self._state
            # While the callbacks run, the work is over for the thread that runs them. Listeners
            # that follow are still kept then, if another thread adds them.
            in_time = state == PENDING or (
                listener.follows and state == SETTLING and self._settling_thread != me
            )
            if in_time:
                listener.before = self._listeners
                self._listeners = listener
        if not in_time:
            self._run(listener.call)

    def _call(self, last: _Listener | None, follow: bool) -> None:
        """Call the listeners whose `follows` equals `follow`, in the order in which they came."""
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
            for listener in listeners:  # the rest of the listeners, if Ctrl-C has struck in one
                self._run(listener.call)

    def _run(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:  # also `SystemExit`: the other callbacks are still called
            if is_ctrl_c(error):
                raise
            import logging

            logging.getLogger("pmap").exception("a callback of %s raised", self.name)
