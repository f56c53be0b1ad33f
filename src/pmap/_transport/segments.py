"""Segments: memory that carries large values from one process to another.

A large buffer does not go through the socket. It is written into anonymous memory that has a
descriptor, the descriptor goes through the socket, and the receiver maps that memory: privately, so
that what it gets is its own, as after a pickle, and a page is copied only when it is written to.

The kernel counts who has a segment open or mapped, so none can be left behind, however a process
ends. Where there is no such memory (``memfd_create`` is Linux's), or none is to be had, a large
value travels through the socket as any other.

New pages cost more than the copy into them. So a sender may use a segment again once the receiver
says that nothing of it is mapped any more (see `segment_pool`), and writes through a mapping that
it keeps.
"""

from __future__ import annotations

import mmap
import os
import sys

from .descriptors import Descriptor, Mark

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pickle import PickleBuffer
    from typing import Final

    from typing_extensions import Buffer

# Bytes from which a buffer is worth a segment: a few system calls and page faults.
LARGE: Final = 1 << 17
# Segments in one message, at most.
MOST: Final = 64
_ALIGNMENT = 64  # of each buffer in a segment: a cache line, and the widest vector there is
_PIECE = 1 << 20  # bytes copied at a time where this keeps other threads from running
_SPARE = 3  # an eighth of a segment may be more than is needed


_KEEPS_DESCRIPTOR = sys.version_info < (3, 13)  # a mapping, of its own


