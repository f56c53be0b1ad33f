"""The parts of the standard library that a worker needs, imported from C modules.

The public modules of the standard library import enum, functools, re, selectors and typing, which
would take half of the time in which a worker starts. The C modules beneath the public modules have
all that pmap uses. If an interpreter does not have these C modules, the public modules serve. For
the same reason the modules of pmap that a worker imports do not import these public modules, and do
not evaluate annotations.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from _socket import (
        CMSG_SPACE,
        MSG_CMSG_CLOEXEC,
        MSG_CTRUNC,
        SCM_RIGHTS,
        SHUT_WR,
        SOL_SOCKET,
        socket,
        socketpair,
    )
    from _thread import allocate_lock, get_ident, start_new_thread
    from collections import deque
    from contextvars import Context, ContextVar, copy_context
    from functools import partial
    from threading import RLock, local
else:
    try:
        import _signal as signal
        from _collections import deque
        from _contextvars import Context, ContextVar, copy_context
        from _functools import partial
        from _socket import SOL_SOCKET, socket
        from _thread import RLock, allocate_lock, get_ident, start_new_thread
        from _thread import _local as local
    except ImportError:
        import signal
        from _thread import allocate_lock, get_ident, start_new_thread
        from collections import deque
        from contextvars import Context, ContextVar, copy_context
        from functools import partial
        from socket import SOL_SOCKET, socket
        from threading import RLock, local
    try:
        from _socket import CMSG_SPACE, MSG_CTRUNC, SCM_RIGHTS, SHUT_WR, socketpair
    except ImportError:  # Windows cannot send descriptors over sockets
        CMSG_SPACE = MSG_CTRUNC = SCM_RIGHTS = None
        SHUT_WR = 1
        from .loopback import socketpair
    try:
        from _socket import MSG_CMSG_CLOEXEC
    except ImportError:
        # macOS does not have the flag MSG_CMSG_CLOEXEC, which closes received descriptors when the
        # process starts another program.
        MSG_CMSG_CLOEXEC = 0


__all__ = [
    "SHUT_WR",
    "SOL_SOCKET",
    "Context",
    "ContextVar",
    "RLock",
    "allocate_lock",
    "copy_context",
    "deque",
    "get_ident",
    "local",
    "partial",
    "receive_with_fds",
    "send_with_fds",
    "signal",
    "socket",
    "socketpair",
    "start_new_thread",
]

# The size of a file descriptor in a control message of a socket, in bytes.
_FD = 4


def receive_with_fds(sock: "socket", size: int, most: int = 1) -> "tuple[bytes, list[int] | None]":
    """Receive at most `size` bytes and the file descriptors that came with them.

    Args:
        sock: a socket.
        size: how many bytes to receive at most.
        most: how many file descriptors to receive at most.

    Returns:
        The bytes, and the file descriptors that this process was able to open; None if the sender
            sent none.
    """
    if not hasattr(sock, "recvmsg"):  # Windows does not have `recvmsg`, so no descriptors arrive
        return sock.recv(size), None
    data, extras, flags, _ = sock.recvmsg(size, CMSG_SPACE(most * _FD), MSG_CMSG_CLOEXEC)
    if not extras and not flags & MSG_CTRUNC:
        return data, None
    fds: list[int] = []
    for level, kind, content in extras:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            starts = range(0, len(content) // _FD * _FD, _FD)
            fds += [int.from_bytes(content[at : at + _FD], sys.byteorder) for at in starts]
    return data, fds


def send_with_fds(sock: "socket", data: "bytes | memoryview", fds: list[int]) -> int:
    """Send as much of `data` as the socket takes now, with the descriptors `fds`.

    Returns:
        How many bytes were sent.
    """
    packed = b"".join([fd.to_bytes(_FD, sys.byteorder) for fd in fds])
    return sock.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, packed)])
