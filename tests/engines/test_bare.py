"""The laws on engines whose own workers run the items: run by ``nox -s engines``."""

from typing import Final

import pytest
from tests.engines.laws import ON_ALL, by_name
from tests.engines.places import PROCESSES_BARE, Place

pytestmark = pytest.mark.engines
PLACES: Final[list[Place]] = [PROCESSES_BARE]
globals().update(by_name(ON_ALL))
