"""The base of all futures of pmap: work in progress, which ends once, with results or an error.

The class of such work is `Pending`. It is a call in progress (a job), several jobs gathered into
one, or a job with a function that runs on its result.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .._errors import CancelledError, is_ctrl_c
from .._transport.light_stdlib import allocate_lock, get_ident
from .event_loops import until

# A thread imports `threading` only if it has to wait, because the import takes long.
if TYPE_CHECKING:
    from threading import Event

# The states of a `Pending` (work in progress), and the transitions between them.
PENDING: Final = 0  # the outcome is not known yet
# The outcome is known, and a thread is running the callbacks. For that thread the work is over.
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

# One lock serves all `Pending` objects, so that each object stays small. A thread holds it for a
# few lines only. These lines call nothing, make no object and do not loop: at each of these, Python
# may run a signal handler or a finaliser. Such code may cancel a call, and would then wait for this
# lock in the very thread that holds it.
_lock = allocate_lock()


def _renew_lock() -> None:
    """Make a new lock in a forked process: a thread of the parent may hold the old lock."""
    global _lock
    _lock = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


# The value of the attribute `values` while there are no results. The list is always empty.
NONE_YET: list[Any] = []


def waits_for_itself(name: str) -> RuntimeError:
    """Return the error for a thread that would wait for a pool while it holds the pool's lock."""
    return RuntimeError(
        f"{name} would be waited for in vain: its pool can only go on when the pickling method or "
        "signal handler that waits has returned. Take the result before that"
    )


class _Listener:
    """A callback for the end of the work. Callbacks form a linked list, the newest one first."""

    __slots__ = ("again", "before", "call", "follows")

    def __init__(self, call: Callable[[], object], follows: bool, again: bool) -> None:
        self.call = call
        # Whether the callback runs again if Ctrl-C has interrupted it.
        self.again = again
        # Whether the callback runs only after all other callbacks, when the work is over for all
        # threads.
        self.follows = follows
        self.before: _Listener | None = None


