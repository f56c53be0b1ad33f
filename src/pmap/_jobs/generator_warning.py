"""A warning, once: a function that travels with a random generator."""

import sys
import warnings
from typing import TYPE_CHECKING

from .._transport.randomness import has_generator

if TYPE_CHECKING:
    from types import FrameType

    from .._transport.by_value.names import Needs

_PACKAGE = __name__.partition(".")[0]
_warned = False


def warn_of_generators(head: bytes | str | None, needs: "Needs", function: str) -> None:
    """Warn if a function carries a random generator: each worker has a copy of it.

    Args:
        head: the pickle of the function.
        needs: the names that it uses.
        function: its name.
    """
    global _warned
    if _warned:
        return
    names = [name for (_, name), known in needs.names.items() if known.has_generator]
    if names or has_generator(head):
        _warned = True
        what = f"the random generator {names[0]!r}" if names else "a random generator"
        warnings.warn(
            f"{function} uses {what}, of which each worker has a copy: items in different workers "
            "draw the same numbers. Give seed= in the call and draw from pmap.rng() in the "
            "function: each item then has numbers of its own, the same in each run",
            UserWarning,
            stacklevel=_depth(),
        )


def _depth() -> int:
    """Return how far up the stack the first frame is that is not ours."""
    depth = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE + "."):
        depth += 1
        frame = frame.f_back
    return depth
