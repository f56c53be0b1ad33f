"""The way from the verbs to the pool, which is imported at the first call.

A program that imports pmap and maps nothing should not pay for a pool; and one that does should not
wait for the import: where workers come from a template, its process is started first and boots on
another processor while the pool is imported here.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._calls.call import Call, Streamed
from .._calls.options import Settings
from .._transport.process_role import inside_item

if TYPE_CHECKING:
    from .async_result import AsyncResult
    from .result_stream import ResultStream

_POOLS = f"{__package__}.shared_pools"
# Once they are known: to ask for them by an import takes 2 us each time.
_run: "Callable[[Call, Settings], list[Any]] | None" = None
_start_one: "Callable[[Call, Settings], AsyncResult[Any]] | None" = None


def run(call: Call, settings: Settings) -> list[Any]:
    """Return the results of `call`; raises its first failure."""
    global _run
    if _run is None:
        _begin(call, settings)
        from .shared_pools import run as run_there

        _run = run_there
    return _run(call, settings)


def start(call: Call | Streamed, settings: Settings) -> "AsyncResult[list[Any]]":
    """Start `call`; return the handle of its results."""
    _begin(call, settings)
    from .shared_pools import start as start_there

    return start_there(call, settings)


def start_one(call: Call, settings: Settings) -> "AsyncResult[Any]":
    """Start `call`, which has one item; return the handle of its result."""
    global _start_one
    if _start_one is None:
        _begin(call, settings)
        from .shared_pools import start_one as start_one_there

        _start_one = start_one_there
    return _start_one(call, settings)


def start_tuple(call: Call, settings: Settings) -> "AsyncResult[tuple[Any, ...]]":
    """Start `call`; return the handle of its results as a tuple."""
    _begin(call, settings)
    from .shared_pools import start_tuple as start_tuple_there

    return start_tuple_there(call, settings)


def stream(streamed: Streamed, settings: Settings, ordered: bool) -> "ResultStream[Any]":
    """Return the results of a call whose input is read as they are asked for."""
    _begin(streamed, settings)
    from .shared_pools import stream as stream_there

    return stream_there(streamed, settings, ordered)


def _begin(call: Call | Streamed, settings: Settings) -> None:
    """Start what takes longest, if this is the first call."""
    if _POOLS in sys.modules or settings.pool is not None or inside_item():
        return
    if settings.worker.backend == "processes":
        from .._backends import boot as _boot

        boot = _boot.begin(settings.worker.start_method)
        function = call.function if isinstance(call, Call) else call.call.function
        if boot is not None and getattr(function, "__module__", None) == "__main__":
            from .._transport.pickle_main_functions import dumps_plainly

            # Workers need as long for what loads any other function by value as for all else.
            if dumps_plainly(function) is None:
                boot.prepare()
