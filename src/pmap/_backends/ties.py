"""The state of the caller's `multiprocessing` that worker processes are to share.

The state is the key of managers, the pipe to the resource tracker, and the names of workers.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .._transport.descriptors import Descriptor

if TYPE_CHECKING:
    from typing import Any

_NAMES = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}


class Ties:
    """The part of the state of `multiprocessing` that may change while a worker lives.

    `key` is the authentication key of the process, with which a manager lets a client in.
    """

    def __init__(self, key: bytes | None, tracker: int | None) -> None:
        self.key = key
        # The descriptor of the pipe to the resource tracker, the process that removes shared memory
        # and semaphores that the program has left; None: there is no resource tracker.
        self._tracker = tracker

    @property
    def tracker(self) -> Descriptor | None:
        """A new copy, for a worker, of the descriptor of the resource tracker, or None.

        This object keeps no copy, since an open copy would keep the resource tracker alive.
        """
        try:
            return None if self._tracker is None else Descriptor(os.dup(self._tracker))
        except OSError:  # the descriptor was closed, or too many descriptors are open
            return None

    def are(self, key: bytes | None, tracker: int | None) -> bool:
        """Return whether the key is `key` and the tracker's descriptor is `tracker`."""
        return self.key == key and self._tracker == tracker


NO_TIES = Ties(None, None)
_last = NO_TIES  # the state of `multiprocessing` at the last call of `ties`


def ties() -> Ties:
    """Return the present state of `multiprocessing`: the same object until the state changes."""
    global _last
    process: Any = sys.modules.get("multiprocessing.process")
    current = getattr(process, "_current_process", None)
    if current is None:
        return NO_TIES  # the program has not imported `multiprocessing`
    key: bytes | None = current._config.get("authkey")
    fd = _tracker()
    if not _last.are(key, fd):
        _last = Ties(None if key is None else bytes(key), fd)
    return _last


def _tracker() -> int | None:
    """Return the descriptor of the pipe to the resource tracker, or None if it does not run.

    If the program has imported `multiprocessing.shared_memory`, the resource tracker is started.
    """
    module: Any = sys.modules.get("multiprocessing.resource_tracker")
    tracker: Any = getattr(module, "_resource_tracker", None)
    if tracker is None:
        return None
    if tracker._fd is None and "multiprocessing.shared_memory" in sys.modules:
        # Without the caller's resource tracker, a worker that makes shared memory would start a
        # tracker of its own, which would remove the memory at the end of the worker.
        tracker.ensure_running()
    fd: int | None = tracker._fd
    return fd


def identity_of(slot: int, method: str) -> tuple[tuple[int, ...], str, int, str]:
    """Return what `multiprocessing` would say of a worker: see `protocol.Identity`.

    Args:
        slot: a number from 1 on that no other worker of the pool has at the same time.
        method: the start method.
    """
    process: Any = sys.modules.get("multiprocessing.process")
    current = getattr(process, "_current_process", None)
    own: tuple[int, ...] = getattr(current, "_identity", ())
    identity = *own, slot
    name = f"{_NAMES[method]}PoolWorker-{':'.join(map(str, identity))}"
    return identity, name, os.getpid(), getattr(current, "_name", "MainProcess")
