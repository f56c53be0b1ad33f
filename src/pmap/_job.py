"""One submitted call: what has come of it so far, and who waits for the rest."""

import threading
from collections.abc import Callable, Mapping, Sequence

from ._errors import CancelledError
from ._outcome import Failure
from ._record import format_traceback
from ._work import Work

__all__ = ["Job"]

_lock = threading.Lock()  # one for all: held for two lines, and jobs stay small


class Job:
    """The results of one call, filled by the driver, read by the caller."""

    def __init__(self, work: Work, cancel: Callable[["Job"], None]) -> None:
        self.work = work
        self.total: int = len(work.call.items)
        self.done: int = 0
        self.values: list[object] = [None] * self.total
        self.failures: dict[int, Exception] = {}
        self.error: Exception | None = None
        self._cancel = cancel
        self._told = False
        self._event: threading.Event | None = None  # made when somebody waits
        self._callbacks: list[Callable[[Job], object]] | None = []
        self._settler: int | None = None

    # --- the driver's side ---------------------------------------------------------------------

    def fill(self, start: int, values: Sequence[object], failures: Mapping[int, Exception]) -> None:
        """Take in the results of the items from `start` on; `failures` is by offset."""
        self.values[start : start + len(values)] = values
        for offset, error in failures.items():
            self.failures[start + offset] = error
        self.done += len(values)

    def lose(self, index: int, error: Exception) -> None:
        """Take in that an item has no result because of its worker."""
        self.failures[index] = error
        self.done += 1

    def settle(self) -> None:
        """Run the callbacks, then let go those who wait; a second time it does nothing.

        The callbacks come first, as in ``multiprocessing``: who has waited finds them done.
        """
        with _lock:
            callbacks, self._callbacks = self._callbacks, None
        if callbacks is None:
            return
        self._settler = threading.get_ident()
        try:
            if self.work.call.collect and self.error is None:
                for index, error in self.failures.items():
                    self.values[index] = self._failure(index, error)
                self.failures.clear()
            for callback in callbacks:
                _run(callback, self)
        finally:
            # Whatever strikes above, nobody waits for ever.
            with _lock:
                self._told = True
            if self._event is not None:
                self._event.set()
            self._settler = None

    def abandon(self, error: Exception) -> None:
        """Be over with `error`, in a fork: the old event's lock may be held by a lost thread."""
        self._callbacks = None
        self.error = error
        self._told = True
        self._event = None

    def _failure(self, index: int, error: Exception) -> Failure:
        item = self.work.item(index)
        remote: object = getattr(error.__cause__, "tb", None)  # multiprocessing's RemoteTraceback
        text = remote if isinstance(remote, str) else ""
        if not text and error.__traceback__ is not None:
            text = format_traceback(error)
        return Failure(error, index, item.function, item.input, text.strip().strip('"').strip())

    # --- the caller's side ---------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the outcome is known, and the callbacks have run (or are this very caller)."""
        return self._told or (self._settler is not None and self._settler == threading.get_ident())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over, at most `timeout` seconds; return whether it is."""
        if self.over:
            return True
        with _lock:
            if self._event is None:
                self._event = threading.Event()
            if self._told:
                return True
        return self._event.wait(timeout)

    def cancel(self) -> bool:
        """Ask for its end; return whether the outcome was still open."""
        if self.over:
            return False
        self._cancel(self)
        return isinstance(self.error, CancelledError) or not self.over

    def when_over(self, callback: Callable[["Job"], object]) -> None:
        """Call `callback` when it is over, at once if it is; its exceptions are logged."""
        with _lock:
            if self._callbacks is not None:
                self._callbacks.append(callback)
                return
        _run(callback, self)


def _run(callback: Callable[[Job], object], job: Job) -> None:
    try:
        callback(job)
    except Exception:
        import logging

        logging.getLogger("pmap").exception("a callback of %s raised", job.work.call.verb)
