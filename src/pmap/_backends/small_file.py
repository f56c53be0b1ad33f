"""Small files without a name, for a few pages that two processes share."""

import os
import sys


def small_file() -> int:
    """Return the descriptor of a new file of a few pages that has no name; -1: there is none.

    Where the system has no files in memory, it is a file on the disk that was deleted: as long as
    it is mapped, the kernel keeps the pages of so small a file in memory.
    """
    if sys.platform == "win32":  # which deletes no file that is open
        return -1
    if hasattr(os, "memfd_create"):
        try:
            return os.memfd_create("pmap", os.MFD_CLOEXEC)
        except OSError:  # an old kernel, or no descriptor is left
            return -1
    import tempfile

    try:
        fd, path = tempfile.mkstemp(prefix="pmap-")
    except OSError:  # no directory can be written, or no descriptor is left
        return -1
    os.unlink(path)
    return fd
