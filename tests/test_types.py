"""Types that hold: mypy --strict and basedpyright strict, on package, tests and examples."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
CHECKED = [
    folder for folder in ("src", "tests", "examples", "benchmarks") if (TOP / folder).exists()
]

# Each checker looks at everything.
pytestmark = pytest.mark.limit(1200)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    # basedpyright looks for the packages in the environment that is first on PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=TOP,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_mypy_strict() -> None:
    done = run("mypy", "--strict", *CHECKED)
    assert done.returncode == 0, done.stdout + done.stderr


def test_basedpyright_strict() -> None:
    # Not of another version than this one: the installed packages may be too new for that.
    version = ".".join(map(str, sys.version_info[:2]))
    interpreter = ["--pythonpath", sys.executable, "--pythonversion", version]
    done = run("basedpyright", *interpreter, *CHECKED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors, 0 warnings" in done.stdout


def test_each_wrong_call_is_expected_to_be_seen_by_both() -> None:
    lines = (TOP / "tests/typing/rejected.py").read_text(encoding="utf-8").splitlines()
    marked = [line for line in lines if "# type: ignore[" in line]
    assert len(marked) >= 40
    assert all("# pyright: ignore[" in line for line in marked)


def test_the_public_types_are_complete() -> None:
    try:
        importlib.metadata.distribution("typed-pmap")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("--verifytypes looks at the installed package, and typed-pmap is not installed")
    done = run("basedpyright", "--verifytypes", "pmap", "--ignoreexternal", "--outputjson")
    report = json.loads(done.stdout)["typeCompleteness"]
    incomplete = [
        (symbol["name"], [d["message"] for d in symbol["diagnostics"]])
        for symbol in report["symbols"]
        if not symbol["isTypeKnown"]
    ]
    assert report["packageName"] == "pmap"
    assert report["exportedSymbolCounts"]["withKnownType"] > 0, "the package was not found"
    assert report["completenessScore"] == 1, incomplete
