"""Which process has claimed items in a checkpoint file, and whether that process lives."""

import os
import time
from functools import cache
from typing import Final

# Each process that uses the file writes a sign of life into it every `BEAT` seconds. If nothing
# else tells, a process without a sign for that long is taken for dead.
BEAT: Final = 5.0
_SILENT: Final = 60.0
# After this many seconds without a sign of life, a process that lives is taken to have forgotten
# its claims: its disk may have been full when it wanted to give them up.
_STUCK: Final = 600.0


def _place() -> str:
    """Return which boot of the machine, and which namespace, process ids belong to; "": unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            return f"{boot.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # this is not Linux, or there is no /proc
        return ""


def _began(pid: int) -> str | None:
    """Return when a process was started, in ticks since the boot.

    None: there is no such process.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


@cache
def _this(pid: int) -> str:
    return f"{pid} {_began(pid) or ''} {_place()}"


def this_process() -> str:
    """Return a text that identifies this process, even among later ones with the same id."""
    return _this(os.getpid())


def is_alive(process: str, beat: float) -> bool:
    """Return whether a process lives. `beat` is the time of its last sign of life.

    Where that cannot be seen (another machine or container, not Linux), it lives if its last sign
    of life is not old.
    """
    pid, began, place = process.split(" ", 2)
    if place and place == this_process().split(" ", 2)[2]:
        return _began(int(pid)) == began and abs(time.time() - beat) < _STUCK
    return abs(time.time() - beat) < _SILENT
