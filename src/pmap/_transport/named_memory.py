"""Memory that two processes share on Windows: the second process opens it by its name.

The name is 128 random bits that only the two processes know, and only processes of the same user
may open the memory. The memory has no file. Windows frees the memory and the name when the last
process that has the memory open closes it or ends, however that process ends.
"""

from __future__ import annotations

import mmap
import os
import sys

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from .light_stdlib import socket

_NAME = 32  # how many bytes the name of a piece of shared memory has


def create(size: int) -> tuple[bytes, mmap.mmap] | None:
    """Return the name of new memory of `size` bytes, and the memory; None if there is none."""
    if sys.platform == "win32":  # other systems share memory without names
        name = os.urandom(_NAME // 2).hex()
        try:
            memory = mmap.mmap(-1, size, tagname=_tag(name))  # pyright: ignore[reportCallIssue]
            return name.encode(), memory
        except OSError:  # the system has no memory left
            pass
    return None


def receive(sock: socket, size: int) -> mmap.mmap | None:
    """Receive a name from `sock`; return the memory of `size` bytes that has this name.

    Return None if the sender is gone, or if the memory cannot be mapped.
    """
    name = b""
    while len(name) < _NAME:
        more = sock.recv(_NAME - len(name))
        if not more:
            return None
        name += more
    if sys.platform == "win32":
        tag = _tag(name.decode())
        return mmap.mmap(-1, size, tagname=tag)  # pyright: ignore[reportCallIssue]
    return None


def _tag(name: str) -> str:
    return f"Local\\pmap-{name}"  # Windows limits names in "Local" to the user's session
