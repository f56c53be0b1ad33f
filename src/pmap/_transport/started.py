"""How a process knows that pmap has started it, and how deeply such processes are nested.

A process that is started to become a worker has a mark, an environment variable, until it is a
worker. Other code may run first in the process: a ``sitecustomize``, a frozen program from its
beginning, an application that embeds Python. From the mark that code learns that it must not start
processes: each of them would run the same code, and start more.

The depth of a process is the number of pools above the process. Programs that an item starts
inherit the depth.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from .light_stdlib import socket

# Part of the command line with which pmap starts a Python process that becomes a worker.
_ENTRY = "from pmap._worker.startup import main"
_IMPORT = "<frozen importlib._bootstrap>"
# `FROZEN` is the command-line argument with which a frozen program is started to become a worker;
# the next argument is the number of a pipe. `FOR_FREEZE_SUPPORT` is what `freeze_support` of
# multiprocessing reads from the pipe: two pickles, of settings (here none) and of an object whose
# method `_bootstrap` is then called.
FROZEN = "--multiprocessing-fork"
FOR_FREEZE_SUPPORT = b"}.cpmap._worker.startup\nFromFreezeSupport\n)R."
MARK = "PMAP_STARTED"
DEPTH = "PMAP_DEPTH"
# How many pools may be nested, each pool used by the items of the pool above. Without a limit, a
# function whose items make a pool for the same function would double the number of processes for
# ever.
MOST_NESTED = 4


def marked(kind: str, fd: int, lifeline: int, inode: int, depth: int) -> dict[str, str]:
    """Return the environment variables of a process that becomes a worker or a fork server.

    Args:
        kind: whether the process becomes a worker or a fork server.
        fd: the number that the socket's descriptor has in the new process.
        lifeline: the number that the descriptor of the lifeline has there, or -1. The lifeline is a
            pipe whose end tells that the caller is gone.
        inode: the inode of the socket; on Windows the process id of the caller. A process that has
            inherited the mark but not the socket may have another file under the number `fd`, and
            must not take that file for the socket.
        depth: how many pools are above the new process.
    """
    return {MARK: f"{kind} {fd} {lifeline} {inode}", DEPTH: str(depth)}


def depth() -> int:
    """Return how many pools are above this process; 0 if neither pmap nor an item started it."""
    words = os.environ.get(DEPTH, "")
    return int(words) if words.isascii() and words.isdigit() else 0


def is_marked() -> bool:
    """Return whether this process, or one above it, is to become a worker and is none yet."""
    return MARK in os.environ


def mark() -> tuple[str, int, int] | None:
    """Return what this process is to become, and its descriptors of the socket and the lifeline.

    The lifeline is a pipe whose end tells that the caller is gone. None means that pmap has not
    started this process to become a worker: the process has no mark in its environment, or has
    inherited the mark without the socket.
    """
    words = os.environ.get(MARK, "").split()
    try:
        kind, (fd, lifeline, inode) = words[0], map(int, words[1:])
        if sys.platform == "win32":
            # On Windows the socket comes through stdin, and the mark has the caller's process id in
            # place of the socket's inode.
            return (kind, fd, lifeline) if inode == os.getppid() else None
        return (kind, fd, lifeline) if os.fstat(fd).st_ino == inode else None
    except (IndexError, ValueError, OSError, OverflowError):
        return None


def socket_to_caller(fd: int) -> socket:
    """Return the socket that leads to the caller, in a process that is started for a worker.

    `fd` is the descriptor of the socket. If `fd` is -1, the caller passes the socket through stdin,
    as it does on Windows.
    """
    from .light_stdlib import socket

    if fd >= 0:
        return socket(fileno=fd)
    # On Windows the caller has written the bytes that describe the socket to stdin; `socket` takes
    # them as its last argument. All of stdin is read, so that an item that reads it later finds
    # nothing.
    told: Any = sys.stdin.buffer.read()
    return socket(0, 0, 0, told)


def runs_our_command() -> bool:
    """Return whether this Python process was started with pmap's command, and will run it."""
    return sys.argv[:1] == ["-c"] and any(_ENTRY in argument for argument in sys.orig_argv)


def is_importing() -> bool:
    """Return whether this call comes from a module that is being imported at the moment."""
    caller: FrameType | None = sys._getframe()
    while caller is not None:
        if caller.f_code.co_filename == _IMPORT:
            return True
        caller = caller.f_back
    return False
