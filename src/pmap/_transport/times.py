"""The times of items, as one word of a RESULTS message.

A call with the option ``trace`` has times: its call spec says so by a word that other call specs do
not have, and each of its RESULTS messages has one word more.

All times are of `time.perf_counter`. On Linux, macOS and Windows all processes of a machine share
this clock: it counts from a moment before all of them.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # a worker starts faster without `typing`; type checkers assume True
if TYPE_CHECKING:
    from collections.abc import Sequence


def pack_times(times: Sequence[float]) -> bytes:
    """Return the word of a RESULTS message with times.

    `times`: when the worker began with the items and was done with them; then for each item when
    its function began and ended.
    """
    return struct.pack(f"={len(times)}d", *times)


def unpack_times(word: bytes) -> tuple[float, ...]:
    """Return the argument of `pack_times`.

    >>> unpack_times(pack_times([1.5, 2.5]))
    (1.5, 2.5)
    """
    return struct.unpack(f"={len(word) // 8}d", word)
