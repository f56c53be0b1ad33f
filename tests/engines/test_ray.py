"""The laws on Ray on this machine, by the recipe of docs/backends.md: ``nox -s engines``."""

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
from tests.engines.places import RAY, Place

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("default")]
PLACES: Final[list[Place]] = [RAY]
globals().update(
    by_name(ON_ALL, OF_THE_CALLER, WITH_INNER_WORKERS, WHERE_TASKS_END, WHERE_TASKS_END_ANYWHERE)
)
