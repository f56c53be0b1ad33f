"""Programs that could start processes without end, in a place where they cannot."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.limits import TIME_LIMIT
from tests.scripts import environment

FEW: Final = 400  # processes and threads that there may be at a time, in a namespace of its own
# What runs there: a command, and then a look at how many processes and threads it has had in all.
INSIDE: Final = """
echo {few} > /proc/sys/kernel/pid_max
ulimit -u {few}
{command}
code=$?
cat /proc/sys/kernel/ns_last_pid > {count}
exit $code
"""


def confined(command: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command where few processes may be, and all end with it; it has but few."""
    count = folder / "count"
    inside = INSIDE.format(few=FEW, command=shlex.join(command), count=count)
    done = subprocess.run(
        ["unshare", "-Urpf", "--mount-proc", "--kill-child", "bash", "-c", inside],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment() | more,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert 1 < int(count.read_text()) < FEW - 1
    return done


def confined_script(folder: Path, text: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a script where few processes may be."""
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    return confined([sys.executable, str(script)], folder, **more)


def can_confine() -> bool:
    """Return whether there can be a namespace of few processes here."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-Urpf", "--mount-proc", "true"], check=False).returncode == 0
