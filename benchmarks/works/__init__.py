"""All works, in the order of the report."""

from typing import Final

from ..work import Work
from . import arrays, calls, tiny

WORKS: Final[tuple[Work, ...]] = (*tiny.WORKS, *calls.WORKS, *arrays.WORKS)
