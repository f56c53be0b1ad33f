"""Shared memory as it is, none, too little, or refused now and then; and what large values go to.

Workers import this module, so it imports little.
"""

import errno
import mmap
import os
import zlib
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tests.files import mark, marks
from tests.signals import KILL

from pmap._transport import segments
from pmap._transport.segments import LARGE

ROOM: Final = 4 * LARGE  # bytes that fit into a segment where there is little memory

Patch: TypeAlias = Callable[[object, str, object], None]
Array: TypeAlias = NDArray[np.int64]
Value: TypeAlias = "bytes | bytearray | str | int | Array | list[Value]"
Changed: TypeAlias = tuple[object, Value]  # what it was, and what was made of it


# --- what memory there is ------------------------------------------------------------------------


def _refuse(number: int, *_: object) -> None:
    raise OSError(number, os.strerror(number))


def _as_it_is(patch: Patch) -> None:
    del patch


def _none(patch: Patch) -> None:
    patch(os, "memfd_create", partial(_refuse, errno.ENOSYS))


def _little(patch: Patch) -> None:
    """Let the first bytes be written, as the system does, and then say that it is full."""
    write = os.pwrite

    def pwrite(fd: int, data: memoryview, at: int) -> int:
        if at >= ROOM:
            _refuse(errno.ENOSPC)
        with data[: ROOM - at] as fits:
            return write(fd, fits, at)

    patch(os, "pwrite", pwrite)


def _now_and_then(patch: Patch) -> None:
    """Refuse each third segment, each fifth write when half is written, each fourth mapping."""
    create, write, can_map = os.memfd_create, os.pwrite, segments._can_map_more
    created, written, mapped = count(1), count(1), count(1)

    def memfd_create(name: str, flags: int) -> int:
        if next(created) % 3 == 0:
            _refuse(errno.EMFILE)
        return create(name, flags)

    def pwrite(fd: int, data: memoryview, at: int) -> int:
        if next(written) % 5 == 0:
            with data[: len(data) // 2] as half:
                write(fd, half, at)
            _refuse(errno.ENOSPC)
        return write(fd, data, at)

    patch(os, "memfd_create", memfd_create)
    patch(os, "pwrite", pwrite)
    patch(segments, "_can_map_more", lambda: next(mapped) % 4 != 0 and can_map())


MEMORIES: Final[dict[str, Callable[[Patch], None]]] = {
    "as it is": _as_it_is,
    "none": _none,
    "little": _little,
    "now and then": _now_and_then,
}


def arrange(memory: str) -> None:
    """Be what a worker begins with."""
    MEMORIES[memory](setattr)


# --- values --------------------------------------------------------------------------------------


def make(kind: str, size: int, first: int) -> Value:
    """Return a value of about `size` bytes; another one for each `first`."""
    data = (bytes(range(251)) * (size // 251 + 3))[first : first + size]
    if kind == "bytes":
        return data
    if kind == "bytearray":
        return bytearray(data)
    if kind == "str":
        return data.decode("latin-1")
    array = np.frombuffer(data + bytes(-size % 16), dtype=np.int64)
    if kind == "rows":
        return array.copy()
    if kind == "columns":
        return np.array(array.reshape(2, -1), order="F")
    return [data, array.copy(), first, [data.decode("latin-1")]]


def digest(value: Value) -> object:
    """Return what tells this value from every other one."""
    if isinstance(value, list):
        return [digest(part) for part in value]
    if isinstance(value, np.ndarray):
        flags, data = value.flags, value.tobytes("A")
        return value.dtype.str, value.shape, flags.f_contiguous, flags.writeable, zlib.crc32(data)
    if isinstance(value, (bytes, bytearray)):
        return type(value), len(value), zlib.crc32(value)
    return zlib.crc32(value.encode()) if isinstance(value, str) else value


def scribble(value: Value) -> None:
    """Write into whatever of this can be written to."""
    if isinstance(value, list):
        for part in value:
            scribble(part)
    if isinstance(value, np.ndarray):
        value = value.reshape(-1, order="A")
    if isinstance(value, (bytearray, np.ndarray)):
        value[0] ^= 1
        value[-1] ^= 2


def is_mapped(value: Any) -> bool:
    """Return whether the memory of an array is that of a mapping."""
    while isinstance(value, np.ndarray):
        value = value.base
    return isinstance(value, memoryview) and isinstance(value.obj, mmap.mmap)


# --- functions -----------------------------------------------------------------------------------


def changed(value: Value) -> Changed:
    """Return what `value` was, and what this made of it."""
    before = digest(value)
    scribble(value)
    return before, value


def changed_row(value: Value, number: int) -> tuple[Changed, int]:
    """Return the same, and the number."""
    return changed(value), number


def look(array: NDArray[np.float64]) -> tuple[bool, NDArray[np.float64]]:
    """Return whether the array came in shared memory; and the array."""
    return is_mapped(array), array


class Refused(Exception):
    """Carries a large value."""

    def __init__(self, number: int, value: Value) -> None:
        super().__init__(number, value)
        self.number = number
        self.value = value


def refuse_some(failing: frozenset[int], folder: str, value: Value, number: int) -> Changed:
    """Note that `number` began; raise for some."""
    mark(folder, number)
    if number in failing:
        scribble(value)
        raise Refused(number, value)
    return changed(value)


def die_at(folder: str, fatal: int, times: int, value: Value, number: int) -> Changed:
    """Note that `number` began; at one of them the worker dies so many times."""
    mark(folder, number)
    result = changed(value)
    if number == fatal and marks(folder).count(str(number)) <= times:
        os.kill(os.getpid(), KILL)
    return result


def with_weights(weights: Value, number: int) -> object:
    """Return what the weights are, before somebody writes into them."""
    return digest(weights), number
