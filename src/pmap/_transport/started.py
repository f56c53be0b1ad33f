"""The mark of a process that pmap has started, and how deep such processes are nested.

A process that is started for a worker has a mark in its environment until it is one. Whatever runs
in it before that (a ``sitecustomize``, a frozen program from its beginning, an application that
embeds Python) can see by it that no processes are to be started there: these would do the same.

The depth counts the pools that a process is below. Programs that an item starts inherit it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from types import FrameType

# What the command line of such a Python has in it.
_ENTRY = "from pmap._worker.startup import main"
_IMPORT = "<frozen importlib._bootstrap>"
# How a frozen program is started for a worker, and what `freeze_support` of multiprocessing then
# reads from the pipe that this names: what to prepare (nothing), and an object whose `_bootstrap`
# it calls.
FROZEN = "--multiprocessing-fork"
FOR_FREEZE_SUPPORT = b"}.cpmap._worker.startup\nFromFreezeSupport\n)R."
MARK = "PMAP_STARTED"
DEPTH = "PMAP_DEPTH"
# Pools in items of pools in items of pools, and one more. A function whose items make a pool for
# the same function again would otherwise double the number of processes without end.
MOST_NESTED = 4


def marked(kind: str, fd: int, lifeline: int, inode: int, depth: int) -> dict[str, str]:
    """Return the variables of a process that is to become a worker, or the template of workers.

    Args:
        kind: which of both.
        fd: its descriptor of the socket.
        lifeline: its descriptor of the lifeline, or -1.
        inode: of the socket: whoever inherits the mark alone must not take another file for it.
        depth: how many pools it is below.
    """
    return {MARK: f"{kind} {fd} {lifeline} {inode}", DEPTH: str(depth)}


def depth() -> int:
    """Return how many pools this process is below; 0: it is no worker's, nor started by an item."""
    told = os.environ.get(DEPTH, "")
    return int(told) if told.isascii() and told.isdigit() else 0


def is_marked() -> bool:
    """Return whether this process, or one above it, was started for a worker and is none yet."""
    return MARK in os.environ


def mark() -> tuple[str, int, int] | None:
    """Return what this process is to become, and its socket and lifeline.

    None if it is not the one that was started: it has the mark and not the socket.
    """
    told = os.environ.get(MARK, "").split()
    try:
        kind, (fd, lifeline, inode) = told[0], map(int, told[1:])
        return (kind, fd, lifeline) if os.fstat(fd).st_ino == inode else None
    except (IndexError, ValueError, OSError, OverflowError):
        return None


def runs_our_command() -> bool:
    """Return whether this is a Python that will run what it was started for."""
    return sys.argv[:1] == ["-c"] and any(_ENTRY in argument for argument in sys.orig_argv)


def is_importing() -> bool:
    """Return whether the caller is, at some remove, a module that is being imported."""
    caller: FrameType | None = sys._getframe()
    while caller is not None:
        if caller.f_code.co_filename == _IMPORT:
            return True
        caller = caller.f_back
    return False
