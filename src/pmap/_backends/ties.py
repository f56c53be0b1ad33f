"""The part of the caller's `multiprocessing` state that worker processes share with it.

This part is the authentication key for managers, the pipe to the resource tracker, and the names of
workers.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .._transport.descriptors import Descriptor

if TYPE_CHECKING:
    from typing import Any

_NAMES = {
    "fork": "Fork",
    "spawn": "Spawn",
    "forkserver": "ForkServer",
    "interpreters": "Interpreter",
}


class Ties:
    """The caller's authentication key and resource tracker, both of which may change at any time.

    With the key a process may connect to a `multiprocessing` manager.
    """

    def __init__(self, key: bytes | None, tracker: int | None) -> None:
        self.key = key
        # The descriptor of the pipe to the resource tracker, a process that removes shared memory
        # and semaphores which the program has not removed itself. None if there is no resource
        # tracker.
        self._tracker = tracker

    @property
    def tracker(self) -> Descriptor | None:
        """A copy of the pipe's descriptor, for a worker; None if there is no resource tracker.

        The object does not keep the copy: an open copy would keep the resource tracker alive.
        """
        try:
            return None if self._tracker is None else Descriptor(os.dup(self._tracker))
        except OSError:  # the pipe's descriptor was closed, or too many files are open
            return None

    def are(self, key: bytes | None, tracker: int | None) -> bool:
        """Return whether this object has the key `key` and the descriptor `tracker`."""
        return self.key == key and self._tracker == tracker


NO_TIES = Ties(None, None)
_last = NO_TIES  # what the function `ties` has returned last


def ties() -> Ties:
    """Return the present state of `multiprocessing`; the same object while it is unchanged."""
    global _last
    process: Any = sys.modules.get("multiprocessing.process")
    current = getattr(process, "_current_process", None)
    if current is None:
        return NO_TIES  # the program does not use `multiprocessing`: workers need nothing
    key: bytes | None = current._config.get("authkey")
    fd = _tracker()
    if not _last.are(key, fd):
        _last = Ties(None if key is None else bytes(key), fd)
    return _last


def _tracker() -> int | None:
    """Return the descriptor of the pipe to the resource tracker; None if no tracker runs.

    If the program has imported `multiprocessing.shared_memory`, this starts the resource tracker.
    """
    module: Any = sys.modules.get("multiprocessing.resource_tracker")
    tracker: Any = getattr(module, "_resource_tracker", None)
    if tracker is None:
        return None
    if tracker._fd is None and "multiprocessing.shared_memory" in sys.modules:
        # Without a resource tracker of the caller, a worker that makes shared memory would start a
        # tracker of its own. That tracker would remove the memory when the worker ends.
        tracker.ensure_running()
    fd: int | None = tracker._fd
    return fd


def identity_of(slot: int, method: str) -> tuple[tuple[int, ...], str, int, str]:
    """Return the identity, name, etc. that `multiprocessing` would give to a worker process.

    Args:
        slot: a number from 1 on; no other worker of the pool has the same number at the same time.
        method: the start method.
    """
    process: Any = sys.modules.get("multiprocessing.process")
    current = getattr(process, "_current_process", None)
    own: tuple[int, ...] = getattr(current, "_identity", ())
    identity = *own, slot
    name = f"{_NAMES[method]}PoolWorker-{':'.join(map(str, identity))}"
    return identity, name, os.getpid(), getattr(current, "_name", "MainProcess")
