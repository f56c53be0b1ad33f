"""Shows how far calls are: tells a function, or a bar, what is finished of each.

Nothing is told by those who run the calls, and no item or chunk costs anything for it. One thread,
there while there is a call to be shown, looks now and then at what the jobs count anyway, and at
what workers have noted in their journals of chunks that are not finished. It holds no lock of the
engine, so a function that takes its time delays nothing but what it is told next.
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
from .._transport.process_role import inside_item
from .._types import Progress, Show
from .job import Job
from .progress_bar import Bar

Teller: TypeAlias = Callable[[Progress], object]
# Items that are finished, all, failed; and further tries.
_Counts: TypeAlias = tuple[int, int | None, int, int]

_PERIOD = 0.1  # seconds between two looks: as often as an eye can follow, and no terminal minds
# Seconds for which the end of a call waits for a function that is being called in another thread.
_LAST_WAIT = 1.0


def watch(job: Job) -> None:
    """Show how far a call is, from now to its end, if anybody sees it.

    The first time in this thread: a notebook shows a bar where the thread is that makes it.
    """
    tell = _teller(job.call.progress)
    if tell is None:
        return
    one = _Watch(job, tell)
    # In this order: wherever Ctrl-C strikes, who has been told something is told of the end.
    _watches[job.number] = one
    job.when_over(one.end)
    if not job.over:
        one.begin()
        _see_to_a_thread()


def watch_no_more(job: Job) -> None:
    """Show a call no more: it was given up, and ends a moment later."""
    one = _watches.get(job.number)
    if one is not None:
        one.end()


def _teller(show: Show) -> Teller | None:
    """Return what is to be told, None where nobody would see it."""
    if callable(show):
        return show
    if inside_item() or not _is_seen():
        return None
    return Bar(show if isinstance(show, str) else None)


def _is_seen() -> bool:
    """Return whether there is a terminal, or a notebook, to show a bar."""
    try:
        return sys.stderr.isatty() or _is_notebook()
    except Exception:  # it is None, closed, or of the program's own make
        return False


def _is_notebook() -> bool:
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class _Watch:
    """One call that is shown."""

    def __init__(self, job: Job, tell: Teller) -> None:
        self._job = job
        self._tell = tell
        self._context = copy_context()  # the caller's variables, for the function
        self._began = monotonic()
        name = name_of(job.call.function)
        # Of a lambda and of what `pcall` calls the name says nothing.
        says_nothing = name == "<lambda>" or job.call.verb == "pcall"
        self._label = job.call.verb if says_nothing else name
        self._told: _Counts | None = None
        self._lock = threading.Lock()  # held while the function is called
        self._holder: int | None = None
        self._over = False
        self._has_ended = False
        self._has_failed = False

    def begin(self) -> None:
        """Tell that there is a call: of none of its items, whatever is finished by now."""
        self._tell_if_free((0, self._job.known_total, 0, 0))

    def refresh(self) -> None:
        """Tell what is new, unless another thread does so just now."""
        self._tell_if_free(None)

    def _tell_if_free(self, given: _Counts | None) -> None:
        if self._lock.acquire(blocking=False):
            try:
                counts = given or self._counts()
                if counts != self._told and not self._over and not self._has_failed:
                    self._call(counts, finished=False)
            finally:
                self._lock.release()
            # It may have ended meanwhile, and not have waited.
            if self._over:
                self.end()

    def end(self) -> None:
        """Tell the last: the call has ended, or is given up. A second time it does nothing."""
        self._over = True  # before the lock is asked for: who holds it looks at this afterwards
        _watches.pop(self._job.number, None)
        if not _watches:
            with _change:
                _change.notify_all()
        if self._holder == threading.get_ident():
            return  # it is the function itself that has ended the call
        if self._lock.acquire(timeout=_LAST_WAIT):
            try:
                if not self._has_ended:
                    self._has_ended = True
                    self._call(self._counts(), finished=True)
            finally:
                self._lock.release()

    def _counts(self) -> _Counts:
        job = self._job
        done = job.done  # before the others are counted: see `Backend.finished_ahead`
        # With retries nobody knows whether an item is finished before its result is there.
        if not (job.over or job.call.rules.retries):
            done += job.finished_ahead()
        if self._told is not None:
            done = max(done, self._told[0])  # what was noted may be on its way at this moment
        total = job.known_total
        done = done if total is None else min(done, total)
        tried = job.tried
        return done, total, job.failed, sum([*tried.values()]) if tried else 0

    def _call(self, counts: _Counts, finished: bool) -> None:
        """Call the function; in the lock."""
        self._told = counts
        event = Progress(*counts, monotonic() - self._began, self._label, finished)
        self._holder = threading.get_ident()
        try:
            self._context.run(self._tell, event)
        except BaseException as error:  # it is of no consequence for the call, but for Ctrl-C
            if is_ctrl_c(error):
                raise
            if not self._has_failed:
                self._has_failed = True
                _warn(self._tell, error)
        finally:
            self._holder = None

    def disown(self) -> None:
        """Let be what a fork has of its parent's call: the bar is the parent's."""
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
    except RuntimeWarning:  # warnings are errors: raised from here, it would end the call
        import logging

        logging.getLogger("pmap").exception("%s", text)


# --- the thread ----------------------------------------------------------------------------------

_watches: dict[int, _Watch] = {}  # by the numbers of the calls; those that are shown
_thread: threading.Thread | None = None
_change = threading.Condition()  # reentrant: a signal's handler may come here again


def _see_to_a_thread() -> None:
    """Have a thread that looks, if one can be had: else only beginning and end are told."""
    global _thread
    with _change:
        if _thread is None:
            # A daemon: the interpreter does not wait for a function that does not return.
            thread = threading.Thread(target=_look, name="pmap-progress", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there are too many, or the interpreter is ending
                return
            _thread = thread


def _look() -> None:
    global _thread
    while True:
        with _change:
            if _watches:
                _change.wait(_PERIOD)
            if not _watches:
                _thread = None  # in the lock: who adds a call from here on starts another one
                return
        for one in [*_watches.values()]:
            one.refresh()


def _forget() -> None:
    """Show nothing more, in a fork: the calls are the parent's, and so are their bars."""
    global _thread, _change
    for one in _watches.values():
        one.disown()
    _watches.clear()
    _thread = None
    _change = threading.Condition()  # the old one may be held by a thread that is not here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
