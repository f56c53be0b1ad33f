"""The current directory is read as `os.getcwd` reads it, also where that keeps the lock."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmap._jobs import directory
from pmap._jobs.directory import directory_now

posix = pytest.mark.skipif(os.name != "posix", reason="`os.getcwd` is called on Windows")


@pytest.fixture(autouse=True)
def _back() -> Iterator[None]:
    here = os.getcwd()
    yield
    os.chdir(here)


@pytest.fixture(params=["os", "ctypes"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the directory is read; it is the first in a process that made few calls."""
    monkeypatch.setattr(directory, "_read", None)
    monkeypatch.setattr(directory, "_calls", 0)
    monkeypatch.setattr(directory, "_last", None)
    if request.param == "ctypes":
        if os.name != "posix":
            pytest.skip("`os.getcwd` is called on Windows")
        directory._prepare()
    return str(request.param)


def test_each_change_of_directory_is_seen(way: str, tmp_path: Path) -> None:
    folders = [tmp_path, tmp_path / "a", tmp_path / "a" / "é", tmp_path / "b c"]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    for folder in [*folders, *reversed(folders)]:
        os.chdir(folder)
        assert directory_now() == os.getcwd() == str(folder)
        assert directory_now() == str(folder)


@posix
def test_a_change_by_descriptor_is_seen(way: str, tmp_path: Path) -> None:
    directory_now()
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        os.fchdir(folder)
        assert directory_now() == str(tmp_path)
    finally:
        os.close(folder)


@posix
def test_a_directory_that_was_deleted_is_none(way: str, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert directory_now() is None
    os.chdir(tmp_path)
    assert directory_now() == str(tmp_path)


@posix
def test_a_path_of_any_length_is_read(way: str, tmp_path: Path) -> None:
    os.chdir(tmp_path)
    for _ in range(20):  # a path of more bytes than the system takes as an argument
        os.mkdir("x" * 250)
        os.chdir("x" * 250)
        assert directory_now() == os.getcwd()


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="the file system takes valid UTF-8 only")
def test_a_name_that_is_no_text_is_read(way: str, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(name)
    os.chdir(name)
    assert directory_now() == os.getcwd() == os.fsdecode(name)


def test_without_ctypes_the_directory_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_read", None)
    monkeypatch.setattr(directory, "_calls", directory._WORTH - 1)
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert [directory_now(), directory_now()] == [os.getcwd()] * 2
    assert directory._read is None
