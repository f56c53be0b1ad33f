"""Progress of calls: pmap calls a user's function, or moves a bar, as items are finished.

Showing progress adds no work to the run of an item or a chunk. While there is a call to be shown,
one thread reads certain numbers every tenth of a second. The jobs count these numbers anyway; and
the number of finished items is noted by the workers in memory that they share with the caller. The
thread holds no lock of the engine, so a slow function for progress delays only the next call of
that function.
"""

import os
import sys
import threading
import warnings
from collections.abc import Callable
from contextvars import copy_context
from time import monotonic
from typing import Any, TypeAlias

from .._calls.describe import name_of
from .._errors import is_ctrl_c
from .._transport.process_role import daemon, inside_item
from .._types import Progress, Show
from .job import Job
from .progress_bar import Bar

Teller: TypeAlias = Callable[[Progress], object]
# The counts of a call's items: finished items, all items (None: not known yet), failed items, and
# further tries of failed items.
_Counts: TypeAlias = tuple[int, int | None, int, int]

# Seconds between two updates of the progress. An eye hardly follows more updates, and more would
# slow down a terminal.
_PERIOD = 0.1
# If another thread is in the user's function for progress when a call ends, the call waits at most
# this many seconds for that thread.
_LAST_WAIT = 1.0


def watch(job: Job) -> None:
    """Show the progress of a call from now to its end, unless nobody would see it.

    The first update is made in this thread, because a notebook shows a bar in the cell of the
    thread that makes the bar.
    """
    tell = _teller(job.call.progress)
    if tell is None:
        return
    one = _Watch(job, tell)
    # The last update is arranged before the first one is made. So wherever Ctrl-C interrupts this
    # code, a bar or function that got the first update also gets the last one.
    _watches[job.number] = one
    job.when_over(one.end)
    if not job.over:
        one.begin()
        _see_to_a_thread()


def watch_no_more(job: Job) -> None:
    """Stop showing the progress of a call that its caller has given up, and which ends soon."""
    one = _watches.get(job.number)
    if one is not None:
        one.end()


def _teller(show: Show) -> Teller | None:
    """Return the function or bar that gets the progress; None if nobody would see a bar."""
    if callable(show):
        return show
    if inside_item() or not _is_seen():
        return None
    return Bar(show if isinstance(show, str) else None)


def _is_seen() -> bool:
    """Return whether anybody would see a bar on stderr, in a terminal or a notebook."""
    try:
        return sys.stderr.isatty() or _is_notebook()
    except Exception:
        # stderr may be None or closed, or an object of the program without these methods.
        return False


