"""Sentinels: descriptors that show the end of a child process.

The end of a worker shows at its socket, unless a process that the worker has forked holds the
socket open. Even then a sentinel shows the end of the worker. Linux has process descriptors
(``pidfd_open``). On macOS and the BSDs, the sentinel is the descriptor of a kqueue that waits only
for the end of the process. On other systems there is no sentinel.
"""

import errno
import os
import select
import sys
from typing import TYPE_CHECKING, Protocol

from .boot import keep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Kqueue(Protocol):
    """The part of `select.kqueue` that is used here; type checkers do not know it on Linux."""

    def control(
        self, changes: "Sequence[object] | None", most: int, timeout: float | None = None, /
    ) -> object: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Sentinel:
    """A descriptor, `fd`, that is readable when a process has ended."""

    __slots__ = ("_kqueue", "fd")

    def __init__(self, fd: int, kqueue: _Kqueue | None = None) -> None:
        """Take over the descriptor `fd`; if it is that of a kqueue, `kqueue` is the kqueue."""
        self.fd = fd
        self._kqueue = kqueue

    def close(self) -> None:
        """Close the descriptor."""
        if self._kqueue is None:
            os.close(self.fd)
        else:
            self._kqueue.close()

    def after_fork_in_child(self) -> None:
        """Close this fork's copy of the descriptor; forks get no copy of a kqueue."""
        if self._kqueue is None:
            os.close(self.fd)
        else:
            self.abandon()

    def abandon(self) -> None:
        """Do not close the descriptor: its number may belong to another open file by now."""
        # When a kqueue object is deleted, it closes its number; before Python 3.11.7 and 3.12.1 it
        # does so even in a fork.
        if self._kqueue is not None:
            keep(self._kqueue)


def sentinel_of(pid: int) -> Sentinel | None:
    """Return a sentinel of the child process `pid`, whose exit code has not been read.

    Return None if the system has no sentinels, or has no descriptor left for one.
    """
    if sys.platform == "win32":
        return None
    try:
        if hasattr(os, "pidfd_open"):  # a Python built for an older Linux lacks `os.pidfd_open`
            return Sentinel(os.pidfd_open(pid))
        new: Callable[[], _Kqueue] | None = getattr(select, "kqueue", None)
        return None if new is None else _watching(new(), pid)
    except OSError:
        return None


def _watching(kqueue: _Kqueue, pid: int) -> Sentinel:
    """Return `kqueue` as a sentinel of the process `pid`; raise OSError if that fails."""
    event: Callable[..., object] = vars(select)["kevent"]
    kind, add, end = (vars(select)[f"KQ_{name}"] for name in ("FILTER_PROC", "EV_ADD", "NOTE_EXIT"))
    try:
        kqueue.control([event(pid, kind, add, end)], 0)
    except OSError as error:
        kqueue.close()
        if error.errno != errno.ESRCH:
            raise
        # The process has ended: the kernel does not find it, even if its exit code has not been
        # read. The sentinel is then the end of a pipe whose other end is closed, which is readable
        # at once.
        reading, writing = os.pipe()
        os.close(writing)
        return Sentinel(reading)
    return Sentinel(kqueue.fileno(), kqueue)
