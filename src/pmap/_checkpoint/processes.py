"""Which process has claimed items in a checkpoint, and whether it lives."""

import os
import time
from functools import cache
from typing import Final

# Seconds between two signs of life of a process, and after which a process without one is dead, if
# nothing else tells.
BEAT: Final = 5.0
_SILENT: Final = 60.0
# Seconds after which a process that lives, and gives no sign of life, is taken to have left its
# claims behind: its disk was full when it wanted to give them up, say.
_STUCK: Final = 600.0


def _place() -> str:
    """Return which boot and which namespace the numbers of processes belong to; empty: unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            return f"{boot.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux, or there is no /proc
        return ""


def _began(pid: int) -> str | None:
    """Return when a process began, in ticks since the boot; None: there is no such process."""
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
    """Return a text that tells this process from all others, also from later ones of its number."""
    return _this(os.getpid())


def is_alive(process: str, beat: float) -> bool:
    """Return whether a process lives; `beat`: the time of its last sign of life.

    Where that cannot be seen (another machine or container, not Linux), it lives if its last sign
    of life is not old.
    """
    pid, began, place = process.split(" ", 2)
    if place and place == this_process().split(" ", 2)[2]:
        return _began(int(pid)) == began and abs(time.time() - beat) < _STUCK
    return abs(time.time() - beat) < _SILENT
