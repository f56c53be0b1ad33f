"""What an item does to its surroundings, seen to before the next item begins.

What it changed is undone; what it printed, or wrote to files, is passed on.
"""

from __future__ import annotations

import os
import sys

from .._transport.environment import apply_environment, capture_environment
from .._transport.light_stdlib import signal
from .._transport.settings import apply_settings, apply_zone
from .open_files import OpenFiles
from .traces import FORKED, OPENED, WRITES, traces

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._transport.environment import Environment
    from .streams import Streams

# Whatever an item makes of `os._exit`: a fork must not come back to the caller's code.
exit_process = os._exit


def end_after(seconds: float) -> None:
    """Let the system end this process in so many seconds, whatever keeps it; 0: not any more."""
    if hasattr(signal, "setitimer"):
        # Without a handler it ends the process, also what never lets go of the interpreter's lock.
        # Not faulthandler's timer: a fork of a program that has one running would wait for it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.setitimer(signal.ITIMER_REAL, seconds)


_TELLING = frozenset({"os.chdir", "os.putenv", "os.unsetenv"})
_READS = frozenset("rbtU")  # what a mode has that does not write
_WATCHED = _TELLING | {"open", "import"}

# By the name of a module: what to call when it is about to be imported.
imports: dict[str, Callable[[], None]] = {}


def _notice(event: str, given: tuple[object, ...]) -> None:
    if event in _WATCHED:
        if event == "open":
            if type(given[1]) is str and not _READS.issuperset(given[1]):
                traces.append(OPENED)
        elif event != "import":
            traces.append(event)
        elif given[0] in imports:
            imports.pop(str(given[0]))()


class Surroundings:
    """Directory, environment and the like, as each item is to find them."""

    def __init__(self) -> None:
        self._environment: Environment | None = None  # the caller's that is in place
        self._own: Environment | None = None  # what an item is to find
        self._least_recursion = 0  # the limit that an item is to have, at least
        self._applied = sys.getrecursionlimit()  # the limit that was put in place last
        self._streams: Streams | None = None
        self._files = OpenFiles()

    def begin(self, environment: Environment, streams: Streams) -> None:
        """Put in place what a worker begins with; then take note of what items do.

        What they print goes to `streams`. Where this was done before the process was forked, in
        the same environment, what the script has set when it was imported stays.
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
        """See to what was done since the last item, and let no line wait any more."""
        if traces:
            self.tidy()
        if self._streams is not None:
            self._streams.send_lines()

    def apply(self, environment: Environment) -> None:
        """Put in place what a call found at its caller."""
        if environment is not self._environment:
            self._environment = self._own = environment
            apply_environment(environment)
            self.tidy()

    def keep(self) -> None:
        """Let what is in place now, which the initializer has set, be there for all items."""
        self._own = capture_environment()
        self._notice_recursion()
        self.tidy()

    def apply_settings(self) -> None:
        """Put in place the settings of the call whose chunk begins, whatever an item made of them.

        A recursion limit that was raised here stays: a module that does so when it is imported
        needs it.
        """
        self._notice_recursion()
        if self._own is not None:
            apply_settings(self._own[3], self._least_recursion)
        self._applied = sys.getrecursionlimit()

    def _notice_recursion(self) -> None:
        if sys.getrecursionlimit() > self._applied:
            self._least_recursion = sys.getrecursionlimit()

    def tidy(self) -> None:
        """See to what an item did, so that the next one finds its own surroundings.

        What returns from an item in a process that the item forked is no worker: it ends here.
        """
        done = set(traces)
        if FORKED in done:
            exit_process(0)
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
            traces.append(WRITES)  # to be seen to after each item
