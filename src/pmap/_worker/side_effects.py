"""Undoing, before the next item, what an item has changed in its worker process.

The worker undoes changes of the directory and of environment variables. The worker also sends the
caller what the item printed, and flushes the files that the item wrote to.
"""

from __future__ import annotations

import os
import sys

from .._transport import process_role
from .._transport.environment import apply_environment, capture_environment, current_directory
from .._transport.light_stdlib import signal
from .._transport.process_settings import apply_process_settings
from .._transport.settings import apply_settings, apply_zone
from .open_files import OpenFiles
from .traces import FORKED, OPENED, WRITES, traces

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from .._transport.environment import Environment
    from .streams import Streams

# The function `os._exit` is kept here: forked processes must end by this function, and an item may
# replace it in `os`.
exit_process = os._exit


def end_after(seconds: float) -> None:
    """Have the system end this process after `seconds`, whatever it is doing; 0: never."""
    if hasattr(signal, "setitimer"):
        # SIGALRM without a handler ends the process, even if a thread never releases the
        # interpreter's lock. faulthandler has such a timer, too; but a process that is forked
        # meanwhile waits for that timer.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return
    # Windows has no timer that sends SIGALRM, and no forks. `faulthandler` is imported only here,
    # because Python loads it in the main interpreter of a process only.
    import faulthandler

    if seconds:
        faulthandler.dump_traceback_later(seconds, exit=True, file=_nowhere())
    else:
        faulthandler.cancel_dump_traceback_later()


_kept: list[TextIO] = []


def _nowhere() -> TextIO:
    """Return the null device, opened as a file that stays open."""
    if not _kept:
        _kept.append(open(os.devnull, "w"))  # noqa: SIM115  # it stays open
    return _kept[0]


def write_stack_at_crash(fd: int) -> None:
    """Have the stack written into the file `fd` if this process crashes or gets SIGABRT.

    C code writes the stack, whatever Python code does at that moment. A worker that shares the
    caller's process writes no stack, and closes `fd`: that process is the caller's.
    """
    if process_role.shares_process:
        os.close(fd)
    else:
        # `faulthandler` is imported only here: Python loads it in a process's main interpreter
        # only.
        import faulthandler

        faulthandler.enable(file=fd)


# The note by which the worker knows that an item has set an environment variable.
SET_VARIABLE = "os.putenv"
_TELLING = frozenset({"os.chdir", SET_VARIABLE, "os.unsetenv"})
# A file is opened for reading only if its mode has no other letters than these.
_READS = frozenset("rbtU")
_LIMITS = ("resource.setrlimit", "resource.prlimit")
_WATCHED = _TELLING | {"open", "import", *_LIMITS}
# The limits of the operating system that an item has changed, by their numbers: the soft and the
# hard limit that this process had before.
_limits_before: dict[int, tuple[int, int]] = {}

# For modules that were not imported yet: the function to call when the module is about to be
# imported.
imports: dict[str, Callable[[], None]] = {}


def _notice(event: str, given: tuple[object, ...]) -> None:
    if event in _WATCHED:
        if event == "open":
            if type(given[1]) is str and not _READS.issuperset(given[1]):
                traces.append(OPENED)
        elif event in _LIMITS:
            # The last two arguments are the number of the limit, and its new values.
            number = given[-2]
            if isinstance(number, int) and process_role.runs_items:
                _note_limit(number)
                traces.append(event)
        elif event != "import":
            traces.append(event)
        elif given[0] in imports:
            imports.pop(str(given[0]))()


def _note_limit(number: int) -> None:
    import resource

    if number not in _limits_before:
        _limits_before[number] = resource.getrlimit(number)


def _put_limits_back() -> None:
    """Give this process the limits that it had before items changed them.

    With the limit of an item, the worker might not be able to open a file or to get memory.
    """
    import resource

    for number, limits in _limits_before.items():
        try:
            resource.setrlimit(number, limits)
        except (ValueError, OSError):  # only root may raise the hard limit again
            most = resource.getrlimit(number)[1]
            resource.setrlimit(number, (most, most))
    _limits_before.clear()


class Surroundings:
    """Makes sure that each item finds the directory, environment variables etc. of its call."""

    def __init__(self) -> None:
        # The environment of the caller that this worker has put in place last.
        self._environment: Environment | None = None
        # What each item is to find: the environment `_environment`, with the changes that an
        # initializer has made.
        self._own: Environment | None = None
        self._least_recursion = 0  # the lowest recursion limit that an item may be given
        self._applied = sys.getrecursionlimit()  # the recursion limit that was put in place last
        self._streams: Streams | None = None
        self._files = OpenFiles()

    def begin(self, environment: Environment, streams: Streams) -> None:
        """Put the first environment of a worker in place, and begin to note what items change.

        What items print goes to `streams`. The process that imported the script calls this method
        before workers are forked from it. If a worker then has the same environment, what the
        script has set stays.
        """
        if environment == self._environment:
            self._environment = environment
        self.apply(environment)
        is_first, self._streams = self._streams is None, streams
        if not is_first:
            return
        sys.addaudithook(_notice)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: traces.append(FORKED))

    def end(self) -> None:
        """Tidy up after the last item; from now on send each printed line to the caller at once."""
        if traces:
            self.tidy()
        if self._streams is not None:
            self._streams.send_lines()

    def apply(self, environment: Environment) -> None:
        """Put in place the environment that the caller had at the time of a call."""
        if environment is not self._environment:
            before = self._environment
            self._environment = self._own = environment
            apply_environment(environment)
            told = None if before is None else before[3][7]
            if environment[3][7] is not told:
                apply_process_settings(environment[3][7], told)
            self.tidy()

    def keep(self) -> None:
        """Record the present environment, since all items are to find what an initializer set."""
        self._own = capture_environment(current_directory())
        self._notice_recursion()
        self.tidy()

    def apply_settings(self) -> None:
        """Put the settings of a call in place before its items run, in case an item changed them.

        A recursion limit that was raised in this process stays: if a module raises the recursion
        limit when it is imported, the module needs the higher limit.
        """
        self._notice_recursion()
        if self._own is not None:
            apply_settings(self._own[3], self._least_recursion)
        self._applied = sys.getrecursionlimit()

    def _notice_recursion(self) -> None:
        if sys.getrecursionlimit() > self._applied:
            self._least_recursion = sys.getrecursionlimit()

    def tidy(self) -> None:
        """Undo what an item changed, and pass on what it printed and wrote to files.

        If the item has forked a process, and that process comes to this method, too, it ends here:
        it is no worker.
        """
        done = set(traces)
        if FORKED in done:
            exit_process(0)
        # The limits are put back first: with a low limit, the rest of this method might fail.
        if _limits_before:
            _put_limits_back()
        if self._streams is not None:
            self._streams.flush()
        if OPENED in done:
            self._files.look()
        self._files.flush()
        if self._own is not None and not done.isdisjoint(_TELLING):
            apply_environment(self._own)
            apply_zone(self._own[3][6])
        traces.clear()
        if self._files:
            # A file that an item has opened for writing is still open. The note WRITES stays, so
            # that the worker flushes the file after each item until the file is closed.
            traces.append(WRITES)
