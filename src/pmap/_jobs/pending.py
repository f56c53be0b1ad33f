"""What is under way and ends once: the half of a future that callers share.

A job of a pool is one, and so is what is made of jobs: several gathered, one with a function
behind.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._errors import CancelledError, is_ctrl_c
from .._transport.light_stdlib import allocate_lock, get_ident
from .event_loops import until

if TYPE_CHECKING:  # imported when somebody waits: it is not light
    from threading import Event

# One for all: held for a few lines, and these objects stay small. In these lines nothing is called
# or made, and nothing loops: there the interpreter may run a signal's handler, or collect garbage
# whose finaliser cancels a call; and who comes here again in this thread would wait for itself.
_lock = allocate_lock()


def _renew_lock() -> None:
    """Have a lock of our own in a fork: a thread that is lost may have held the old one."""
    global _lock
    _lock = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


_TOLD = 0  # which is no thread
NONE_YET: list[Any] = []  # the values of all that are pending; nobody changes it, or gets it


def waits_for_itself(name: str) -> RuntimeError:
    """Return the error of a thread that holds a pool's lock and waits for that pool."""
    return RuntimeError(
        f"{name} would be waited for in vain: its pool can only go on when the pickling method or "
        "signal handler that waits has returned. Take the result before that"
    )


class _Listener:
    """Who is to be called when something is over, and who said so before."""

    __slots__ = ("before", "call", "follows")

    def __init__(self, call: Callable[[], object], follows: bool) -> None:
        self.call = call
        self.follows = follows  # when those who wait are let go, behind the callbacks
        self.before: _Listener | None = None


class Pending:
    """Something that ends once: with `error`, or with `values`."""

    # There may be millions: what one needs only later is made then.
    __slots__ = ("_event", "_listeners", "_settler", "error", "values")

    def __init__(self) -> None:
        """Begin."""
        self.error: Exception | None = None
        # The results, once it is over without an error. Any: callers' types know what they are.
        self.values: list[Any] = NONE_YET
        self._event: Event | None = None  # made when somebody waits
        self._listeners: _Listener | None = None  # the last one
        # Nobody yet; the thread that runs the callbacks; or nobody any more.
        self._settler: int | None = None

    @property
    def name(self) -> str:
        """What it is, for messages."""
        raise NotImplementedError

    # --- the side that knows -------------------------------------------------------------------

    def settle(self) -> None:
        """Run the callbacks, then let go those who wait; a second time it does nothing.

        The callbacks come first, as in ``multiprocessing``: who has waited finds them done.
        """
        me = get_ident()
        with _lock:
            if self._settler is not None:
                return
            self._settler = me
            listeners = self._listeners  # no callback comes any more
        try:
            self._round_off()
            self._call(listeners, follow=False)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Let those go who wait. Wherever Ctrl-C strikes, before it or within, nobody is left."""
        listeners: _Listener | None = None
        try:
            with _lock:
                self._settler = _TOLD
                listeners = self._listeners
                self._listeners = None
        finally:
            try:
                if self._event is not None:
                    self._event.set()
            finally:
                if self._event is not None:
                    self._event.set()  # for all, where the first was struck before it told them
                self._call(listeners, follow=True)

    def _round_off(self) -> None:
        """Do what is left to do when the outcome is known, before anybody hears of it."""

    def after_fork_in_child(self, error: Exception) -> None:
        """Be over with `error`, in a fork: the old event's lock may be held by a lost thread."""
        self._listeners = None
        self.error = error
        self._settler = _TOLD
        self._event = None

    def _cancel(self) -> None:
        """Ask those who do the work to end it; a `Pending` that has no way to is let be."""

    def tend(self, enough: Callable[[], bool]) -> None:
        """Work on it where only this very thread can, until it is over, or `enough` says so.

        Whoever waits without a limit calls it before.

        Raises:
            RuntimeError: it cannot go on before this thread has returned from where it is.
        """

    # --- the side that waits -------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the outcome is known, and the callbacks have run (or are this very caller)."""
        settler = self._settler
        return settler == _TOLD or (settler is not None and settler == get_ident())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over, at most `timeout` seconds; return whether it is."""
        if self.over:
            return True
        if timeout is None:
            self.tend(lambda: self.over)
        event = self._event
        if event is None:
            from threading import Event

            event = Event()
        with _lock:
            if self._event is None:
                self._event = event
            event = self._event
            told = self._settler == _TOLD
        return told or event.wait(timeout)

    async def await_end(self) -> None:
        """Return when it is over, without blocking the event loop."""
        if not self.over:
            await until(self.when_told)

    def progress(self) -> tuple[int, int]:
        """Return how many items are finished, and how many there are."""
        raise NotImplementedError

    def cancel(self) -> bool:
        """Ask for its end; return whether the outcome was still open."""
        if self.over:
            return False
        self._cancel()
        return isinstance(self.error, CancelledError) or not self.over

    def when_over(self, callback: Callable[[], object]) -> None:
        """Call `callback` when it is over, at once if it is; its exceptions are logged."""
        self._add(_Listener(callback, follows=False))

    def when_told(self, callback: Callable[[], object]) -> None:
        """Call `callback` when those who wait are let go: for all threads, it is over then."""
        self._add(_Listener(callback, follows=True))

    def _add(self, listener: _Listener) -> None:
        """Let somebody be called in time; at once, if it is too late for that."""
        me = get_ident()
        with _lock:
            settler = self._settler
            # While the callbacks run, it is over for them, and not yet for those who follow.
            in_time = settler is None or (listener.follows and settler != _TOLD and settler != me)
            if in_time:
                listener.before = self._listeners
                self._listeners = listener
        if not in_time:
            self._run(listener.call)

    def _call(self, last: _Listener | None, follow: bool) -> None:
        """Call those who follow, or those who do not, in the order in which they came."""
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
            for listener in listeners:  # those behind one that Ctrl-C struck in
                self._run(listener.call)

    def _run(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:  # SystemExit, say, would keep the others from being called
            if is_ctrl_c(error):
                raise
            import logging

            logging.getLogger("pmap").exception("a callback of %s raised", self.name)
