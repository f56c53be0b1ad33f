"""Descriptors that travel with a value: of connections, sockets, shared memory.

A pickle cannot hold a descriptor: in another process its number means another file, or none. So a
pickler gives the descriptor out of band, as it does a large buffer, in the form of a `Mark`. The
descriptor goes through the socket with the message (see `framing`). In the receiving process the
unpickler gets a `Descriptor` in place of the mark.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # `typing` is not imported here: see `light_stdlib`
if TYPE_CHECKING:
    from typing_extensions import Buffer


class Descriptor:
    """A descriptor of this process; it is closed with the last reference to this object."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        """Take over `fd`; -1 means that a descriptor was sent and did not arrive."""
        self.fd = fd

    def __del__(self) -> None:
        if self.fd >= 0:
            try:
                os.close(self.fd)
            except OSError:
                pass  # an item closed the descriptor

    def detach(self) -> int:
        """Return a duplicate, which the caller closes. `multiprocessing` asks for this name."""
        if self.fd < 0:
            import errno

            text = "too many open files here: it did not arrive; raise the limit (ulimit -n)"
            raise OSError(errno.EMFILE, text)
        return os.dup(self.fd)


class Mark(bytearray):
    """What a pickler gets in place of a descriptor: a buffer, which it gives out of band."""

    descriptor: Descriptor


def mark(fd: int) -> Mark:
    """Return a mark with a duplicate of `fd`, which stays open until it has been sent."""
    made = Mark()
    made.descriptor = Descriptor(os.dup(fd))
    return made


def without_descriptors(parts: list[Buffer | Descriptor]) -> list[Buffer]:
    """Return the buffers among what a pickler gave out of band."""
    return [part for part in parts if not isinstance(part, Descriptor)]


def descriptors_in(parts: list[Buffer | Descriptor]) -> list[Descriptor]:
    """Return the descriptors among what a pickler gave out of band."""
    return [part for part in parts if isinstance(part, Descriptor)]
