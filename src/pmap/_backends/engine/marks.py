"""Marks: files in the caller's temporary folder that tell a node that nobody wants a chunk.

An engine has no way to end a task that runs. So a node looks now and then whether the mark of its
chunk exists, if the node sees the caller's folder, as all nodes on the caller's machine do. The
caller makes the mark only when nobody wants the chunk, and removes it when the task is over. So a
call that runs to its end makes no file at all.
"""

import atexit
import os
import tempfile
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final

# The interval, in seconds, at which a node looks for the mark of its chunk.
STEP: Final = 0.1

_made: set[str] = set()


def path_of(folder: str, chunk: bytes) -> str:
    """Return the path of the file, the mark, which tells a node that nobody wants a chunk.

    `chunk` are bytes that identify the chunk.
    """
    return os.path.join(folder, f"pmap-unwanted-{chunk.hex()}")


def folder() -> str:
    """Return the folder for the marks of this process."""
    return tempfile.gettempdir()


def mark(path: str, future: "Future[Any]") -> None:
    """Make the mark at `path`, and remove it when the chunk's task is done, as `future` tells."""
    if future.done():
        return
    # The disk may be full, say. Then there is no mark, and the chunk runs to its end.
    with suppress(OSError), open(path, "xb"):
        if not _made:
            atexit.register(_remove_all)
        _made.add(path)
        # If the task is done already, `add_done_callback` itself calls `_remove`.
        future.add_done_callback(partial(_remove, path))


def _remove(path: str, _future: object) -> None:
    _made.discard(path)
    with suppress(OSError):
        os.unlink(path)


def _remove_all() -> None:
    """Remove the marks of tasks that still run, when nodes have had time to see the marks."""
    if _made:
        time.sleep(2 * STEP)
    for path in [*_made]:
        _remove(path, None)
