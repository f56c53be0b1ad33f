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

from ._api.apply import Apply
from ._api.async_result import AsyncResult
from ._api.map import Map
from ._api.pcall import Calls, Deferred, call
from ._api.result_stream import ResultStream
from ._api.starmap import StarMap
from ._api.verbs import (
    papply,
    papply_async,
    pcall,
    pimap,
    pimap_unordered,
    pmap,
    pmap_async,
    pstarmap,
    pstarmap_async,
)
from ._calls.failure import Failure
from ._calls.options import Options
from ._calls.sync import sync
from ._errors import (
    CancelledError,
    ControlFlowError,
    InterruptedPoolError,
    ItemError,
    OptionError,
    PmapError,
    PoolClosedError,
    TaskTimeout,
    TransportError,
    WorkerLost,
    WorkerStartError,
)

if TYPE_CHECKING:  # at run time these are imported when asked for: see `first_call`
    from ._api.combine import Completed, as_completed, failed, gather, raise_failures, split
    from ._api.pool import Pool

__version__ = "0.1.0"

__all__ = [
    "Apply",
    "AsyncResult",
    "Calls",
    "CancelledError",
    "Completed",
    "ControlFlowError",
    "Deferred",
    "Failure",
    "InterruptedPoolError",
    "ItemError",
    "Map",
    "OptionError",
    "Options",
    "PmapError",
    "Pool",
    "PoolClosedError",
    "ResultStream",
    "StarMap",
    "TaskTimeout",
    "TransportError",
    "WorkerLost",
    "WorkerStartError",
    "__version__",
    "as_completed",
    "call",
    "failed",
    "gather",
    "papply",
    "papply_async",
    "pcall",
    "pimap",
    "pimap_unordered",
    "pmap",
    "pmap_async",
    "pstarmap",
    "pstarmap_async",
    "raise_failures",
    "split",
    "sync",
]


_COMBINED = ("Completed", "as_completed", "failed", "gather", "raise_failures", "split")


def _claim() -> None:
    """Give the public classes this module: for a repr, a help text or a pickle they live here."""
    for name in __all__:
        public = globals().get(name)
        if isinstance(public, type):
            public.__module__ = __name__


def __getattr__(name: str) -> object:
    if name == "Pool":
        from ._api import pool as _pool

        globals().setdefault(name, _pool.Pool)
    elif name in _COMBINED:
        from ._api import combine as _combine

        for one in _COMBINED:  # all of it: a class that is made there lives here
            globals().setdefault(one, getattr(_combine, one))
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _claim()
    public: object = globals()[name]
    return public


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_claim()
del TYPE_CHECKING
