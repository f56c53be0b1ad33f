"""The stubs say of the third parties what the installed packages say themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]


@pytest.mark.parametrize("package", sorted(p.name for p in (TOP / "stubs").iterdir()))
def test_a_stub_agrees_with_the_installed_package(package: str) -> None:
    pytest.importorskip(package)
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", package, "--ignore-missing-stub"],
        cwd=TOP,
        env={**os.environ, "MYPYPATH": str(TOP / "stubs")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues found" in done.stdout
