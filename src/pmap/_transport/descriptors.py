"""File descriptors that travel with a value: those of connections, sockets and shared memory.

A pickle cannot hold a file descriptor: in another process the number of the descriptor means
another file, or none. So a pickler hands the descriptor out beside the pickle, as a `Mark`, in the
way in which pickle hands out large buffers ("out of band"). The descriptor goes through the socket
with the message (see `framing`). In the receiving process the unpickler gets a `Descriptor` in
place of the mark.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing_extensions import Buffer


class Descriptor:
    """A file descriptor of this process, closed when the last reference to this object is gone."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        """Take over the file descriptor `fd`; -1: a descriptor was sent, but has not arrived."""
        self.fd = fd

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file descriptor now; from then on `detach` raises OSError."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError:
                pass  # the user's code has closed the descriptor already

    def detach(self) -> int:
        """Return a duplicate of the file descriptor; code that calls this method has to close it.

        `multiprocessing` calls this method by its name. Raises OSError if the descriptor did not
        arrive.
        """
        if self.fd < 0:
            import errno

            text = "too many open files here: it did not arrive; raise the limit (ulimit -n)"
            raise OSError(errno.EMFILE, text)
        return os.dup(self.fd)


class Mark(bytearray):
    """A buffer that stands for a file descriptor; a pickler hands it out beside the pickle."""

    descriptor: Descriptor


def mark(fd: int) -> Mark:
    """Return an object that stands for `fd` in a pickle; it keeps a duplicate of `fd` open."""
    made = Mark()
    made.descriptor = Descriptor(os.dup(fd))
    return made


def without_descriptors(parts: list[Buffer | Descriptor]) -> list[Buffer]:
    """Return the buffers in `parts`, which a pickler has handed out beside the pickle."""
    return [part for part in parts if not isinstance(part, Descriptor)]


def descriptors_in(parts: list[Buffer | Descriptor]) -> list[Descriptor]:
    """Return the descriptors in `parts`, which a pickler has handed out beside the pickle."""
    return [part for part in parts if isinstance(part, Descriptor)]
