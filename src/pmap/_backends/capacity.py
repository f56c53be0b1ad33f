"""What a backend tells the engine about the place where all its workers are."""

from typing import NamedTuple


class CapacityChanged(NamedTuple):
    """At most `limit` workers may run now; a chunk takes `overhead` seconds beside its items.

    The event of the scheduler with the same name has the same two fields.
    """

    limit: int
    overhead: float
