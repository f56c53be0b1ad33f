"""What a worker needs of the standard library, without what that would import.

The public modules import enum, functools, re, selectors and typing before a worker could begin its
first item, half of the time that it takes to start. The C modules beneath them have all that is
used here; on an interpreter without those the public ones serve. The modules that a worker imports
import no other than these, and evaluate no annotations, for the same reason.
"""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from _thread import allocate_lock
    from collections import deque
    from contextvars import Context, ContextVar
    from pickle import dumps, loads
    from socket import CMSG_LEN, SCM_RIGHTS, SOL_SOCKET, socket
    from threading import RLock, local
else:
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
        from _socket import CMSG_LEN, SCM_RIGHTS
    except ImportError:  # Windows: no descriptors travel over sockets
        CMSG_LEN = SCM_RIGHTS = None


__all__ = [
    "Context",
    "ContextVar",
    "RLock",
    "allocate_lock",
    "deque",
    "dumps",
    "loads",
    "local",
    "receive_with_fd",
    "signal",
    "socket",
]

_FD = struct.Struct("i")


def receive_with_fd(sock: "socket", size: int) -> "tuple[bytes, int | None]":
    """Receive at most `size` bytes and the descriptor that came along, if one did."""
    if not hasattr(sock, "recvmsg"):  # Windows
        return sock.recv(size), None
    data, extras, _, _ = sock.recvmsg(size, CMSG_LEN(_FD.size))
    for level, kind, content in extras:
        if level == SOL_SOCKET and kind == SCM_RIGHTS and len(content) >= _FD.size:
            return data, _FD.unpack_from(content)[0]
    return data, None
