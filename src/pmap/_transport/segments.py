"""Segments: memory that carries large values from one process to another.

A large buffer does not go through the socket. The sender writes it into anonymous memory that has a
descriptor, and sends the descriptor through the socket. The receiver maps that memory privately. So
what it gets is its own, as after a pickle, and a page is copied only when the receiver writes to
it.

The kernel counts which processes have a segment open or mapped, so no segment is left over, however
a process ends. Where there is no such memory (``memfd_create`` is Linux's), or none is to be had, a
large value travels through the socket like any other.

New pages cost more than the copy into them. So a sender may use a segment again once the receiver
says that nothing of it is mapped any more (see `segment_pool`). It then writes through a mapping
that it keeps.
"""

from __future__ import annotations

import mmap
import os
import sys

from .descriptors import Descriptor, Mark

TYPE_CHECKING = False  # `typing` is not imported here: see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pickle import PickleBuffer
    from typing import Final

    from typing_extensions import Buffer

# Bytes from which a buffer is worth a segment, which costs a few system calls and page faults.
LARGE: Final = 1 << 17
# Segments in one message, at most.
MOST: Final = 64
# Bytes: each buffer in a segment begins at a multiple of this, which is the size of a cache line
# and of the widest vector there is.
_ALIGNMENT = 64
_PIECE = 1 << 20  # bytes copied in one step, where copying keeps other threads from running
_SPARE = 3  # a segment may be an eighth (1 / 2 ** 3) larger than its contents


# Whether each mapping keeps a descriptor of its own.
_KEEPS_DESCRIPTOR = sys.version_info < (3, 13)


