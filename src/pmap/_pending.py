"""What is under way and ends once: the half of a future that callers share.

A job of a pool is one, and so is what is made of jobs: several gathered, one with a function
behind.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

from ._errors import CancelledError, is_ctrl_c
from ._eventloop import until

__all__ = ["Pending", "waits_for_itself"]

_lock = threading.Lock()  # one for all: held for two lines, and these objects stay small


def _renew_lock() -> None:
    """Have a lock of our own in a fork: a thread that is lost may have held the old one."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


_NONE_YET: list[Any] = []  # of all that are pending: nobody changes it


def waits_for_itself(name: str) -> RuntimeError:
    """Return the error of a wait, in the books of a pool, for what that pool is to do."""
    return RuntimeError(
        f"{name} would be waited for in vain: its pool can only go on when the pickling method or "
        "signal handler that waits has returned. Take the result before that"
    )


class Pending:
    """Something that ends once: with `error`, or with `values`."""

    __slots__ = (
        "_callbacks",
        "_event",
        "_followers",
        "_settled",
        "_settler",
        "_told",
        "done",
        "error",
        "total",
        "values",
    )

    def __init__(self, total: int) -> None:
        """Begin; `total`: how many items there are."""
        self.total: int = total
        self.done: int = 0
        self.error: Exception | None = None
        # The results, once it is over without an error. Any: callers' types know what they are.
        self.values: list[Any] = _NONE_YET
        self._told = False
        self._event: threading.Event | None = None  # made when somebody waits
        self._settled = False  # the callbacks have run, or do so now
        self._callbacks: list[Callable[[], object]] | None = None  # made when there is one
        self._followers: list[Callable[[], object]] | None = None  # made when somebody follows
        self._settler: int | None = None

    @property
    def name(self) -> str:
        """What it is, for messages."""
        raise NotImplementedError

    # --- the side that knows -------------------------------------------------------------------

    def _finished(self, items: int) -> None:
        self.done += items

    def settle(self) -> None:
        """Run the callbacks, then let go those who wait; a second time it does nothing.

        The callbacks come first, as in ``multiprocessing``: who has waited finds them done.
        """
        with _lock:
            if self._settled:
                return
            self._settled = True
            callbacks, self._callbacks = self._callbacks, None
        self._settler = threading.get_ident()
        try:
            self._round_off()
            for callback in callbacks or ():
                self._run(callback)
        finally:
            # Whatever strikes above, nobody waits for ever.
            with _lock:
                self._told = True
                followers, self._followers = self._followers, None
            if self._event is not None:
                self._event.set()
            self._settler = None
            for follower in followers or ():
                self._run(follower)

    def _round_off(self) -> None:
        """Do what is left to do when the outcome is known, before anybody hears of it."""

    def abandon(self, error: Exception) -> None:
        """Be over with `error`, in a fork: the old event's lock may be held by a lost thread."""
        self._settled = True
        self._callbacks = None
        self.error = error
        self._told = True
        self._event = None

    def _cancel(self) -> None:
        """Ask those who do the work to end it; a `Pending` that has no way to is let be."""

    def needs_this_thread(self) -> bool:
        """Return whether it cannot end while this very thread waits for it."""
        return False

    # --- the side that waits -------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the outcome is known, and the callbacks have run (or are this very caller)."""
        return self._told or (self._settler is not None and self._settler == threading.get_ident())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over, at most `timeout` seconds; return whether it is."""
        if self.over:
            return True
        if timeout is None and self.needs_this_thread():
            raise waits_for_itself(self.name)
        with _lock:
            if self._event is None:
                self._event = threading.Event()
            if self._told:
                return True
        return self._event.wait(timeout)

    async def await_end(self) -> None:
        """Return when it is over, without blocking the event loop."""
        if not self.over:
            await until(self.when_told)

    def progress(self) -> tuple[int, int]:
        """Return how many items are finished, and how many there are."""
        return self.done, self.total

    def cancel(self) -> bool:
        """Ask for its end; return whether the outcome was still open."""
        if self.over:
            return False
        self._cancel()
        return isinstance(self.error, CancelledError) or not self.over

    def when_over(self, callback: Callable[[], object]) -> None:
        """Call `callback` when it is over, at once if it is; its exceptions are logged."""
        with _lock:
            if not self._settled:
                self._callbacks = self._callbacks or []
                self._callbacks.append(callback)
                return
        self._run(callback)

    def when_told(self, callback: Callable[[], object]) -> None:
        """Call `callback` when those who wait are let go: for all threads, it is over then."""
        with _lock:
            if not self.over:
                self._followers = self._followers or []
                self._followers.append(callback)
                return
        self._run(callback)

    def _run(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:  # SystemExit, say, would keep the others from being called
            if is_ctrl_c(error):
                raise
            import logging

            logging.getLogger("pmap").exception("a callback of %s raised", self.name)