def sieve(
    apart: list[Buffer | Descriptor], least: int | None = LARGE
) -> Callable[[PickleBuffer], bool]:
    """Return what pickle asks whether a buffer is part of the pickle.

    Args:
        apart: takes what is not: large buffers, and descriptors.
        least: bytes from which a buffer is large; None: none is.
    """

    def is_part(buffer: PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # it is in pieces
            return True
        if least is None or raw.nbytes < least:
            if type(raw.obj) is not Mark:
                return True
            apart.append(raw.obj.descriptor)
            return False
        apart.append(raw)
        return False

    return is_part


def most_at_once() -> int:
    """Return how many segments a message may have where workers may open as many files as here."""
    return max(1, min(MOST, _descriptors() // 16))


def _can_map_more() -> bool:
    """Return whether this process has descriptors to spare for another mapping."""
    return not _KEEPS_DESCRIPTOR or _Mapping.live < max(4, _descriptors() // 4)


def _descriptors() -> int:
    """Return how many descriptors this process may have."""
    import resource  # here there is one: nothing comes in a segment to Windows

    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if limit == resource.RLIM_INFINITY else limit


class _Mapping(mmap.mmap):
    """A mapped segment. It goes when nothing refers to its memory any more, and says so."""

    live = 0

    is_live = False
    number = 0
    gone: list[int] | None = None  # where its number is noted when it goes
    forks_before: object = None

    def __del__(self) -> None:
        _Mapping.live -= self.is_live
        try:
            self.close()
        except BufferError:
            return  # of a cycle, something else of which may still want to live, and this with it
        # A process that was forked since then may have it still.
        if self.gone is not None and self.forks_before is _forks.last and not _forks.now:
            self.gone.append(self.number)


class _Forks:
    """Whether this process is being forked, with all that it has mapped, and when it last was.

    As far as Python is told of it: not by a library that calls ``fork`` itself.
    """

    def __init__(self) -> None:
        # By so many threads. It stays too high where a signal's exception strikes in `_end`: then
        # segments are not used again, which costs time only.
        self.now = 0
        self.last = object()  # another one after each fork
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._begin, after_in_parent=self._end, after_in_child=self._forget
            )

    # In each of these another thread may map something between two lines, or let it go: it is taken
    # for one that the fork has, from before `now` is raised until after `last` is another.
    def _begin(self) -> None:
        self.now += 1
        self.last = object()

    def _end(self) -> None:
        self.last = object()
        self.now -= 1

    def _forget(self) -> None:
        self.now = 0
        self.last = object()


_forks = _Forks()


class Segment:
    """Memory with a descriptor, which is closed with the last reference to this object."""

    # Until it is made, which a signal's exception may prevent.
    fd: int = -1
    _gone: list[int] | None = None
    _file: tuple[int, int] | None = None  # device and inode: what has its descriptor later may be
    # another file, where the program has closed it

    def __init__(self, fd: int, number: int = 0, gone: list[int] | None = None) -> None:
        """Take over a descriptor.

        Args:
            fd: the descriptor.
            number: the sender's name for it; 0 if the sender has no use for it.
            gone: where to note the number when neither this nor a mapping of it is left.
        """
        self.fd = fd
        self.keep()
        self.size: int = 0
        self.number = number
        self._gone = gone if number else None
        self._memory: memoryview | None = None  # where the sender writes into it again

    @classmethod
    def new(cls) -> Segment | None:
        """Return an empty one, or None where none can be had."""
        try:
            return cls(os.memfd_create("pmap", os.MFD_CLOEXEC))
        except (AttributeError, OSError):  # not on this system; or no descriptor is left
            return None

    def __del__(self) -> None:
        try:
            if self.is_open():
                os.close(self.fd)
        except OSError:
            pass  # an item closed it
        if self._gone is not None:
            self._gone.append(self.number)

    def keep(self) -> bool:
        """Take in that it is kept: what has its descriptor later may be another file.

        Returns False if it was closed already.
        """
        try:
            self._file = self._file or file_of(self.fd)
        except OSError:
            return False
        return True

    def is_open(self) -> bool:
        """Return whether the descriptor is still that of this memory, if this one is kept."""
        try:
            return self._file is None or self._file == file_of(self.fd)
        except OSError:
            return False

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Write `buffers` from the beginning on; raises OSError if it has no room for them."""
        sizes = sizes_of(buffers)
        size = sum(map(_aligned, sizes))
        memory = self._used(size)
        for buffer, (start, length) in zip(buffers, _places(sizes), strict=True):
            with memoryview(buffer) as view, view.cast("B") as data:
                if memory is None:
                    done = 0
                    while done < length:
                        with data[done:] as rest:
                            done += os.pwrite(self.fd, rest, start + done)
                else:
                    # In pieces: between any two of them another thread may run.
                    for at in range(0, length, _PIECE):
                        with data[at : at + _PIECE] as piece:
                            memory[start + at : start + at + len(piece)] = piece
        # Not much larger than needed: the receiver may keep it for long.
        if size > self.size or size < self.size - (self.size >> _SPARE):
            os.ftruncate(self.fd, size)
            self.size = size
        if self._memory is not None and len(self._memory) < size:
            self._memory = None

    def _used(self, size: int) -> memoryview | None:
        """Return a mapping of pages that were written before, which is kept, if they suffice.

        Mapped all at once they take no longer than a system call to write to, and from then on half
        of that. New pages take longer in this way.
        """
        if not 0 < size <= self.size:
            return None
        if self._memory is None:
            mapping = self._map(self.size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
            self._memory = None if mapping is None else memoryview(mapping)
        return self._memory

    def read(self, sizes: Sequence[int]) -> list[memoryview]:
        """Return the buffers that were written, each of its size; mapped, or else copied."""
        total = sum(map(_aligned, sizes))
        memory = self._mapped(total)
        view = memoryview(self._copied(total) if memory is None else memory)
        return [view[start : start + size] for start, size in _places(sizes)]

    def raw(self, kind: type[bytes | bytearray], size: int) -> bytes | bytearray:
        """Return the first `size` bytes as an object of their own.

        Copied by the system and not from a mapping: other threads run while it does so.
        """
        if kind is bytearray:
            return self._copied(size)
        data = os.pread(self.fd, size, 0)
        # The system copies no more than 2 GiB at a time.
        return data if len(data) == size else bytes(self._copied(size))

    def _mapped(self, size: int) -> _Mapping | None:
        mapping = self._map(size, mmap.MAP_PRIVATE)
        if mapping is not None:
            mapping.number, mapping.gone = self.number, self._gone
            mapping.forks_before = _forks.last
            self._gone = None  # the mapping will say it
        return mapping

    def _map(self, size: int, flags: int) -> _Mapping | None:
        if not _can_map_more():
            return None
        try:
            if sys.version_info >= (3, 13):
                mapping = _Mapping(self.fd, size, flags=flags, trackfd=False)
            else:
                mapping = _Mapping(self.fd, size, flags=flags)
        except OSError:  # no descriptor, no room for addresses
            return None
        _Mapping.live += 1
        mapping.is_live = True
        return mapping

    def _copied(self, size: int) -> bytearray:
        data = bytearray(size)
        done = 0
        with memoryview(data) as view:
            while done < size:
                with view[done:] as rest:
                    done += os.preadv(self.fd, [rest], done)
        return data

    def holds(self, buffers: Sequence[Buffer]) -> bool:
        """Return whether it begins with just these, as `write` puts them."""
        piece = bytearray(1 << 18)  # small enough to stay in the processor's cache
        at = 0
        for buffer in buffers:
            with memoryview(buffer) as view, view.cast("B") as data:
                for start in range(0, len(data), len(piece)):
                    with data[start : start + len(piece)] as part:
                        if os.preadv(self.fd, [piece], at + start) < len(part):
                            return False
                        if not piece.startswith(part):
                            return False
                at = _aligned(at + len(data))
        return True


def file_of(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _places(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield where each buffer begins, and its size."""
    at = 0
    for size in sizes:
        yield at, size
        at += _aligned(size)


def sizes_of(buffers: Sequence[Buffer]) -> tuple[int, ...]:
    """Return how many bytes each buffer has."""
    return tuple(memoryview(buffer).nbytes for buffer in buffers)


# In the place of a size: it is a descriptor.
A_DESCRIPTOR: Final = -1


def sizes_apart(parts: Sequence[Buffer | Descriptor]) -> tuple[int, ...]:
    """Return how many bytes each part has; `A_DESCRIPTOR` for descriptors."""
    return tuple(
        A_DESCRIPTOR if isinstance(part, Descriptor) else memoryview(part).nbytes for part in parts
    )


def room_for(buffers: Sequence[Buffer]) -> int:
    """Return how many bytes of a segment `buffers` take."""
    return sum(map(_aligned, sizes_of(buffers)))


def written(buffers: Sequence[Buffer]) -> Segment | None:
    """Return a new segment that holds `buffers`, or None where none can be had."""
    return write_into(Segment.new(), buffers)


def write_into(segment: Segment | None, buffers: Sequence[Buffer]) -> Segment | None:
    """Return `segment` with `buffers` written into it, or None where it has no room for them."""
    if segment is not None:
        try:
            segment.write(buffers)
        except OSError:  # no memory left, or no file may be so large
            return None
    return segment