def sieve(
    apart: list[Buffer | Descriptor], least: int | None = LARGE
) -> Callable[[PickleBuffer], bool]:
    """Return the function that pickle asks whether a buffer is to be part of the pickle.

    Args:
        apart: receives what is not part of it: large buffers, and descriptors.
        least: bytes from which a buffer is large; None: no buffer is.
    """

    def is_part(buffer: PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # the buffer is not contiguous
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
    """Return how many segments a message may have, given the limit of open files here.

    It is assumed that workers may open as many files.
    """
    return max(1, min(MOST, _descriptors() // 16))


def _can_map_more() -> bool:
    """Return whether this process has descriptors to spare for another mapping."""
    return not _KEEPS_DESCRIPTOR or _Mapping.live < max(4, _descriptors() // 4)


def _descriptors() -> int:
    """Return how many descriptors this process may have."""
    import resource  # Windows does not have it, and no segment arrives there

    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if limit == resource.RLIM_INFINITY else limit


class _Mapping(mmap.mmap):
    """A mapped segment; it notes its number in `gone` when its memory is no longer used."""

    live = 0

    is_live = False
    number = 0
    # A list that gets this segment's number when the mapping is released
    gone: list[int] | None = None
    forks_before: object = None

    def __del__(self) -> None:
        _Mapping.live -= self.is_live
        try:
            self.close()
        except BufferError:
            # The mapping is in a reference cycle: another object in it uses the memory and may
            # live on.
            return
        # A process that was forked since the segment was mapped may still have it mapped.
        if self.gone is not None and self.forks_before is _forks.last and not _forks.now:
            self.gone.append(self.number)


class _Forks:
    """Whether this process is being forked, with all its mappings, and when it last was.

    Python does not report forks by libraries that call ``fork`` themselves; they are not counted.
    """

    def __init__(self) -> None:
        # How many threads are forking. If a signal's exception strikes in `_end`, the number stays
        # too high; then segments are not used again, which only costs time.
        self.now = 0
        self.last = object()  # a new object at each fork
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._begin, after_in_parent=self._end, after_in_child=self._forget
            )

    # In these methods another thread may map or release a segment between any two lines. From
    # before `now` is raised until after `last` is replaced, the fork counts as having each such
    # mapping.
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

    # What `__del__` finds if a signal's exception interrupts `__init__`.
    fd: int = -1
    _gone: list[int] | None = None
    # Device and inode: the program may close the descriptor, and another file may get its number.
    _file: tuple[int, int] | None = None

    def __init__(self, fd: int, number: int = 0, gone: list[int] | None = None) -> None:
        """Take over a descriptor.

        Args:
            fd: the descriptor.
            number: by which the sender knows it; 0 if the sender does not want it back.
            gone: the list that gets the number when neither this object nor its mapping is left.
        """
        self.fd = fd
        self.keep()
        self.size: int = 0
        self.number = number
        self._gone = gone if number else None
        # A mapping that the sender keeps in order to write into the segment again
        self._memory: memoryview | None = None

    @classmethod
    def new(cls) -> Segment | None:
        """Return an empty segment, or None where none can be had."""
        try:
            return cls(os.memfd_create("pmap", os.MFD_CLOEXEC))
        except (AttributeError, OSError):  # the system has no such memory, or no descriptor is left
            return None

    def __del__(self) -> None:
        try:
            if self.is_open():
                os.close(self.fd)
        except OSError:
            pass  # an item closed the descriptor
        if self._gone is not None:
            self._gone.append(self.number)

    def keep(self) -> bool:
        """Note which file the descriptor is of, for `is_open`.

        Returns False if the descriptor was closed already.
        """
        try:
            self._file = self._file or file_of(self.fd)
        except OSError:
            return False
        return True

    def is_open(self) -> bool:
        """Return whether the descriptor is still that of this memory, as far as is known."""
        try:
            return self._file is None or self._file == file_of(self.fd)
        except OSError:
            return False

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Write `buffers` from the beginning on; raises OSError if there is no room for them."""
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
                    # Copy in pieces: between two of them another thread may run.
                    for at in range(0, length, _PIECE):
                        with data[at : at + _PIECE] as piece:
                            memory[start + at : start + at + len(piece)] = piece
        # Keep the segment about as large as its contents: the receiver may keep it for long.
        if size > self.size or size < self.size - (self.size >> _SPARE):
            os.ftruncate(self.fd, size)
            self.size = size
        if self._memory is not None and len(self._memory) < size:
            self._memory = None

    def _used(self, size: int) -> memoryview | None:
        """Return a kept mapping of the pages that were written before; None if `size` exceeds them.

        All pages are mapped at once. The first write through such a mapping takes no longer than a
        system call, and each later write takes half of that. New pages would take longer through a
        mapping.
        """
        if not 0 < size <= self.size:
            return None
        if self._memory is None:
            mapping = self._map(self.size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
            self._memory = None if mapping is None else memoryview(mapping)
        return self._memory

    def read(self, sizes: Sequence[int]) -> list[memoryview]:
        """Return the buffers that were written, with these sizes: mapped, or copied if need be."""
        total = sum(map(_aligned, sizes))
        memory = self._mapped(total)
        view = memoryview(self._copied(total) if memory is None else memory)
        return [view[start : start + size] for start, size in _places(sizes)]

    def raw(self, kind: type[bytes | bytearray], size: int) -> bytes | bytearray:
        """Return the first `size` bytes as an object of its own.

        A system call copies them, so other threads run meanwhile. A copy from a mapping would not
        let them run.
        """
        if kind is bytearray:
            return self._copied(size)
        data = os.pread(self.fd, size, 0)
        # One system call copies at most 2 GiB.
        return data if len(data) == size else bytes(self._copied(size))

    def _mapped(self, size: int) -> _Mapping | None:
        mapping = self._map(size, mmap.MAP_PRIVATE)
        if mapping is not None:
            mapping.number, mapping.gone = self.number, self._gone
            mapping.forks_before = _forks.last
            self._gone = None  # from now on the mapping notes the number
        return mapping

    def _map(self, size: int, flags: int) -> _Mapping | None:
        if not _can_map_more():
            return None
        try:
            if sys.version_info >= (3, 13):
                mapping = _Mapping(self.fd, size, flags=flags, trackfd=False)
            else:
                mapping = _Mapping(self.fd, size, flags=flags)
        except OSError:  # no descriptor is left, or no address space
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
        """Return whether the segment begins with just these buffers, as `write` places them."""
        piece = bytearray(1 << 18)  # bytes; so few stay in the processor's cache
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
    """Yield where each buffer begins in a segment, and its size."""
    at = 0
    for size in sizes:
        yield at, size
        at += _aligned(size)


def sizes_of(buffers: Sequence[Buffer]) -> tuple[int, ...]:
    """Return how many bytes each buffer has."""
    return tuple(memoryview(buffer).nbytes for buffer in buffers)


# Stands in place of a size for a descriptor.
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
        except OSError:  # no memory is left, or no file may be so large
            return None
    return segment
