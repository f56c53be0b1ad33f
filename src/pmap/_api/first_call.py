"""How the verbs reach their shared pools; the modules of these are imported at the first call.

So a program that imports pmap and calls no verb does not pay for that import. A program that calls
a verb waits less: if a fork server forks the workers, it is started first, and boots on another CPU
while this process imports the modules.
"""

import sys
from typing import TYPE_CHECKING

from .._calls.call import Call, Streamed
from .._calls.options import Settings
from .._transport.import_path import import_path
from .._transport.process_role import inside_item

if TYPE_CHECKING:
    from .shared_pools import SharedPools

import_path()  # the import records which directories the relative entries of `sys.path` mean now
_POOLS = f"{__package__}.shared_pools"
# The shared pools; None before the first call. An import statement in each call would take 2 us.
_shared_pools: "SharedPools | None" = None


def pools_for(call: Call | Streamed, settings: Settings) -> "SharedPools":
    """Return the shared pools, which run `call`; the first call imports the pools' modules."""
    global _shared_pools
    if _shared_pools is None:
        _begin(call, settings)
        from .shared_pools import shared_pools

        _shared_pools = shared_pools
    return _shared_pools


def restart() -> None:
    """Replace the workers of the shared pools, so that the next call of a verb has new ones.

    A worker keeps the modules that it has imported, the state that initializers and items have set,
    and the caches of libraries. A new worker has none of these. A worker that runs an item ends
    when the item is done. A `Pool` has its own workers; they are not replaced.

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
    """End the workers of the shared pools, which frees their processes and their memory.

    It returns when the workers have ended; but a pool that runs a call of another thread ends
    later, when that call is over. The next call of a verb starts new workers. A program need not
    call this before it ends.

    >>> from pmap import pmap, shutdown
    >>> pmap(abs, [-1])
    [1]
    >>> shutdown()
    """
    if _shared_pools is not None:
        _shared_pools.shutdown()


def _begin(call: Call | Streamed, settings: Settings) -> None:
    """Start the fork server (the process that forks workers) now, if `call` will need it."""
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

            # If the function needs cloudpickle, the fork server imports it now, before it forks
            # workers. That import takes as long as everything else that a worker does at its start.
            if dumps_light(Needs(SentNames()), function) is None:
                boot.prepare()
