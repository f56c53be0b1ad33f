"""Marks that tell a node that nobody wants a chunk: files in the caller's temporary folder.

An engine has no way to end a task that runs. A node that sees the caller's folder, as each does on
the caller's machine, looks now and then whether the file of its chunk is there. The caller makes
the file only when the chunk is not wanted, and removes it when the task is over. So a call that
runs to its end makes no file at all.
"""

import atexit
import os
import tempfile
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final

# Seconds after which a node looks again.
STEP: Final = 0.1

_made: set[str] = set()


def path_of(folder: str, chunk: bytes) -> str:
    """Return the path of the mark of a chunk; `chunk` tells it from all others."""
    return os.path.join(folder, f"pmap-unwanted-{chunk.hex()}")


def folder() -> str:
    """Return the folder for marks of this process."""
    return tempfile.gettempdir()


def mark(path: str, future: "Future[Any]") -> None:
    """Make the mark at `path`; it goes when `future`, that of the chunk's task, is done."""
    if future.done():
        return
    # A disk may be full, say. Then the chunk runs to its end.
    with suppress(OSError), open(path, "xb"):
        if not _made:
            atexit.register(_remove_all)
        _made.add(path)
        # The future calls this at once if it is done by now.
        future.add_done_callback(partial(_remove, path))


def _remove(path: str, _future: object) -> None:
    _made.discard(path)
    with suppress(OSError):
        os.unlink(path)


def _remove_all() -> None:
    """Remove the marks of tasks that outlive this process, when their nodes have seen them."""
    if _made:
        time.sleep(2 * STEP)
    for path in [*_made]:
        _remove(path, None)
