"""The laws on executors and pools with inner workers: run by ``nox -s engines``."""

from typing import Final

import pytest
from tests.engines.laws import OF_THE_CALLER, ON_ALL, WHERE_TASKS_END, WITH_INNER_WORKERS, by_name
from tests.engines.places import (
    EXECUTORLIB,
    LOKY,
    OUR_EXECUTOR,
    STANDARD_POOL,
    THREADS_INNER,
    Place,
)

pytestmark = pytest.mark.engines
PLACES: Final[list[Place]] = [LOKY, STANDARD_POOL, OUR_EXECUTOR, EXECUTORLIB, THREADS_INNER]
globals().update(by_name(ON_ALL, OF_THE_CALLER, WITH_INNER_WORKERS, WHERE_TASKS_END))
