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

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Never

from ._api.apply import Apply
from ._api.async_result import AsyncResult
from ._api.first_call import restart, shutdown
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
from ._calls.defaults import defaults
from ._calls.failure import Failure
from ._calls.options import Options
from ._calls.sync import sync
from ._errors import (
    CancelledError,
    CheckpointError,
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
from ._trace.trace import Trace
from ._types import Engine, Progress

# Type checkers see these imports. At run time `__getattr__` makes each import when it is first
# needed.
if TYPE_CHECKING:
    from ._api.combine import Completed, as_completed, failed, gather, raise_failures, split
    from ._api.executor import Executor
    from ._api.pool import Pool
    from ._api.thread_pool import ThreadPool
    from ._backends.frozen import freeze_support
    from ._checkpoint.checkpoint import Checkpoint
    from ._explain.explanation import Explanation
    from ._multiprocessing_errors import (
        NotPicklableError,
        ResultPicklingError,
        ResultTimeoutError,
    )
    from ._trace.spans import TraceSpan
    from ._trace.summary import TraceSummary
    from ._transport.by_value.shared import Shared, share
    from ._transport.randomness import rng

__version__ = "0.1.0"

__all__ = [
    "Apply",
    "AsyncResult",
    "Calls",
    "CancelledError",
    "Checkpoint",
    "CheckpointError",
    "Completed",
    "ControlFlowError",
    "Deferred",
    "Engine",
    "Executor",
    "Explanation",
    "Failure",
    "InterruptedPoolError",
    "ItemError",
    "Map",
    "NotPicklableError",
    "OptionError",
    "Options",
    "PmapError",
    "Pool",
    "PoolClosedError",
    "Progress",
    "ResultPicklingError",
    "ResultStream",
    "ResultTimeoutError",
    "Shared",
    "StarMap",
    "TaskTimeout",
    "ThreadPool",
    "Trace",
    "TraceSpan",
    "TraceSummary",
    "TransportError",
    "WorkerLost",
    "WorkerStartError",
    "__version__",
    "as_completed",
    "call",
    "defaults",
    "failed",
    "freeze_support",
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
    "restart",
    "rng",
    "share",
    "shutdown",
    "split",
    "sync",
]


# At the first use of one of these names `__getattr__` imports all names of its group, so that
# `import pmap` itself is quick. The names of a group belong together: `as_completed` returns a
# `Completed`, whose `__module__` must be set by then, even if the program has never asked for that
# class.
_COMBINED = ("Completed", "as_completed", "failed", "gather", "raise_failures", "split")
_POOLS = ("Pool", "ThreadPool")
_OF_ITEMS = ("Shared", "rng", "share")
_OF_TRACES = ("TraceSpan", "TraceSummary")
_OF_OTHERS = ("NotPicklableError", "ResultPicklingError", "ResultTimeoutError")


def _claim() -> None:
    """Set the `__module__` of all public classes to this package, for reprs and pickles."""
    for name in __all__:
        public = globals().get(name)
        if isinstance(public, type):
            public.__module__ = __name__


def __getattr__(name: str) -> object:
    if name in _POOLS:
        from ._api import thread_pool

        found: dict[str, object] = {one: getattr(thread_pool, one) for one in _POOLS}
    elif name == "Executor":
        from ._api import executor

        found = {name: executor.Executor}
    elif name == "Checkpoint":
        from ._checkpoint import checkpoint

        found = {name: checkpoint.Checkpoint}
    elif name == "Explanation":
        from ._explain import explanation

        found = {name: explanation.Explanation}
    elif name == "freeze_support":
        from ._backends import frozen

        found = {name: frozen.freeze_support}
    elif name in _OF_ITEMS:
        from ._transport import randomness
        from ._transport.by_value import shared

        found = {"Shared": shared.Shared, "rng": randomness.rng, "share": shared.share}
    elif name in _COMBINED:
        from ._api import combine

        found = {one: getattr(combine, one) for one in _COMBINED}
    elif name in _OF_TRACES:
        from ._trace import summary

        found = {one: getattr(summary, one) for one in _OF_TRACES}
    elif name in _OF_OTHERS:
        from . import _multiprocessing_errors as errors

        found = {one: getattr(errors, one) for one in _OF_OTHERS}
    else:
        text = f"module {__name__!r} has no attribute {name!r}"
        if not name.startswith("_") and hasattr(pmap, name):
            hint = f"the function has it: write `from {__name__} import pmap`"
            # The error has a name but no object, so Python adds no suggestion of its own, which
            # would mislead.
            raise AttributeError(f"{text}; {hint}", name=name)
        raise AttributeError(text)
    for one, public in found.items():
        globals().setdefault(one, public)
    _claim()
    return found[name]


class _Package(ModuleType):
    """The class of the module `pmap` itself.

    A user may write ``pmap(...)`` after ``import pmap``. Then the error says what to import.
    """

    def __call__(self, *_: object, **__: object) -> Never:
        raise TypeError(
            f"{__name__!r} is the package, and cannot be called; the function of this name is in "
            f"it: write `from {__name__} import pmap`, or call {__name__}.pmap(f, xs)"
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Picklers like cloudpickle send a module by its name only if its class is ModuleType
        # itself. The class of this module is another one, so this method sends it by its name.
        return __import__, (self.__name__,)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_claim()
sys.modules[__name__].__class__ = _Package
if hasattr(sys, "frozen"):
    from ._backends.frozen import replace_the_standard_one

    replace_the_standard_one()
del TYPE_CHECKING, ModuleType, Never, sys
