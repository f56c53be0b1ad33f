"""Lint and format, over the whole tree."""

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Without a file there would be nothing to complain about.
    assert done.stdout.strip()


def test_properties_stand_in_their_own_folder() -> None:
    """`tests/unit` is run at each save, and a property takes as long as many other tests."""
    units = sorted((TOP / "tests/unit").rglob("*.py"))
    assert units
    assert not [str(path) for path in units if "hypothesis" in path.read_text(encoding="utf-8")]
