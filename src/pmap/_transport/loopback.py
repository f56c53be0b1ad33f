"""Pairs of connected sockets on Windows, which has no pairs that only the two ends can reach.

On Windows the standard function ``socketpair`` listens on a port of 127.0.0.1 for a moment, and
connects to the port. In that moment any process of the machine could connect to the port first. So
each pair is checked: each end has to be connected to the address of the other end. A pair that
fails this check is closed, and no byte is written to it. Afterwards nothing listens any more.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from socket import socket

# At most this many pairs of sockets are made, until the two of a pair are connected to each other.
_TRIES = 8


def socketpair() -> tuple[socket, socket]:
    """Return a pair of sockets that are connected to each other and to nothing else.

    Raises ConnectionError if other processes connected first again and again.
    """
    # `socket` is imported here: a worker needs no pair, and starts sooner without the import.
    import socket as public

    for _ in range(_TRIES):
        try:
            one, other = public.socketpair()
        # Newer versions of Python themselves check that the two sockets are connected to each
        # other, and raise this error if they are not.
        except ConnectionError:
            continue
        if _are_connected(one, other):
            for end in (one, other):
                # Without TCP_NODELAY a small message would wait until the receiver has acknowledged
                # the message before.
                end.setsockopt(public.IPPROTO_TCP, public.TCP_NODELAY, 1)
            return one, other
        one.close()
        other.close()
    raise ConnectionError(f"{_TRIES} times in a row another process connected first")


def _are_connected(one: socket, other: socket) -> bool:
    """Return whether the two sockets are connected to each other."""
    try:
        names = one.getsockname(), other.getsockname()
        return bool(names == (other.getpeername(), one.getpeername()))
    except OSError:  # another process has connected first, and has closed its end
        return False
