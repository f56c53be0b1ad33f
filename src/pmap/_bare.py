"""What a worker needs of the standard library, without what that would import.

The public modules import enum, functools, re, selectors and typing before a worker could begin its
first item, half of the time that it takes to start. The C modules beneath them have all that is
used here; on an interpreter without those the public ones serve. The modules that a worker imports
import no other than these, and evaluate no annotations, for the same reason.
"""

import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from _thread import allocate_lock
    from collections import deque
    from contextvars import Context, ContextVar
    from pickle import dumps, loads
    from socket import (
        CMSG_SPACE,
        MSG_CMSG_CLOEXEC,
        MSG_CTRUNC,
        SCM_RIGHTS,
        SOL_SOCKET,
        socket,
        socketpair,
    )
    from threading import RLock, local
else:

    def _load_pickle() -> None:
        """Import pickle's C module with `partial`, which is all that it wants of functools."""
        if "functools" in sys.modules:
            return
        import _functools

        stub = type(sys)("functools")
        stub.partial = _functools.partial
        sys.modules["functools"] = stub
        try:
            import _pickle  # noqa: F401 - it is there from now on
        finally:
            del sys.modules["functools"]

    try:
        _load_pickle()
    except (ImportError, AttributeError):  # it wants more than that, and has it now
        sys.modules.pop("_pickle", None)
    try:
        import _signal as signal
        from _collections import deque
        from _contextvars import Context, ContextVar
        from _pickle import dumps, loads
        from _socket import SOL_SOCKET, socket
        from _thread import RLock, allocate_lock
        from _thread import _local as local
    except ImportError:
        import signal
        from _thread import allocate_lock
        from collections import deque
        from contextvars import Context, ContextVar
        from pickle import dumps, loads
        from socket import SOL_SOCKET, socket
        from threading import RLock, local
    try:
        from _socket import CMSG_SPACE, MSG_CTRUNC, SCM_RIGHTS, socketpair
    except ImportError:  # Windows: no descriptors travel over sockets
        CMSG_SPACE = MSG_CTRUNC = SCM_RIGHTS = socketpair = None
    try:
        from _socket import MSG_CMSG_CLOEXEC
    except ImportError:  # macOS
        MSG_CMSG_CLOEXEC = 0


__all__ = [
    "Context",
    "ContextVar",
    "RLock",
    "allocate_lock",
    "deque",
    "dumps",
    "loads",
    "local",
    "receive_with_fds",
    "send_with_fds",
    "signal",
    "socket",
    "socketpair",
]

_FD = struct.Struct("i")


def receive_with_fds(sock: "socket", size: int, most: int = 1) -> "tuple[bytes, list[int] | None]":
    """Receive at most `size` bytes and the descriptors that came along.

    Args:
        sock: a socket.
        size: how many bytes to receive at most.
        most: how many descriptors may come at a time.

    Returns:
        The bytes, and the descriptors: those that this process may still have. None if none came.
    """
    if not hasattr(sock, "recvmsg"):  # Windows
        return sock.recv(size), None
    data, extras, flags, _ = sock.recvmsg(size, CMSG_SPACE(most * _FD.size), MSG_CMSG_CLOEXEC)
    if not extras and not flags & MSG_CTRUNC:
        return data, None
    fds: list[int] = []
    for level, kind, content in extras:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds += [fd for (fd,) in _FD.iter_unpack(content[: len(content) // _FD.size * _FD.size])]
    return data, fds


def send_with_fds(sock: "socket", data: "bytes | memoryview", fds: list[int]) -> int:
    """Send as much of `data` as goes now, with descriptors; return how many bytes that was."""
    packed = b"".join(map(_FD.pack, fds))
    return sock.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, packed)])
