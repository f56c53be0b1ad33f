"""Other processes: which there are below this one, and what they are at."""

import os
import signal
from pathlib import Path


def _parents() -> dict[int, int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it ended meanwhile
            parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def descendants(of: int | None = None) -> set[int]:
    """Return the ids of all processes below `of`, this one by default; zombies count."""
    parents = _parents()
    found = {of or os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {of or os.getpid()}


def describe_process(pid: int) -> str:
    """Return what there is to say of a process in one line."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        where = Path(f"/proc/{pid}/wchan").read_text(encoding="utf-8")
    except OSError:
        return f"{pid} (gone)"
    return f"{pid} state {state} in {where}: {command[:60]}...{command[-40:]}"


def show_descendants(fd: int) -> None:
    """Write to `fd` which processes there are below this one, and make them dump their stacks."""
    for pid in sorted(descendants()):
        os.write(fd, f"\nstill there: {describe_process(pid)}\n".encode())
        try:
            os.kill(pid, signal.SIGABRT)
        except ProcessLookupError:
            pass
