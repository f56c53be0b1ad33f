"""The laws on the threads of a standard executor, in which items run as they are."""

from typing import Final

from tests.engines.laws import OF_THE_CALLER, ON_ALL, by_name
from tests.engines.places import THREADS, Place

PLACES: Final[list[Place]] = [THREADS]
globals().update(by_name(ON_ALL, OF_THE_CALLER))
