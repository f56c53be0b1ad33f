"""The laws on a Dask cluster on this machine: run by ``nox -s engines``."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.engines.laws import (
    OF_THE_CALLER,
    ON_ALL,
    WHERE_TASKS_END,
    WHERE_TASKS_END_ANYWHERE,
    WITH_INNER_WORKERS,
    by_name,
)
from tests.engines.places import DASK, Place

pytestmark = [
    pytest.mark.engines,
    # Threads and connections of the client end some time after it.
    pytest.mark.filterwarnings("default"),
]
PLACES: Final[list[Place]] = [DASK]
globals().update(
    by_name(ON_ALL, OF_THE_CALLER, WITH_INNER_WORKERS, WHERE_TASKS_END, WHERE_TASKS_END_ANYWHERE)
)

PROGRAM: Final = Path(__file__).parents[2] / "examples" / "anywhere.py"


@pytest.mark.parametrize("where", ["serial", "processes", "dask"])
def test_one_program_runs_unchanged_on_one_core_this_machine_and_a_cluster(where: str) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM],
        env=os.environ | {"RUN_ON": where},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "of 1000 numbers 168 are prime, the last of them is 997\n"
