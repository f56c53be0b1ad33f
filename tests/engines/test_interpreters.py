"""The laws on the interpreters of a standard executor, which Python 3.14 has."""

import sys
from typing import Final

import pytest
from tests.engines.laws import (
    OF_THE_CALLER,
    ON_ALL,
    WHERE_TASKS_END,
    WITH_INNER_WORKERS,
    by_name,
)
from tests.engines.places import INTERPRETERS, Place

pytestmark = pytest.mark.skipif(sys.version_info < (3, 14), reason="it is new in Python 3.14")
PLACES: Final[list[Place]] = [INTERPRETERS]
globals().update(by_name(ON_ALL, OF_THE_CALLER, WITH_INNER_WORKERS, WHERE_TASKS_END))
