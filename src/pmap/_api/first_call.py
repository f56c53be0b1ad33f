"""The way from the verbs to the pool, which is imported at the first call.

A program that imports pmap and maps nothing should not pay for a pool; and one that does should not
wait for the import: where workers come from a template, its process is started first and boots on
another processor while the pool is imported here.
"""

import sys
from typing import TYPE_CHECKING

from .._calls.call import Call, Streamed
from .._calls.options import Settings
from .._transport.process_role import inside_item

if TYPE_CHECKING:
    from .shared_pools import SharedPools

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


def _begin(call: Call | Streamed, settings: Settings) -> None:
    """Start what takes longest, unless it is there already or not needed."""
    if _POOLS in sys.modules or settings.pool is not None or inside_item():
        return
    if settings.worker.backend == "processes":
        from .._backends import boot as _boot

        boot = _boot.begin(settings.worker.start_method)
        function = call.function if isinstance(call, Call) else call.call.function
        if boot is not None and getattr(function, "__module__", None) == "__main__":
            from .._transport.by_value.names import Book, Needs
            from .._transport.by_value.picklers import dumps_light

            # Workers need as long for what loads any other function by value as for all else.
            if dumps_light(Needs(Book()), function) is None:
                boot.prepare()
