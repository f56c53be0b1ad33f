"""The laws on the processes of a standard executor."""

from typing import Final

from tests.engines.laws import OF_THE_CALLER, ON_ALL, WITH_INNER_WORKERS, by_name
from tests.engines.places import PROCESSES, Place

PLACES: Final[list[Place]] = [PROCESSES]
globals().update(by_name(ON_ALL, OF_THE_CALLER, WITH_INNER_WORKERS))
