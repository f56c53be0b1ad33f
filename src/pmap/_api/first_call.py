"""The way from the verbs to the pool, which is imported at the first call.

A program that imports pmap and maps nothing should not pay for a pool; and one that does should not
wait for the import: where workers come from a template, its process is started first and boots on
another processor while the pool is imported here.
"""

import sys
from typing import TYPE_CHECKING

from .._calls.call import Call, Streamed
from .._calls.options import Settings
from .._transport.import_path import import_path
from .._transport.process_role import inside_item

if TYPE_CHECKING:
    from .shared_pools import SharedPools

import_path()  # relative entries mean what they mean now
_POOLS = f"{__package__}.shared_pools"
# Once it is known: to ask for it by an import takes 2 us each time.
_shared_pools: "SharedPools | None" = None


def pools_for(call: Call | Streamed, settings: Settings) -> "SharedPools":
    """Return what runs `call`: it is imported now, if this is the first call."""
    global _shared_pools
    if _shared_pools is None:
        _begin(call, settings)
        from .shared_pools import shared_pools

        _shared_pools = shared_pools
    return _shared_pools


def restart() -> None:
    """Have the workers of the shared pools replaced, so that the next call of a verb has new ones.

    A worker keeps what it has imported, what initializers and items have set, and what libraries
    have cached there. After this nothing of it is left. A worker that runs an item goes when that
    is done. A `Pool` has its own workers, which stay.

    >>> from pmap import pmap, restart
    >>> pmap(abs, [-1])
    [1]
    >>> restart()
    >>> pmap(abs, [-2])
    [2]
    """
    if _shared_pools is not None:
        _shared_pools.restart()


def shutdown() -> None:
    """End the shared pools: give back the processes of the verbs, and the memory that they have.

    Returns when they are gone. A pool that runs a call of another thread ends when that is over.
    The next call of a verb starts new ones; a program that ends need not call this.

    >>> from pmap import pmap, shutdown
    >>> pmap(abs, [-1])
    [1]
    >>> shutdown()
    """
    if _shared_pools is not None:
        _shared_pools.shutdown()


def _begin(call: Call | Streamed, settings: Settings) -> None:
    """Start what takes longest, unless it is there already or not needed."""
    if _POOLS in sys.modules or settings.pool is not None or inside_item():
        return
    if settings.worker.backend == "processes":
        from .._backends.permission import may_start_processes

        if not may_start_processes():
            return
        from .._backends import boot as _boot

        boot = _boot.begin(settings.worker.start_method)
        function = call.function if isinstance(call, Call) else call.call.function
        if boot is not None and getattr(function, "__module__", None) == "__main__":
            from .._transport.by_value.names import Needs
            from .._transport.by_value.picklers import dumps_light
            from .._transport.by_value.sent_names import SentNames

            # Workers need as long for what loads any other function by value as for all else.
            if dumps_light(Needs(SentNames()), function) is None:
                boot.prepare()
