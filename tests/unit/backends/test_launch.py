"""What is known of a process that was started."""

import os
import sys
from pathlib import Path

import pytest

from pmap._backends import launch as _launch


def test_without_proc_the_own_interpreter_is_known_by_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(path: str) -> str:
        raise FileNotFoundError(path)

    def no(path: str) -> bool:
        return False

    monkeypatch.setattr(os, "readlink", refuse)
    monkeypatch.setattr(os.path, "exists", no)
    binary = tmp_path / "python3"
    binary.write_bytes(b"\x7fELF")
    monkeypatch.setattr(sys, "executable", str(binary))
    assert _launch.is_surely_python(1, [str(binary), "-c", ""])
    assert not _launch.is_surely_python(1, [str(tmp_path / "python4"), "-c", ""])
    # A script that starts Python may wait for anything before.
    binary.write_bytes(b"#!/bin/sh\n")
    assert not _launch.is_surely_python(1, [str(binary), "-c", ""])
    # A program with an interpreter inside.
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    monkeypatch.setattr(sys, "executable", str(program))
    assert not _launch.is_surely_python(1, [str(program), "-c", ""])
