"""Which process has claimed items in a checkpoint file, and whether that process is alive."""

import os
import time
from functools import cache
from typing import Final

# Each process that uses the file writes a sign of life into it every `BEAT` seconds. A process that
# has written no sign of life for `_SILENT` seconds counts as dead, unless the system can say
# whether the process is alive.
BEAT: Final = 5.0
_SILENT: Final = 60.0
# If a process that is alive has written no sign of life for this many seconds, its claims do not
# count any more: the disk may have been full when the process was to give up its claims.
_STUCK: Final = 600.0


def _place() -> str:
    """Return the boot and the namespace to which this process's id belongs; "" if unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            return f"{boot.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # the system is not Linux, or has no /proc
        return ""


def _began(pid: int) -> str | None:
    """Return the time at which a process was started, in clock ticks since the boot.

    Return None if there is no such process.
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
    """Return a text that only this process has, and no later process with the same process id."""
    return _this(os.getpid())


def is_alive(process: str, beat: float) -> bool:
    """Return whether a process is alive. `beat` is the time of its last sign of life.

    The system may be unable to say whether the process is alive: the process may be on another
    machine or in another container, or this system is not Linux. Then the process counts as alive
    as long as its last sign of life is not old.
    """
    pid, began, place = process.split(" ", 2)
    if place and place == this_process().split(" ", 2)[2]:
        return _began(int(pid)) == began and abs(time.time() - beat) < _STUCK
    return abs(time.time() - beat) < _SILENT
