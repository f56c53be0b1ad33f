"""Marks in files: what began, how often, and who waits for whom.

Workers import this, so it imports little.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.limits import until


def mark(folder: str, name: object) -> None:
    """Note in `folder` that `name` happened; one write, so that no two can mix."""
    fd = os.open(os.path.join(folder, "marks"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{name}\n".encode())
    finally:
        os.close(fd)


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
