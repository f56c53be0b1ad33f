"""What the processes of a program take, read from ``/proc``; on Linux only."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


def tree(pid: int) -> list[int]:
    """Return `pid` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                # The name of the program stands in brackets, and may hold anything.
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                children.setdefault(int(parent), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu(pids: list[int], but: int | None = None) -> float:
    """Return the seconds of CPU that the threads of these have used, those that live.

    The thread `but` is left out.
    """
    nanoseconds = 0
    for pid in pids:
        for thread in (PROC / str(pid) / "task").glob("*/schedstat"):
            if thread.parent.name == str(but):
                continue
            with suppress(OSError):
                nanoseconds += int(thread.read_text().split()[0])
    return nanoseconds / 1e9


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return len(list((PROC / str(pid) / "task").iterdir()))


def memory(pids: list[int]) -> float:
    """Return the MB that these take, what they share divided among those who share it (PSS)."""
    kilobytes = 0
    for pid in pids:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024


def memory_of_all(pids: list[int]) -> float:
    """Return the MB that these take together, some of which may be about to end.

    What they share is counted once: the PSS of what is theirs alone, and of shared memory the
    greater of what they have mapped and of what they have open, since an anonymous file takes its
    memory whether somebody maps it or not.
    """
    own, mapped = 0, 0
    open_files: dict[tuple[int, int], int] = {}
    for pid in pids:
        with suppress(OSError):
            rollup = (PROC / str(pid) / "smaps_rollup").read_text()
            sizes = dict(line.split()[:2] for line in rollup.splitlines()[1:])
            shared = int(sizes.get("Pss_Shmem:", 0))
            own += int(sizes["Pss:"]) - shared
            mapped += shared
            for link in (PROC / str(pid) / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(link).startswith(("/memfd:", "/dev/shm/")):  # noqa: S108
                        facts = link.stat()
                        open_files[facts.st_dev, facts.st_ino] = facts.st_blocks // 2
    return (own + max(mapped, sum(open_files.values()))) / 1024


def resident() -> int:
    """Return how many bytes of memory this process holds."""
    return int((PROC / "self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def end(pids: list[int]) -> None:
    """Kill what is left of these."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)  # what they held is given back before the next measurement
