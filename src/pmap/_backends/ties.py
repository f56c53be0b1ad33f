"""What `multiprocessing` has in this process, as far as a worker is to know of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .._transport.descriptors import Descriptor

if TYPE_CHECKING:
    from typing import Any

_NAMES = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}


class Ties:
    """What may change while a worker lives."""

    def __init__(self, key: bytes | None, tracker: int | None) -> None:
        self.key = key  # with which managers let in
        # The descriptor of the process that knows of shared memory and semaphores.
        self._tracker = tracker

    @property
    def tracker(self) -> Descriptor | None:
        """A copy of it for a worker; none is kept here, which would keep that process alive."""
        try:
            return None if self._tracker is None else Descriptor(os.dup(self._tracker))
        except OSError:  # it was closed, or there are too many
            return None

    def are(self, key: bytes | None, tracker: int | None) -> bool:
        """Return whether they are still these."""
        return self.key == key and self._tracker == tracker


NO_TIES = Ties(None, None)
_last = NO_TIES  # what there was when it was last looked


def ties() -> Ties:
    """Return what there is now: the same object for as long as nothing has changed."""
    global _last
    process: Any = sys.modules.get("multiprocessing.process")
    current = getattr(process, "_current_process", None)
    if current is None:
        return NO_TIES  # nobody has imported it
    key: bytes | None = current._config.get("authkey")
    fd = _tracker()
    if not _last.are(key, fd):
        _last = Ties(None if key is None else bytes(key), fd)
    return _last


def _tracker() -> int | None:
    """Return the descriptor by which the resource tracker is told, or None."""
    module: Any = sys.modules.get("multiprocessing.resource_tracker")
    tracker: Any = getattr(module, "_resource_tracker", None)
    if tracker is None:
        return None
    if tracker._fd is None and "multiprocessing.shared_memory" in sys.modules:
        # A worker that makes shared memory would start one of its own, which would remove that
        # with the end of the worker.
        tracker.ensure_running()
    fd: int | None = tracker._fd
    return fd


def identity_of(slot: int, method: str) -> tuple[tuple[int, ...], str, int, str]:
    """Return what `multiprocessing` says of a worker: see `protocol.Identity`."""
    process: Any = sys.modules.get("multiprocessing.process")
    current = getattr(process, "_current_process", None)
    own: tuple[int, ...] = getattr(current, "_identity", ())
    identity = *own, slot
    name = f"{_NAMES[method]}PoolWorker-{':'.join(map(str, identity))}"
    return identity, name, os.getpid(), getattr(current, "_name", "MainProcess")
