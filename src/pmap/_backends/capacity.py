"""What a backend tells of the place where its workers are, and not of a worker."""

from typing import NamedTuple


class CapacityChanged(NamedTuple):
    """There may be `limit` workers from now on; a chunk takes `overhead` seconds beside its items.

    Both are as for the scheduler's event of this name.
    """

    limit: int
    overhead: float
