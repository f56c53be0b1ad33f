"""Small files without a name: in memory, or on the disk and deleted."""

import os
import tempfile
from pathlib import Path

import pytest

from pmap._backends.small_file import small_file


def _is_shared(fd: int) -> bool:
    os.ftruncate(fd, 100)
    os.pwrite(fd, b"word", 50)
    same = os.dup(fd)
    try:
        return os.pread(same, 4, 50) == b"word" and os.fstat(fd).st_nlink == 0
    finally:
        os.close(same)
        os.close(fd)


def test_a_file_in_memory() -> None:
    assert _is_shared(small_file())


def test_a_file_on_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fd = small_file()
    assert not os.get_inheritable(fd)
    assert [*tmp_path.iterdir()] == []
    assert _is_shared(fd)


def test_no_place_for_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert small_file() == -1


def test_no_descriptor_for_a_file_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    assert small_file() == -1
