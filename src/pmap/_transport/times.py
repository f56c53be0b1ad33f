"""When items began and ended in a worker, as a part of the message with their results.

The items of a call with the option ``trace`` are timed: the caller tells the workers so, and each
message with results has the times, too.

All times are of `time.perf_counter`. On Linux, macOS and Windows all processes of a machine share
this clock: it counts from a moment before these processes began.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Sequence


def pack_times(times: Sequence[float]) -> bytes:
    """Return times as bytes, for a message with results.

    `times`: the time at which the worker began with the items, and that at which it was done with
    them; then, for each item, the times at which the call of the function began and ended.
    """
    return struct.pack(f"={len(times)}d", *times)


def unpack_times(word: bytes) -> tuple[float, ...]:
    """Return the times from the bytes that `pack_times` has made.

    >>> unpack_times(pack_times([1.5, 2.5]))
    (1.5, 2.5)
    """
    return struct.unpack(f"={len(word) // 8}d", word)
