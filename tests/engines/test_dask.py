"""The laws on a Dask cluster on this machine: run by ``nox -s engines``."""

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
