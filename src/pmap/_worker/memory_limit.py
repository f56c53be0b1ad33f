"""Code that measures the memory of a worker, and ends the worker above its memory limit."""

from __future__ import annotations

import mmap
import os
import sys
from time import sleep

from .._transport.light_stdlib import signal
from .._transport.shadows import standard_library

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any

    from .._transport.journal import ResultJournal

_LOOK = 0.02  # seconds between two measurements while an item runs
# Seconds that the main thread gets to write its stack before the process is killed.
_LAST_WORDS = 0.5
# Bytes of memory that this process does not count as its own: see `leave_out_the_callers`.
_callers = 0


def leave_out_the_callers() -> None:
    """Count from now on only the memory that this process takes beside what it has already.

    A worker that was forked from the caller calls this function first. All that the worker has then
    is the caller's, too: the kernel copies a page only when one of the two processes writes to it.
    """
    global _callers
    _callers = resident()


def taken() -> int:
    """Return how many bytes of memory this worker has taken."""
    return resident() - _callers


def resident() -> int:
    """Return how many bytes of memory this process takes.

    Where the system has no ``/proc``, return the most bytes that this process has taken so far.
    """
    if sys.platform == "win32":
        return _working_set()
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _working_set() -> int:
    """Return how many bytes of memory this process has; 0 if Windows does not tell."""
    with standard_library:
        import ctypes

    class Counters(ctypes.Structure):
        """The structure PROCESS_MEMORY_COUNTERS of Windows."""

        _fields_ = (
            ("size", ctypes.c_uint32),
            ("faults", ctypes.c_uint32),
            ("peak", ctypes.c_size_t),
            ("working_set", ctypes.c_size_t),
            ("others", ctypes.c_size_t * 6),
        )
        size: int
        working_set: int

    kernel: Any = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009  # only Windows has it
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    ask = kernel.K32GetProcessMemoryInfo
    ask.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    counters = Counters()
    counters.size = ctypes.sizeof(counters)
    ask(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.size)
    return counters.working_set


class MemoryWatch:
    """A thread that ends this process when it takes too much memory while an item runs."""

    def __init__(self, limit: int, journal: ResultJournal | None) -> None:
        with standard_library:
            import threading

        self.busy = threading.Event()
        self._limit = limit
        self._journal = journal
        self._main = threading.get_ident()
        threading.Thread(target=self._run, name="pmap-memory", daemon=True).start()

    def _run(self) -> None:
        while self.busy.wait():
            if taken() > self._limit:
                if self._journal is not None:
                    self._journal.note_oversize()
                if sys.platform == "win32":
                    os.kill(os.getpid(), signal.SIGTERM)  # on Windows this ends the process at once
                if self._journal is not None:
                    # At SIGABRT faulthandler writes the stack of the main thread behind the result
                    # journal, and the process ends. If the process does not end in time, it is
                    # killed.
                    signal.pthread_kill(self._main, signal.SIGABRT)
                    sleep(_LAST_WORDS)
                os.kill(os.getpid(), signal.SIGKILL)
            sleep(_LOOK)
