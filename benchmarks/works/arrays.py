"""Large values: what it costs to carry them in, out, both ways, and inside a function."""

from __future__ import annotations

import time
from functools import partial
from importlib import import_module
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..peers import started
from ..work import ALL, Figure, Setting, Target, Work, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

MB: Final = 1 << 20
SIZES: Final = (8, 64)  # MB in an array
ARRAYS: Final = 32
FEW: Final = 8  # of the larger ones, with --quick
WAYS: Final = ("in", "out", "both")
SETTLE: Final = 1.5  # seconds in which what is kept for the next map is given back
AGAIN: Final = 4  # times; half of that for many large ones


def total(array: NDArray[np.float64]) -> float:
    """Read all of it: the way in."""
    return float(array.sum())


def ones(count: int) -> NDArray[np.float64]:
    """Make one: the way out."""
    import numpy as np

    return np.ones(count)


def same(value: T) -> T:
    """Both ways."""
    return value


def element(array: NDArray[np.float64], place: int) -> float:
    """Look at one of many."""
    return float(array[place])


def measure_arrays(setting: Setting) -> Iterator[tuple[str, float]]:
    """Carry arrays, each with its own memory."""
    import numpy as np

    for size in SIZES:
        many = size == SIZES[0] or not setting.quick
        count = ARRAYS if many else FEW
        times = AGAIN // 2 if many and size > SIZES[0] else AGAIN
        arrays = [np.full(size * MB // 8, float(number)) for number in range(count)]
        asked: dict[str, tuple[Callable[[Any], object], Sequence[object]]] = {
            "in": (total, arrays),
            "out": (ones, [size * MB // 8] * count),
            "both": (same, arrays),
        }
        for way, (function, items) in asked.items():
            # Each way with workers of its own, and memory that nobody has had before.
            with started(setting.peer, setting.processes) as peer:
                peer.map(total, [np.ones(10)] * (4 * setting.processes))
                time.sleep(SETTLE)
                run = partial(peer.map, function, items)
                carried = (2 if way == "both" else 1) * count * size * MB / 1e9
                yield f"{size} MB, {way}", carried / timed(run)
                seconds = median(timed(run) for _ in range(times))
                yield f"{size} MB, {way}, again and again", carried / seconds


def measure_objects(setting: Setting) -> Iterator[tuple[str, float]]:
    """Carry other things of 8 MB, both ways."""
    import numpy as np

    count = 4 if setting.quick else 16
    size = 8 * MB

    def frame(number: int) -> object:
        columns = {name: np.full(size // 64, float(number)) for name in "abcdefgh"}
        return import_module("pandas").DataFrame(columns)

    makers: dict[str, Callable[[int], object]] = {
        "`bytes`": lambda number: bytes([number]) * size,
        "`bytearray`": lambda number: bytearray([number]) * size,
        "a list of 8 arrays": lambda n: [np.full(size // 64, float(n)) for _ in range(8)],
        "an array in Fortran order": lambda n: np.full((1024, size // 8192), float(n), order="F"),
        "a DataFrame": frame,
    }
    with started(setting.peer, setting.processes) as peer:
        for name, make in makers.items():
            values = [make(number) for number in range(count)]
            peer.map(same, values[: setting.processes])
            seconds = timed(partial(peer.map, same, values))
            yield name, 2 * count * size / seconds / 1e9


def measure_partial(setting: Setting) -> Iterator[tuple[str, float]]:
    """Map a function that holds an array over tiny items, twice."""
    import numpy as np

    items: Sequence[int] = range(1000)
    with started(setting.peer, setting.processes) as peer:
        peer.map(partial(element, np.ones(10)), range(10))  # the workers import what they need
        function = partial(element, np.ones(50 * MB // 8))
        for name in ("first map", "second map"):
            yield name, timed(partial(peer.map, function, items)) * 1e3


WORKS: Final = (
    Work(
        "arrays",
        "NumPy arrays in (`sum`), out (`ones`) and both ways (identity)",
        tuple(
            Figure(
                f"{size} MB, {way}{again}",
                "GB/s",
                (
                    Target(8),
                    Target(1, "joblib"),
                    Target(1.5 if (size, way, bool(again)) == (64, "out", True) else 1, "Ray"),
                ),
                more=True,
            )
            for size in SIZES
            for way in WAYS
            for again in ("", ", again and again")
        ),
        measure_arrays,
        (*ALL, "Ray"),
        limit=240,
    ),
    Work(
        "objects",
        "Other things of 8 MB, both ways",
        tuple(
            Figure(name, "GB/s", (Target(2),), more=True)
            for name in (
                "`bytes`",
                "`bytearray`",
                "a list of 8 arrays",
                "an array in Fortran order",
                "a DataFrame",
            )
        ),
        measure_objects,
    ),
    Work(
        "partial",
        "A `partial` that holds an array of 50 MB, over 1000 tiny items",
        (
            Figure("first map", "ms", (Target(0.15),)),
            Figure("second map", "ms", (Target(0.05),)),
        ),
        measure_partial,
        limit=45,
    ),
)
