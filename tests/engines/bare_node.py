"""An executor whose tasks run in another environment, which has neither pmap nor our packages."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

# What the process of the other environment does: it knows plain pickle only.
_SERVE: Final = """
import pickle
import sys

while head := sys.stdin.buffer.read(8):
    f, args = pickle.loads(sys.stdin.buffer.read(int.from_bytes(head, "big")))
    answer = f(*args)
    sys.stdout.buffer.write(len(answer).to_bytes(8, "big") + answer)
    sys.stdout.buffer.flush()
"""


def bare_environment(folder: Path) -> str:
    """Make an environment with nothing but Python; return its interpreter."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")


class BareNode(Executor):
    """One process of another environment, with a folder of its own for temporary files."""

    def __init__(self, python: str, temporary: Path) -> None:
        temporary.mkdir(exist_ok=True)
        places = {"TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._process = subprocess.Popen(
            [python, "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=temporary,
            env=kept | places,
        )
        self._thread = ThreadPoolExecutor(1)
        self.sizes: list[int] = []  # how many bytes each task had

    def submit(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run a task there."""
        return self._thread.submit(self._ask, pickle.dumps((f, args)))

    def _ask(self, data: bytes) -> bytes:
        self.sizes.append(len(data))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(len(data).to_bytes(8, "big") + data)
        self._process.stdin.flush()
        size = int.from_bytes(self._process.stdout.read(8), "big")
        return self._process.stdout.read(size)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the process when its task is finished."""
        self._thread.shutdown(wait=wait, cancel_futures=cancel_futures)
        self._process.communicate()
