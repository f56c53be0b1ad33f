"""Tries each backend and each start method with two calls.

The doctor goes on if a call fails, or does not end.
"""

import os
import time
import warnings
from collections.abc import Callable
from typing import Final, TypeAlias

from pmap import Map, pmap, shutdown

from .._backends.start_method import default_start_method
from .._calls.cpus import cpu_count
from .._calls.options import BACKENDS_HERE, START_METHODS
from .facts import Trial, Worker

# A call may take this many seconds. That is long, because the first start of a worker after a boot
# of the machine reads Python from the disk.
LIMIT: Final = 60.0
LONGEST: Final = 400  # at most this many characters of an error or warning are shown

# What a worker returns about itself: the fields of `Worker`, but as a tuple, so that the worker
# need not import the doctor.
Said: TypeAlias = tuple[int, int | None, str | None]


def try_methods() -> tuple[tuple[Trial, ...], Worker | None]:
    """Try each start method; return the outcomes, and facts about a worker of the default one."""
    trials: list[Trial] = []
    known: Worker | None = None
    for method in START_METHODS:
        one = pmap.using(backend="processes", start_method=method, processes=1)
        trial, worker = tried(method, one, 1)
        if known is None or method == default_start_method():
            known = worker or known
        trials.append(trial)
    return tuple(trials), known


def try_backends() -> tuple[Trial, ...]:
    """Try each backend of this Python with the usual number of workers; return the outcomes."""
    count = cpu_count()
    return tuple(
        tried(backend, pmap.using(backend=backend, chunksize=1), count)[0]
        for backend in BACKENDS_HERE
    )


def tried(name: str, verb: Map, items: int) -> tuple[Trial, Worker | None]:
    """Call a verb twice; return the outcome, and facts about a worker (None if a call failed)."""
    heard: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True, action="always") as heard:
            first, worker = _timed(verb, items)
            again, _ = _timed(verb, items)
            # This ends the workers, so that the next trial can use their file descriptors and
            # processes.
            shutdown()
    except Exception as error:
        return Trial(name, _told(error)), None
    told = tuple(dict.fromkeys(_short(str(warning.message)) for warning in heard))
    return Trial(name, "", first, again, told), worker


def _timed(verb: Map, items: int) -> tuple[float, Worker]:
    begin = time.perf_counter()
    # The asynchronous form takes a time limit. So a start that hangs does not block the doctor.
    later = verb.async_(_look(), range(items))
    try:
        said = later.get(LIMIT)
    except BaseException:
        later.cancel()
        raise
    return time.perf_counter() - begin, Worker(*said[0])


def _look() -> Callable[[int], Said]:
    """Return a function that is sent to workers by value, like the functions of a script."""

    def look(_: int) -> Said:
        memory: int | None = None
        try:
            with open("/proc/self/statm", "rb") as statm:
                memory = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            pass  # the system is not Linux, or /proc cannot be read
        return os.getpid(), memory, os.environ.get("OMP_NUM_THREADS")

    return look


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError":
        return f"there was no result after {LIMIT:.0f} s"
    return _short(f"{type(error).__name__}: {error}")


def _short(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
