"""What is under way and ends once: the part that all kinds of futures have in common.

A job of a pool is such a thing, and so is what is made of jobs: several gathered, or one with a
function that runs behind it.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .._errors import CancelledError, is_ctrl_c
from .._transport.light_stdlib import allocate_lock, get_ident
from .event_loops import until

if TYPE_CHECKING:  # imported when a thread waits: it takes long
    from threading import Event

# The states, and the transitions between them.
PENDING: Final = 0  # its outcome is not known
SETTLING: Final = 1  # its outcome is known, and a thread runs the callbacks: for it, it is over
SETTLED: Final = 2  # it is over for all threads

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

# One lock for all objects, which stay small by that. It is held for a few lines that call nothing,
# make no object and do not loop: at such a place the interpreter may run a signal's handler, or the
# finaliser of garbage, which may cancel a call and wait for this lock in the thread that holds it.
_lock = allocate_lock()


def _renew_lock() -> None:
    """Make a new lock in a fork: a thread that does not exist here may hold the old one."""
    global _lock
    _lock = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


NONE_YET: list[Any] = []  # the values of all that are pending; it stays empty


def waits_for_itself(name: str) -> RuntimeError:
    """Return the error for a thread that waits for a pool whose lock it holds."""
    return RuntimeError(
        f"{name} would be waited for in vain: its pool can only go on when the pickling method or "
        "signal handler that waits has returned. Take the result before that"
    )


class _Listener:
    """A function to be called when something is over; a list, linked from the last to the first."""

    __slots__ = ("before", "call", "follows")

    def __init__(self, call: Callable[[], object], follows: bool) -> None:
        self.call = call
        self.follows = follows  # it is called behind all callbacks, when it is over for all threads
        self.before: _Listener | None = None


class Pending:
    """Something that ends once: with `error`, or with `values`."""

    # There may be millions of them: what few of them need is made when it is needed.
    __slots__ = ("_event", "_listeners", "_settling_thread", "_state", "error", "values")

    def __init__(self) -> None:
        """Begin."""
        self.error: Exception | None = None
        # The results, once it is over without an error. Any: the types are those of the caller.
        self.values: list[Any] = NONE_YET
        self._event: Event | None = None  # made when a thread waits
        self._listeners: _Listener | None = None  # the last one
        self._state: int = PENDING  # see `TRANSITIONS`
        self._settling_thread = 0

    @property
    def name(self) -> str:
        """What it is, for messages."""
        raise NotImplementedError

    # --- for those that know the outcome -------------------------------------------------------

    def settle(self) -> None:
        """Run the callbacks, then wake the waiting threads; a second time it does nothing.

        The callbacks come first, as in ``multiprocessing``: a thread that has waited finds that
        they have run.
        """
        me = get_ident()
        with _lock:
            if self._state != PENDING:
                return
            self._settling_thread = me  # first: `over` reads both without the lock
            self._state = SETTLING
            listeners = self._listeners  # no callback is added any more
        try:
            self._complete_values()
            self._call(listeners, follow=False)
        finally:
            self._settled()

    def _settled(self) -> None:
        """Wake the waiting threads, and call what follows; also where Ctrl-C strikes within."""
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
                    self._event.set()  # again: Ctrl-C may have struck before the first had effect
                self._call(listeners, follow=True)

    def _complete_values(self) -> None:
        """Do what is left to do when the outcome is known, before any callback."""

    def after_fork_in_child(self, error: Exception) -> None:
        """Be over with `error`, in a fork: a lost thread may hold the lock of the old event."""
        self._listeners = None
        self.error = error
        self._state = SETTLED
        self._event = None

    def _cancel(self) -> None:
        """Ask for the end of the work; what has no way to ask goes on."""

    def drive(self, enough: Callable[[], bool]) -> None:
        """Lead the engine until it is over or `enough` is true, if only this thread can do so.

        To be called before this thread waits without a limit: if it leads already, as in a
        callback, no other thread would finish the work.

        Raises:
            RuntimeError: nothing can go on before this thread has returned from where it is.
        """

    # --- for those that wait -------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the outcome is known, and the callbacks have run (or call this just now)."""
        state = self._state
        return state == SETTLED or (state == SETTLING and self._settling_thread == get_ident())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over, at most `timeout` seconds; return whether it is."""
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
        """Return when it is over, without blocking the event loop."""
        if not self.over:
            await until(self.when_settled)

    def progress(self) -> tuple[int, int]:
        """Return how many items are finished, and how many there are."""
        raise NotImplementedError

    def cancel(self) -> bool:
        """Ask for its end; return whether the outcome was not known yet."""
        if self.over:
            return False
        self._cancel()
        return isinstance(self.error, CancelledError) or not self.over

    def when_over(self, callback: Callable[[], object]) -> None:
        """Call `callback` when it is over, at once if it is; its exceptions are logged."""
        self._add(_Listener(callback, follows=False))

    def when_settled(self, callback: Callable[[], object]) -> None:
        """Call `callback` when it is over for all threads, at once if it is."""
        self._add(_Listener(callback, follows=True))

    def _add(self, listener: _Listener) -> None:
        """Have a listener called in time, or call it now if it is too late for that."""
        me = get_ident()
        with _lock:
            state = self._state
            # While the callbacks run, it is over for their thread, and not yet for what follows.
            in_time = state == PENDING or (
                listener.follows and state == SETTLING and self._settling_thread != me
            )
            if in_time:
                listener.before = self._listeners
                self._listeners = listener
        if not in_time:
            self._run(listener.call)

    def _call(self, last: _Listener | None, follow: bool) -> None:
        """Call the listeners that follow, or those that do not, in the order of their coming."""
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
            for listener in listeners:  # the rest, if Ctrl-C has struck in one of them
                self._run(listener.call)

    def _run(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:  # SystemExit, say: the others are to be called, too
            if is_ctrl_c(error):
                raise
            import logging

            logging.getLogger("pmap").exception("a callback of %s raised", self.name)
