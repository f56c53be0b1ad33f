"""Files that items write to and leave open: what a finished item wrote is in them.

Python keeps what is written in the object of the file, and it would be lost with the worker.
"""

from __future__ import annotations

import gc
import io
import os

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from weakref import ref
else:
    try:
        from _weakref import ref
    except ImportError:
        from weakref import ref

_KINDS = frozenset({io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper})


class OpenFiles:
    """The files that are open for writing since this worker began."""

    def __init__(self) -> None:
        # Those of the caller, in a fork of it: what they hold is the caller's to write.
        self._known = _descriptors()
        self._files: list[ref[io.BufferedWriter | io.BufferedRandom | io.TextIOWrapper]] = []

    def __bool__(self) -> bool:
        return bool(self._files)

    def look(self) -> None:
        """Note that a file was opened, which may be closed again by now."""
        known, self._known = self._known, _descriptors()
        new = self._known - known
        if new:
            for thing in gc.get_objects():
                if type(thing) in _KINDS and _descriptor(thing) in new and thing.writable():
                    self._files.append(ref(thing))

    def flush(self) -> None:
        """Have everything that was written in the files."""
        gone = False
        for each in self._files:
            file = each()
            try:
                if file is None or file.closed:
                    gone = True
                else:
                    file.flush()
            except Exception:  # the disk is full, or its descriptor was closed
                pass
        if gone:
            self._files = [each for each in self._files if _is_open(each())]


def _is_open(file: io.IOBase | None) -> bool:
    return file is not None and not file.closed


def _descriptor(file: io.IOBase) -> int:
    try:
        return file.fileno()
    except Exception:  # it is closed, or has none
        return -1


def _descriptors() -> set[int]:
    """Return the numbers of the descriptors that are open; none where the system does not tell."""
    try:
        names = os.listdir("/dev/fd")
        # The listing has its own descriptor among them, the lowest that was free, and is again.
        lowest = os.dup(0)
        os.close(lowest)
        return {int(name) for name in names} - {lowest}
    except (OSError, ValueError):
        return set()
