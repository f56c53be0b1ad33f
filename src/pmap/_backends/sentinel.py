"""Sentinels: the end of a child process, seen at a descriptor.

The end of a worker shows at its socket, unless a process that the worker has forked holds the
socket open. A sentinel shows the end of the worker in that case, too. Linux has process descriptors
(``pidfd_open``). On macOS and the BSDs, the sentinel is the descriptor of a kqueue that waits for
nothing but the end of the process. Where the system has neither, there is no sentinel.
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
    """A descriptor, `fd`, that is readable once a process has ended."""

    __slots__ = ("_kqueue", "fd")

    def __init__(self, fd: int, kqueue: _Kqueue | None = None) -> None:
        """Take over the descriptor; `kqueue`: the kqueue that has it; None: it is no kqueue's."""
        self.fd = fd
        self._kqueue = kqueue

    def close(self) -> None:
        """Close the descriptor."""
        if self._kqueue is None:
            os.close(self.fd)
        else:
            self._kqueue.close()

    def after_fork_in_child(self) -> None:
        """Close the copy that a fork has of the descriptor; a fork has no copy of a kqueue."""
        if self._kqueue is None:
            os.close(self.fd)
        else:
            self.abandon()

    def abandon(self) -> None:
        """Leave the descriptor alone: its number may be of another open file by now."""
        # A kqueue that is deleted closes its number, in a fork too before Python 3.11.7 and 3.12.1.
        if self._kqueue is not None:
            keep(self._kqueue)


def sentinel_of(pid: int) -> Sentinel | None:
    """Return a sentinel of the child process `pid`, which nobody has waited for.

    Return None if the system has no sentinels, or no descriptor is left for one.
    """
    if sys.platform == "win32":
        return None
    try:
        if hasattr(os, "pidfd_open"):  # an interpreter that is built for an older Linux has none
            return Sentinel(os.pidfd_open(pid))
        new: Callable[[], _Kqueue] | None = getattr(select, "kqueue", None)
        return None if new is None else _watching(new(), pid)
    except OSError:
        return None


def _watching(kqueue: _Kqueue, pid: int) -> Sentinel:
    """Return a sentinel that is the descriptor of `kqueue`; raise OSError if there can be none."""
    event: Callable[..., object] = vars(select)["kevent"]
    kind, add, end = (vars(select)[f"KQ_{name}"] for name in ("FILTER_PROC", "EV_ADD", "NOTE_EXIT"))
    try:
        kqueue.control([event(pid, kind, add, end)], 0)
    except OSError as error:
        kqueue.close()
        if error.errno != errno.ESRCH:
            raise
        # The kernel finds no process that has ended, also if nobody has waited for it yet. The end
        # of a pipe whose other end is closed is readable at once.
        reading, writing = os.pipe()
        os.close(writing)
        return Sentinel(reading)
    return Sentinel(kqueue.fileno(), kqueue)
