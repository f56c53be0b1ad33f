"""All works, in the order of the report.

None of these modules imports NumPy or a peer: a worker that imports one of them should not pay
for it.
"""

from typing import Final

from ..work import Work
from . import (
    arrays,
    calls,
    engines,
    jobs,
    progress,
    raw,
    real,
    rest,
    start,
    timing,
    tiny,
    tracing,
    workers,
)

WORKS: Final[tuple[Work, ...]] = tuple(
    work
    for module in (
        raw,
        tiny,
        calls,
        progress,
        tracing,
        workers,
        arrays,
        timing,
        start,
        rest,
        real,
        jobs,
        engines,
    )
    for work in module.WORKS
)
