"""Segments: shared memory that carries large values from one process to another.

A large buffer does not go through the socket. The sender writes the buffer into a segment:
anonymous memory that has a file descriptor. Then the sender sends the descriptor through the
socket. The receiver maps the memory privately. So the receiver has a value of its own, as after a
pickle, and the kernel copies a page only when the receiver writes to the page.

The kernel frees a segment when no process has it open or mapped any more, however processes end.
Only Linux has ``memfd_create``, which makes a segment. On other systems, or if no memory is left, a
large value travels through the socket like any other value.

To get new pages of memory takes longer than to copy data into pages. So a sender may use a segment
again when the receiver says that it does not map the segment any more (see the module
`segment_pool`). The sender then writes through a mapping that it keeps.
"""

from __future__ import annotations

import mmap
import os
import sys

from .descriptors import Descriptor, Mark

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pickle import PickleBuffer
    from typing import Final

    from typing_extensions import Buffer

# A buffer of this many bytes or more is worth a segment, which costs a few system calls and page
# faults.
LARGE: Final = 1 << 17
# How many shared-memory segments one message may have, and how many descriptors are sent at a time.
MOST: Final = 64
# Each buffer in a segment begins at a multiple of this many bytes: the size of a cache line of the
# processor and of its widest vectors.
_ALIGNMENT = 64
_PIECE = 1 << 20  # how many bytes are copied in one step, during which no other thread can run
_SPARE = 3  # a segment may have up to an eighth (1 / 2 ** 3) of its size unused


# Whether each `mmap` object keeps a file descriptor of its own, as before Python 3.13.
_KEEPS_DESCRIPTOR = sys.version_info < (3, 13)


