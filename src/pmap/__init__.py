"""map, starmap and a plain call, in parallel, with types that hold.

>>> from pmap import pmap, pstarmap, papply, papply_async
>>> pmap(len, ["a", "bb"])
[1, 2]
>>> pstarmap(pow, [(2, 3), (3, 2)])
[8, 9]
>>> papply(int, "ff", base=16)
255
>>> papply_async(sorted, "pmap").get()
['a', 'm', 'p', 'p']
"""

from typing import TYPE_CHECKING

from ._errors import (
    CancelledError,
    ControlFlowError,
    InterruptedPoolError,
    ItemError,
    OptionError,
    PmapError,
    PoolClosedError,
    TransportError,
    WorkerLost,
    WorkerStartError,
)
from ._options import Options
from ._outcome import Failure
from ._result import AsyncResult
from ._verbs import (
    Apply,
    Map,
    StarMap,
    papply,
    papply_async,
    pmap,
    pmap_async,
    pstarmap,
    pstarmap_async,
)

if TYPE_CHECKING:  # at run time it is imported when asked for: see `_door`
    from ._pool import Pool

__version__ = "0.1.0"

__all__ = [
    "Apply",
    "AsyncResult",
    "CancelledError",
    "ControlFlowError",
    "Failure",
    "InterruptedPoolError",
    "ItemError",
    "Map",
    "OptionError",
    "Options",
    "PmapError",
    "Pool",
    "PoolClosedError",
    "StarMap",
    "TransportError",
    "WorkerLost",
    "WorkerStartError",
    "__version__",
    "papply",
    "papply_async",
    "pmap",
    "pmap_async",
    "pstarmap",
    "pstarmap_async",
]


def _claim() -> None:
    """Give the public classes this module: for a repr, a help text or a pickle they live here."""
    for name in __all__:
        public = globals().get(name)
        if isinstance(public, type):
            public.__module__ = __name__


def __getattr__(name: str) -> object:
    if name == "Pool":
        from ._pool import Pool

        return globals().setdefault(name, Pool)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_claim()
del TYPE_CHECKING
