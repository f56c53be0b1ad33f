"""Warnings about a function that carries a random generator or a large value to its workers.

pmap gives each of these warnings only once.
"""

import sys
import warnings
from typing import TYPE_CHECKING, Final

from .._transport.by_value.shares import SHARES
from .._transport.randomness import has_generator

if TYPE_CHECKING:
    from types import FrameType

    from .._transport.by_value.names import Needs
    from .._transport.payload import Payload

_PACKAGE: Final = __name__.partition(".")[0]
_LARGE: Final = 10_000_000  # pmap warns of a function that carries a value of more bytes than this

_said: set[str] = set()


def warn_of_what_is_carried(payload: "Payload", needs: "Needs", function: str) -> None:
    """Warn if workers get copies of a random generator or a large value with a function.

    Args:
        payload: the pickle of the function.
        needs: the global names that the function uses, with their values.
        function: the name of the function.
    """
    _warn_of_generators(payload, needs, function)
    _warn_of_size(payload, needs, function)


def _warn_of_generators(payload: "Payload", needs: "Needs", function: str) -> None:
    names = [name for (_, name), known in needs.names.items() if known.has_generator]
    if names or has_generator(payload.head):
        what = f"the random generator {names[0]!r}" if names else "a random generator"
        _warn(
            "generator",
            f"{function} uses {what}, of which each worker has a copy: items in different workers "
            "draw the same numbers. Give seed= in the call and draw from pmap.rng() in the "
            "function: each item then has numbers of its own, the same in each run",
        )


def _warn_of_size(payload: "Payload", needs: "Needs", function: str) -> None:
    large = {
        name: known.size
        for (space, name), known in needs.names.items()
        if known.size > _LARGE and space is not SHARES
    }
    if large:
        name = max(large, key=lambda name: large[name])
        what, size = f"the global {name!r}", large[name]
    elif payload.size > _LARGE:
        what, size = "in its closure, defaults or arguments", payload.size
    else:
        return
    _warn(
        "size",
        f"{function} carries {size / 1e6:.0f} MB by value: {what}. What many calls use is better a "
        "handle: table = pmap.share(table), and table.value in the function: it is pickled once, "
        "and not looked at again for changes",
    )


def _warn(kind: str, text: str) -> None:
    if kind not in _said:
        _said.add(kind)
        warnings.warn(text, UserWarning, stacklevel=_depth())


def _depth() -> int:
    """Return how many frames lie between `_warn` and the first frame outside pmap."""
    depth = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(_PACKAGE + "."):
        depth += 1
        frame = frame.f_back
    return depth
