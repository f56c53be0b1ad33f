"""Flushing, after each item, the files that items write to and leave open.

Python buffers written data in the file object. Without the flush, what a finished item wrote would
be lost if the worker died later.
"""

from __future__ import annotations

import gc
import io
import os

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from weakref import ref
else:
    try:
        from _weakref import ref
    except ImportError:
        from weakref import ref

_KINDS = frozenset({io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper})


class OpenFiles:
    """The files that items have opened for writing since this worker began, and not closed."""

    def __init__(self) -> None:
        # The descriptors that were found so far. Files that are open at the start of the worker are
        # never flushed: if the worker is a fork of the caller, these include the caller's files,
        # whose buffers only the caller may write.
        self._known = _descriptors()
        self._files: list[ref[io.BufferedWriter | io.BufferedRandom | io.TextIOWrapper]] = []

    def __bool__(self) -> bool:
        return bool(self._files)

    def look(self) -> None:
        """Find the files that were opened for writing since the last call, and are still open."""
        known, self._known = self._known, _descriptors()
        new = self._known - known
        if new:
            for thing in gc.get_objects():
                if type(thing) in _KINDS and _descriptor(thing) in new and thing.writable():
                    self._files.append(ref(thing))

    def flush(self) -> None:
        """Flush all files that are still open, and forget the files that were closed."""
        gone = False
        for each in self._files:
            file = each()
            try:
                if file is None or file.closed:
                    gone = True
                else:
                    file.flush()
            except Exception:
                # flushing has failed: the disk is full, or the item has closed the descriptor
                pass
        if gone:
            self._files = [each for each in self._files if _is_open(each())]


def _is_open(file: io.IOBase | None) -> bool:
    return file is not None and not file.closed


def _descriptor(file: io.IOBase) -> int:
    try:
        return file.fileno()
    except Exception:  # a closed file, or an object without a descriptor, is left out
        return -1


def _descriptors() -> set[int]:
    """Return the numbers of the open descriptors, or an empty set if the system does not tell."""
    try:
        names = os.listdir("/dev/fd")
        # The listing includes the descriptor with which `os.listdir` has read the folder. That
        # descriptor had the lowest free number, which is free again now, so `os.dup` gets the same
        # number.
        lowest = os.dup(0)
        os.close(lowest)
        return {int(name) for name in names} - {lowest}
    except (OSError, ValueError):
        return set()
