"""An end to every test that hangs: it fails alone, shows where everybody is, and the next one runs.

A plugin of pytest. Set-up, call and tear-down of a test have `HARD_LIMIT` each; the call may have
another limit, by ``@pytest.mark.limit(seconds)``. Then a timer's signal raises `Late` in the main
thread, whatever that waits for: a lock, a socket, a process. Before that the processes that this
run has started are killed, and their stacks are part of the message, beside those of the threads of
this process. Code that swallows `Late` has it again every few seconds.

What is left is two cases in which the whole run ends, though only later and with stacks: where the
main thread is in C code that never looks for signals, or swallows everything for ever; and where
there is no such timer (on Windows).
"""

import ast
import faulthandler
import functools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator
from types import FrameType
from typing import Any, Final

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from _pytest.outcomes import OutcomeException
from tests.limits import HARD_LIMIT, seconds
from tests.processes import end_with_stacks, our_processes

AGAIN: Final = seconds(5)  # after so long it is raised again
LAST: Final = seconds(180)  # so long after the limit the run itself is ended
LATE: Final = pytest.StashKey[str]()  # of an item whose limit was reached: what is to be said


class Late(OutcomeException):
    """A test has not ended in time.

    No `Exception`, so that hardly anybody catches it; and not pytest's own failure, for which
    Hypothesis would look for a smaller example.
    """


class _Watch:
    """The test that is under way."""

    def __init__(self) -> None:
        self.item: pytest.Item | None = None
        self.phase = ""
        self.limit = 0.0
        self.process = 0
        self.has_timer = False


_watch: Final = _Watch()


def was_late(item: pytest.Item) -> bool:
    """Return whether a test has reached a limit so far."""
    return LATE in item.stash


def _parse_one_at_a_time() -> None:
    """Let only one thread at a time make syntax trees: two at once fail with SystemError.

    pytest makes them when it shows a failure, and `traceback` when a thread ends by an error. In
    Python 3.11 all threads share one count of the depth (python/cpython#106905).
    """
    parse, lock = ast.parse, threading.RLock()

    @functools.wraps(parse)
    def parse_alone(*args: Any, **options: Any) -> Any:
        with lock:
            return parse(*args, **options)

    ast.parse = parse_alone


if sys.version_info < (3, 12):
    _parse_one_at_a_time()


def pytest_configure(config: pytest.Config) -> None:
    """Let the mark be known, and workers tell their stacks when they are aborted."""
    config.addinivalue_line("markers", "limit(seconds): how long its call may take")
    os.environ["PYTHONFAULTHANDLER"] = "1"
    in_main_thread = threading.current_thread() is threading.main_thread()
    _watch.has_timer = hasattr(signal, "setitimer") and in_main_thread


# Inside of all other wrappers: pytest's own are not for interrupting.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Limit the set-up."""
    return (yield from _limited(item, "set-up"))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Limit the call."""
    return (yield from _limited(item, "call"))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Limit the tear-down."""
    return (yield from _limited(item, "tear-down"))


def _limited(item: pytest.Item, phase: str) -> Generator[None, object, object]:
    marker = item.get_closest_marker("limit") if phase == "call" else None
    limit = HARD_LIMIT if marker is None else seconds(float(marker.args[0]))
    if item.config.getoption("usepdb", False):  # a person takes as long as a person takes
        return (yield)
    stderr = item.config.stash.get(fault_handler_stderr_fd_key, 2)  # that capturing does not hide
    _watch.item, _watch.phase, _watch.limit, _watch.process = item, phase, limit, os.getpid()
    faulthandler.dump_traceback_later(
        limit + LAST if _watch.has_timer else limit, exit=True, file=stderr
    )
    if _watch.has_timer:
        signal.signal(signal.SIGALRM, _strike)  # a test before may have put another in its place
        signal.setitimer(signal.ITIMER_REAL, limit, AGAIN)
    before = item.stash.get(LATE, "")
    try:
        result = yield
        if item.stash.get(LATE, "") != before:  # what was tested has swallowed it, and went on
            raise Late(item.stash[LATE])
        return result
    finally:
        _watch.item = None
        if _watch.has_timer:
            signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def _strike(number: int, frame: FrameType | None) -> None:
    __tracebackhide__ = True
    item = _watch.item
    if os.getpid() != _watch.process:  # a fork of this process, whose alarm is its own
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    if item is None:
        return
    signal.setitimer(signal.ITIMER_REAL, 0)  # it takes a while to ask everybody
    try:
        item.stash[LATE] = f"the {_watch.phase} of this test was late"  # whatever strikes here
        text = "\n\n".join(
            [
                f"the {_watch.phase} of this test did not end within {_watch.limit} s",
                *_stacks(),
                *end_with_stacks(our_processes()),
            ]
        )
        item.stash[LATE] = text
    finally:
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
    raise Late(text)


def _stacks() -> list[str]:
    """Return where each thread of this process is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        f"thread {names.get(ident, ident)}\n" + "".join(traceback.format_stack(frame))
        for ident, frame in sys._current_frames().items()
    ]
