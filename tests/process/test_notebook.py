"""A notebook: cells run in a real Jupyter kernel. Skipped where the `notebook` extra is missing."""

import importlib.util
from pathlib import Path

import pytest
from tests.scripts import finished

NEEDED = ("ipykernel", "jupyter_client")


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, NEEDED)),
    reason="the extra `notebook` is not installed: nox -s notebook",
)
def test_a_notebook(tmp_path: Path) -> None:
    # In a process of its own: Jupyter's client leaves a thread behind.
    cells = Path(__file__).with_name("notebook_cells.py")
    done = finished([str(cells), str(tmp_path)], tmp_path)
    # The kernel warns of its own on stderr.
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
