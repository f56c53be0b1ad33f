"""Small files without a name, for a few pages of memory that two processes share."""

import os
import sys


def small_file() -> int:
    """Return the descriptor of a new file of a few pages without a name; -1 if none can be made.

    If the system has no files in memory, the file is a deleted one on the disk. As long as a
    process has mapped so small a file, the kernel keeps its pages in memory.
    """
    if sys.platform == "win32":  # Windows cannot delete a file that is open
        return -1
    if hasattr(os, "memfd_create"):
        try:
            return os.memfd_create("pmap", os.MFD_CLOEXEC)
        except OSError:  # the kernel is too old, or no descriptor is left
            return -1
    import tempfile

    try:
        fd, path = tempfile.mkstemp(prefix="pmap-")
    except OSError:  # no directory is writable, or no descriptor is left
        return -1
    os.unlink(path)
    return fd