def sieve(
    apart: list[Buffer | Descriptor], least: int | None = LARGE
) -> Callable[[PickleBuffer], bool]:
    """Return a function that tells pickle whether a buffer is to be part of the pickle.

    The pickler calls the function, its `buffer_callback`, with each buffer.

    Args:
        apart: the list that receives what is not part of the pickle: large buffers and descriptors.
        least: the number of bytes from which a buffer is large; None: no buffer is large.
    """

    def is_part(buffer: PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:
            # Memory that is not contiguous cannot be sent beside the pickle, so it stays in the
            # pickle.
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
    """Return how many segments a message may have, given this process's limit of open files.

    This function assumes that the receiver has the same limit.
    """
    return max(1, min(MOST, _descriptors() // 16))


def _can_map_more() -> bool:
    """Return whether this process can open another descriptor, as a mapping needs one."""
    return not _KEEPS_DESCRIPTOR or _Mapping.live < max(4, _descriptors() // 4)


def _descriptors() -> int:
    """Return how many file descriptors this process may have open."""
    # The module `resource` is imported only here, because Windows does not have it; on Windows no
    # segment arrives.
    import resource

    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if limit == resource.RLIM_INFINITY else limit


class _Mapping(mmap.mmap):
    """A mapping of a segment into memory.

    When the mapping ends, the number of the segment is recorded, so that the segment can be used
    again.
    """

    # How many segments this process has mapped.
    live = 0

    # Whether this mapping is one of those that `live` counts.
    is_live = False
    number = 0
    # The list to which the segment's number is added when nothing uses the mapped memory any more.
    gone: list[int] | None = None
    # What `_forks.last` was when the memory was mapped: another value later shows that the process
    # was forked since then.
    forks_before: object = None

    def __del__(self) -> None:
        _Mapping.live -= self.is_live
        try:
            self.close()
        except BufferError:
            # The mapping is garbage, in a reference cycle. Another object of the cycle may still
            # use the memory, so the memory is not reported as unused.
            return
        # A process that was forked after the segment was mapped may still have the segment mapped.
        if self.gone is not None and self.forks_before is _forks.last and not _forks.now:
            self.gone.append(self.number)


class _Forks:
    """Whether this process is being forked now, and whether it was forked since a given moment.

    A forked process has all mappings of its parent. If a library calls ``fork`` in C, Python does
    not report this fork, so it is not counted.
    """

    def __init__(self) -> None:
        # How many threads are forking now. If a signal handler raises in `_end`, the number stays
        # too high. Then no shared memory is used again, which costs only time.
        self.now = 0
        # Each fork puts a new object here. Code that has kept the object from before sees by that
        # that a fork has happened.
        self.last = object()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._begin, after_in_parent=self._end, after_in_child=self._forget
            )

    # Between any two lines of the next three methods another thread may map or release a segment.
    # The order of the lines makes sure that every mapping that existed at some time between the
    # start of `_begin` and the end of `_end` counts as one that the forked process has.
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
    """A piece of shared memory; its descriptor is closed with the last reference to this object."""

    # A signal handler may raise inside `__init__`. Then `__del__` reads these values of the class.
    fd: int = -1
    _gone: list[int] | None = None
    # Device and inode of the memory. The program may close the descriptor, and another file may get
    # its number; `is_open` notices that by device and inode.
    _file: tuple[int, int] | None = None

    def __init__(self, fd: int, number: int = 0, gone: list[int] | None = None) -> None:
        """Take over the descriptor of a segment.

        Args:
            fd: the descriptor.
            number: the number by which the sender knows the lent segment; 0: the segment is not
                lent.
            gone: the list that gets the number when neither this object nor its mapping is left.
        """
        self.fd = fd
        self.keep()
        self.size: int = 0
        self.number = number
        self._gone = gone if number else None
        # The mapping that the sender keeps to write into the segment again.
        self._memory: memoryview | None = None

    @classmethod
    def new(cls) -> Segment | None:
        """Return a new, empty segment, or None if the system cannot make one."""
        try:
            return cls(os.memfd_create("pmap", os.MFD_CLOEXEC))
        except (AttributeError, OSError):
            # There is no segment: the system has no `memfd_create`, or no descriptor is left.
            return None

    def __del__(self) -> None:
        try:
            if self.is_open():
                os.close(self.fd)
        except OSError:
            pass  # the user's code has closed the descriptor already
        if self._gone is not None:
            self._gone.append(self.number)

    def keep(self) -> bool:
        """Record which file (device and inode) is behind the descriptor, for `is_open`.

        Return False if the descriptor was closed already.
        """
        try:
            self._file = self._file or file_of(self.fd)
        except OSError:
            return False
        return True

    def is_open(self) -> bool:
        """Return whether the descriptor still belongs to this segment, and not to another file.

        Also return True if `keep` was never called.
        """
        try:
            return self._file is None or self._file == file_of(self.fd)
        except OSError:
            return False

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Write `buffers` into the segment, from its beginning on.

        Raises OSError if there is no memory for the buffers.
        """
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
                    # Copying is done in pieces, so that other threads can run between them.
                    for at in range(0, length, _PIECE):
                        with data[at : at + _PIECE] as piece:
                            memory[start + at : start + at + len(piece)] = piece
        # A segment that is much larger than its contents is made smaller: the receiver may keep the
        # segment for a long time.
        if size > self.size or size < self.size - (self.size >> _SPARE):
            os.ftruncate(self.fd, size)
            self.size = size
        if self._memory is not None and len(self._memory) < size:
            self._memory = None

    def _used(self, size: int) -> memoryview | None:
        """Return a mapping through which the sender writes into a segment that was used before.

        Return None if `size` is larger than the segment, or if the segment cannot be mapped. The
        mapping is made once and kept, with all its pages. The first write through the mapping takes
        no longer than a system call that writes; each later write takes half that time. A segment
        with new pages is written by a system call, because to write new pages through a mapping
        takes longer.
        """
        if not 0 < size <= self.size:
            return None
        if self._memory is None:
            mapping = self._map(self.size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
            self._memory = None if mapping is None else memoryview(mapping)
        return self._memory

    def read(self, sizes: Sequence[int]) -> list[memoryview]:
        """Return the buffers that `write` has written into the segment, given their sizes.

        The buffers are views of a private mapping, or of a copy if the segment cannot be mapped.
        """
        total = sum(map(_aligned, sizes))
        memory = self._mapped(total)
        view = memoryview(self._copied(total) if memory is None else memory)
        return [view[start : start + size] for start, size in _places(sizes)]

    def raw(self, kind: type[bytes | bytearray], size: int) -> bytes | bytearray:
        """Return the first `size` bytes of the segment as an object of the type `kind`.

        A system call copies the bytes, so other threads can run meanwhile. While bytes are copied
        from a mapping, no other thread can run.
        """
        if kind is bytearray:
            return self._copied(size)
        data = os.pread(self.fd, size, 0)
        # One system call copies at most 2 GiB; more bytes are copied by several calls.
        return data if len(data) == size else bytes(self._copied(size))

    def _mapped(self, size: int) -> _Mapping | None:
        mapping = self._map(size, mmap.MAP_PRIVATE)
        if mapping is not None:
            mapping.number, mapping.gone = self.number, self._gone
            mapping.forks_before = _forks.last
            # From now on the mapping reports that the memory is no longer used, and not this
            # object.
            self._gone = None
        return mapping

    def _map(self, size: int, flags: int) -> _Mapping | None:
        if not _can_map_more():
            return None
        try:
            if sys.version_info >= (3, 13):
                mapping = _Mapping(self.fd, size, flags=flags, trackfd=False)
            else:
                mapping = _Mapping(self.fd, size, flags=flags)
        except OSError:  # the process has no descriptor or no address space left for a mapping
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
        """Return whether the segment begins with exactly these buffers, laid out as by `write`."""
        # The size of the pieces that are compared, which fits the processor's cache.
        piece = bytearray(1 << 18)
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
    """Yield where each of several buffers begins in a segment, and its size."""
    at = 0
    for size in sizes:
        yield at, size
        at += _aligned(size)


def sizes_of(buffers: Sequence[Buffer]) -> tuple[int, ...]:
    """Return how many bytes each buffer has."""
    return tuple(memoryview(buffer).nbytes for buffer in buffers)


# In a list of sizes of buffers, this value stands for a descriptor among the buffers.
A_DESCRIPTOR: Final = -1


def sizes_apart(parts: Sequence[Buffer | Descriptor]) -> tuple[int, ...]:
    """Return the size of each buffer in `parts`, and `A_DESCRIPTOR` for each descriptor."""
    return tuple(
        A_DESCRIPTOR if isinstance(part, Descriptor) else memoryview(part).nbytes for part in parts
    )


def room_for(buffers: Sequence[Buffer]) -> int:
    """Return how many bytes of a segment `buffers` take, including the gaps between them."""
    return sum(map(_aligned, sizes_of(buffers)))


def written(buffers: Sequence[Buffer]) -> Segment | None:
    """Return a new segment that holds `buffers`, or None if the system has no memory for one."""
    return write_into(Segment.new(), buffers)


def write_into(segment: Segment | None, buffers: Sequence[Buffer]) -> Segment | None:
    """Write `buffers` into `segment` and return it.

    Return None if no segment was given, or if no memory is left.
    """
    if segment is not None:
        try:
            segment.write(buffers)
        except OSError:
            # The segment cannot be written: no memory is left, or the process may write no files of
            # this size.
            return None
    return segment
