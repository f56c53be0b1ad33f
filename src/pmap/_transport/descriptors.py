"""Descriptors that travel with a value: of connections, sockets, shared memory.

A pickle cannot hold a descriptor: its number means another file elsewhere, or none. So a pickler
gives it out of band, as it does a large buffer, by a `Mark`; the descriptor goes through the socket
with the message (see `framing`), and where it arrives the pickle gets the `Descriptor` in place of
the mark.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing_extensions import Buffer


class Descriptor:
    """A descriptor of this process, closed with the last reference to this object."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        """Take over `fd`; -1: there was one, and it did not arrive."""
        self.fd = fd

    def __del__(self) -> None:
        if self.fd >= 0:
            try:
                os.close(self.fd)
            except OSError:
                pass  # an item closed it

    def detach(self) -> int:
        """Return a copy that is the taker's own. The name is what `multiprocessing` asks for."""
        if self.fd < 0:
            import errno

            text = "too many open files here: it did not arrive; raise the limit (ulimit -n)"
            raise OSError(errno.EMFILE, text)
        return os.dup(self.fd)


class Mark(bytearray):
    """What a pickler is given in place of a descriptor; it is a buffer, and no part of a pickle."""

    descriptor: Descriptor


def mark(fd: int) -> Mark:
    """Return what stands for a copy of `fd`, which lives until it has been sent."""
    made = Mark()
    made.descriptor = Descriptor(os.dup(fd))
    return made


def without_descriptors(parts: list[Buffer | Descriptor]) -> list[Buffer]:
    """Return the buffers among what is no part of a pickle."""
    return [part for part in parts if not isinstance(part, Descriptor)]


def descriptors_in(parts: list[Buffer | Descriptor]) -> list[Descriptor]:
    """Return the descriptors among what is no part of a pickle."""
    return [part for part in parts if isinstance(part, Descriptor)]