def _is_notebook() -> bool:
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class _Watch:
    """Shows the progress of one call."""

    def __init__(self, job: Job, tell: Teller) -> None:
        self._job = job
        self._tell = tell
        # A copy of the caller's context; the user's function is called in it.
        self._context = copy_context()
        self._began = monotonic()
        name = name_of(job.call.function)
        # The label of a bar is the name of the function. For a lambda, or the function that `pcall`
        # runs, the label is the name of the verb, because theirs would say nothing.
        says_nothing = name == "<lambda>" or job.call.verb == "pcall"
        self._label = job.call.verb if says_nothing else name
        self._told: _Counts | None = None
        self._lock = threading.Lock()  # a thread holds this lock while it calls the function or bar
        self._holder: int | None = None
        self._over = False
        self._has_ended = False
        self._has_failed = False

    def begin(self) -> None:
        """Make the first update, which says that no item is finished."""
        self._tell_if_free((0, self._job.known_total, 0, 0))

    def refresh(self) -> None:
        """Make an update if the numbers have changed, unless another thread is making one."""
        self._tell_if_free(None)

    def _tell_if_free(self, given: _Counts | None) -> None:
        if self._lock.acquire(blocking=False):
            try:
                counts = given or self._counts()
                if counts != self._told and not self._over and not self._has_failed:
                    self._call(counts, finished=False)
            finally:
                self._lock.release()
            # Another thread may have ended the call while this thread held the lock. It found the
            # lock held and made no update, so this thread makes the last one.
            if self._over:
                self.end()

    def end(self) -> None:
        """Make the last update, because the call has ended or its caller has given it up.

        If this is called a second time, nothing happens.
        """
        # `_over` is set before this thread asks for the lock. The thread that holds the lock reads
        # `_over` after it has released the lock. So one of the two makes the last update.
        self._over = True
        try:
            # If this thread holds the lock, the user's function for progress has itself ended the
            # call.
            if self._holder != threading.get_ident():
                self._tell_end()
        finally:
            # The call is removed only now. So a second thread that ends the same call still finds
            # it, and waits for the lock.
            _watches.pop(self._job.number, None)
            if not _watches:
                with _change:
                    _change.notify_all()

    def _tell_end(self) -> None:
        if self._lock.acquire(timeout=_LAST_WAIT):
            try:
                if not self._has_ended:
                    self._has_ended = True
                    self._call(self._counts(), finished=True)
            finally:
                self._lock.release()

    def _counts(self) -> _Counts:
        job = self._job
        # `job.done` counts the results that have come. It is read before the number of finished
        # items whose results have not come yet, so no item is counted twice.
        done = job.done
        # If failed items are tried again, an item counts as finished only when its result has come.
        if not (job.over or job.call.rules.retries):
            done += job.finished_ahead()
        if self._told is not None:
            # A result that comes between the two reads is in neither number, so the sum may be too
            # low. The number that is shown never falls all the same.
            done = max(done, self._told[0])
        total = job.known_total
        done = done if total is None else min(done, total)
        tried = job.tried
        return done, total, job.failed, sum([*tried.values()]) if tried else 0

    def _call(self, counts: _Counts, finished: bool) -> None:
        """Call the user's function or the bar; the calling thread holds the lock."""
        self._told = counts
        event = Progress(*counts, monotonic() - self._began, self._label, finished)
        self._holder = threading.get_ident()
        try:
            self._context.run(self._tell, event)
        except BaseException as error:
            # An error in the user's function does not end the call, but Ctrl-C does.
            if is_ctrl_c(error):
                raise
            if not self._has_failed:
                self._has_failed = True
                _warn(self._tell, error)
        finally:
            self._holder = None

    def disown(self) -> None:
        """Stop using the bar in a forked process: it belongs to the parent process."""
        if isinstance(self._tell, Bar):
            self._tell.disown()


def _warn(tell: Teller, error: BaseException) -> None:
    what = "the progress bar" if isinstance(tell, Bar) else f"progress={name_of(tell)}"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
    text = f"{what} raised {type(error).__name__}: {error}{where}; the call goes on without it"
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    except RuntimeWarning:
        # The program has turned warnings into errors. Such an error must not end the call, so it is
        # logged.
        import logging

        logging.getLogger("pmap").exception("%s", text)


# --- the thread that updates all progress shown --------------------------------------------------

_watches: dict[int, _Watch] = {}  # the calls that are shown, by the numbers of their jobs
_thread: threading.Thread | None = None
# Guards `_thread`. The lock of the condition is reentrant, because a signal handler may ask for it
# in the thread that holds it.
_change = threading.Condition()


def _see_to_a_thread() -> None:
    """Start the thread that updates the progress, if there is none.

    If no thread can be started, only the first and the last update are made.
    """
    global _thread
    with _change:
        if _thread is None:
            # The thread is a daemon, so that the interpreter does not wait for a user's function
            # that never ends.
            thread = threading.Thread(target=_look, name="pmap-progress", daemon=daemon())
            try:
                thread.start()
            except RuntimeError:  # no thread: only the first and last update are made
                return
            _thread = thread


def _look() -> None:
    global _thread
    while True:
        with _change:
            if _watches:
                _change.wait(_PERIOD)
            if not _watches:
                # `_thread` is cleared while the lock is held: a thread that adds a call later
                # starts a new thread.
                _thread = None
                return
        for one in [*_watches.values()]:
            one.refresh()


def _forget() -> None:
    """Show no more progress in a forked process: calls and bars belong to the parent process."""
    global _thread, _change
    for one in _watches.values():
        one.disown()
    _watches.clear()
    _thread = None
    # A thread that does not exist in this process may hold the lock of the old condition.
    _change = threading.Condition()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