class Pending:
    """Work in progress that ends once: with an `error`, or with results in the list `values`."""

    # There may be millions of such objects, so attributes that few objects need are made only when
    # needed.
    __slots__ = ("_event", "_listeners", "_settling_thread", "_state", "error", "values")

    def __init__(self) -> None:
        self.error: Exception | None = None
        # The results, when the work is over without an error. The type is `Any`, because the
        # caller's function decides the types of results.
        self.values: list[Any] = NONE_YET
        # Wakes the threads that wait; the first thread that waits makes this event.
        self._event: Event | None = None
        # The callback that was added last; it refers to the callback that was added before it.
        self._listeners: _Listener | None = None
        self._state: int = PENDING  # one of PENDING, SETTLING and SETTLED
        self._settling_thread = 0

    @property
    def name(self) -> str:
        """The name of this work in messages."""
        raise NotImplementedError

    # --- methods for the thread that brings the outcome ----------------------------------------

    def settle(self) -> None:
        """Run the callbacks, then wake the threads that wait: the outcome is known now.

        A second call does nothing. As in ``multiprocessing``, the callbacks have run before any
        waiting thread goes on.
        """
        me = get_ident()
        mine = False
        listeners: _Listener | None = None
        waiting: list[_Listener] | None = None
        try:
            with _lock:
                if self._state != PENDING:
                    return
                mine = True
                # The thread's number is stored before the state: the property `over` reads both
                # without the lock, the state first.
                self._settling_thread = me
                self._state = SETTLING
                listeners = self._listeners  # callbacks that are added from now on run at once
            self._complete_values()
            if listeners is not None:
                waiting = _in_order(listeners, follow=False)
                self._run_all(waiting)
        finally:
            # Ctrl-C may have interrupted any line above, and any line here. What is left is done
            # all the same: other threads wait for it.
            try:
                if listeners is not None and waiting != []:
                    self._run_all(waiting or _in_order(listeners, follow=False))
            finally:
                try:
                    if mine:
                        self._settled()
                finally:
                    if mine and self._state == SETTLING:
                        self._settled()

    def _settled(self) -> None:
        """Wake the waiting threads, and run the callbacks that come last, even after Ctrl-C."""
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
                    # Ctrl-C may have interrupted the lines above before the waiting threads were
                    # woken: then they are woken here.
                    self._event.set()
                waiting: list[_Listener] | None = None
                try:
                    if listeners is not None:
                        waiting = _in_order(listeners, follow=True)
                        self._run_all(waiting)
                finally:
                    if listeners is not None and waiting != []:  # the same
                        self._run_all(waiting or _in_order(listeners, follow=True))

    def _complete_values(self) -> None:
        """Bring `values` into their final form; the outcome is known, and no callback has run."""

    def after_fork_in_child(self, error: Exception) -> None:
        """End the work with `error` in a forked process, to which no outcome comes.

        The event is dropped, because a thread that does not exist in this process may hold its
        lock.
        """
        self._listeners = None
        self.error = error
        self._state = SETTLED
        self._event = None

    def _cancel(self) -> None:
        """Ask for the end of the work; if a subclass does not define this, the work goes on."""

    def drive(self, enough: Callable[[], bool]) -> None:
        """If only this thread can, run the engine's loop until the work is over or `enough()`.

        A thread calls this before it waits without a time limit. Only one thread at a time runs the
        loop that brings results. If this thread is that one (it then runs a callback or a signal
        handler, say), no other thread could finish the work.

        Raises:
            RuntimeError: this thread holds the lock of the pool, so the pool cannot go on before
                the signal handler, or the user's `__reduce__`, in which this thread waits has
                returned.
        """

    # --- methods for threads and tasks that wait -----------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the outcome is known and the callbacks have run.

        For the thread that runs the callbacks this is true already before all callbacks have run.
        """
        # No lock is needed. A thread finds its own number in `_settling_thread` only if it has
        # stored the number itself. `_state` is stored last, so a thread that reads `SETTLED` also
        # reads the final `error` and `values`. Without the GIL this holds, too, because Python
        # keeps the order of loads and stores of attributes.
        state = self._state
        return state == SETTLED or (state == SETTLING and self._settling_thread == get_ident())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the work is over, or for `timeout` seconds; return whether it is over."""
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
        """Wait in a coroutine until the work is over, without blocking the event loop."""
        if not self.over:
            await until(self.when_settled)

    def progress(self) -> tuple[int, int]:
        """Return how many items are finished, and how many items there are."""
        raise NotImplementedError

    def cancel(self) -> bool:
        """Ask for the end of the work; return whether the outcome was still unknown."""
        if self.over:
            return False
        self._cancel()
        return isinstance(self.error, CancelledError) or not self.over

    def when_over(self, callback: Callable[[], object], again: bool = False) -> None:
        """Run `callback` when the work is over, or now if it is; log the errors it raises.

        Args:
            callback: the function to run.
            again: whether to run it once more if Ctrl-C has interrupted it. Threads may wait for
                what it does, so it must do that, and it must do no harm if it runs twice.
        """
        self._add(_Listener(callback, follows=False, again=again))

    def when_settled(self, callback: Callable[[], object]) -> None:
        """Run `callback` when the work is over for all threads and all other callbacks have run.

        If Ctrl-C has interrupted it, it runs once more, so it must do no harm if it runs twice.
        """
        self._add(_Listener(callback, follows=True, again=True))

    def _add(self, listener: _Listener) -> None:
        """Keep a callback for the end of the work, or run it now if the work is over."""
        me = get_ident()
        with _lock:
            state = self._state
            # While a thread runs the callbacks, the work is over for that thread only. So a
            # callback that another thread adds meanwhile is kept if it is to run after all others.
            in_time = state == PENDING or (
                listener.follows and state == SETTLING and self._settling_thread != me
            )
            if in_time:
                listener.before = self._listeners
                self._listeners = listener
        if not in_time:
            self._run(listener.call)

    def _run_all(self, waiting: list[_Listener]) -> None:
        """Run callbacks, the last one in the list first, and remove each from the list.

        A callback that may run again is removed when it has run, any other before it runs. So when
        Ctrl-C has interrupted this method, a second call of it runs what is still to be run.
        """
        while waiting:
            listener = waiting[-1]
            if not listener.again:
                waiting.pop()
            self._run(listener.call)
            if listener.again:
                waiting.pop()

    def _run(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:
            # A callback may raise anything, even `SystemExit`. The other callbacks still have to
            # run.
            if is_ctrl_c(error):
                raise
            import logging

            logging.getLogger("pmap").exception("a callback of %s raised", self.name)


def _in_order(last: _Listener | None, follow: bool) -> list[_Listener]:
    """Return the callbacks that come last, if `follow`, else all others; the oldest is the last."""
    found: list[_Listener] = []
    while last is not None:
        if last.follows == follow:
            found.append(last)
        last = last.before
    return found
