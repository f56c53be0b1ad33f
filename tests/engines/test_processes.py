"""Some laws on the processes of a standard executor; all of them: `test_all_processes`."""

from typing import Final

from tests.engines.laws import QUICK
from tests.engines.places import PROCESSES, Place

PLACES: Final[list[Place]] = [PROCESSES]
globals().update({test.__name__: test for test in QUICK})
