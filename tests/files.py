"""Marks in files: what began, how often, and who waits for whom.

Workers import this, so it imports little.
"""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.limits import until

_LOCK = 1 << 30  # a byte far behind all that is written


def mark(folder: str, name: object) -> None:
    """Note in `folder` that `name` happened; one write, so that no two can mix."""
    fd = os.open(os.path.join(folder, "marks"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        with _alone_in(fd):
            os.write(fd, f"{name}\n".encode())
    finally:
        os.close(fd)


@contextmanager
def _alone_in(fd: int) -> Generator[None]:
    """Lock a file on Windows, where two processes that append at a time overwrite each other."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(fd, _LOCK, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_LOCK, 1)
        try:
            yield
        finally:
            os.lseek(fd, _LOCK, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
    else:
        yield


def marks(folder: str | Path) -> list[str]:
    """Return what was noted in `folder`, in order."""
    try:
        return Path(folder, "marks").read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []


def wait_for_file(path: str | Path) -> None:
    """Return when `path` exists."""
    until(lambda: os.path.exists(path), f"{path} appearing")


@contextmanager
def changed_directory(path: Path) -> Generator[None]:
    """Be in `path` for a while."""
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)
