"""Large values: what it costs to carry them in, out, and both ways."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..peers import started
from ..work import Figure, Setting, Target, Work, timed

T = TypeVar("T")

MB: Final = 1 << 20
SIZES: Final = ((8, 32), (64, 8))  # MB in an array, and how many arrays
WAYS: Final = ("in", "out", "both")


def total(array: NDArray[np.float64]) -> float:
    """Read all of it: the way in."""
    return float(array.sum())


def ones(count: int) -> NDArray[np.float64]:
    """Make one: the way out."""
    return np.ones(count)


def same(value: T) -> T:
    """Both ways."""
    return value


def measure_arrays(setting: Setting) -> Iterator[tuple[str, float]]:
    """Carry arrays, each with its own memory."""
    with started(setting.peer, setting.processes) as peer:
        for size, count in SIZES:
            arrays = [np.full(size * MB // 8, float(number)) for number in range(count)]
            peer.map(total, arrays[: setting.processes])
            runs: dict[str, tuple[Callable[[], object], int]] = {
                "in": (partial(peer.map, total, arrays), 1),
                "out": (partial(peer.map, ones, [size * MB // 8] * count), 1),
                "both": (partial(peer.map, same, arrays), 2),
            }
            for way, (run, times) in runs.items():
                yield f"{count} x {size} MB, {way}", times * count * size * MB / timed(run) / 1e9


WORKS: Final = (
    Work(
        "arrays",
        "NumPy arrays in (`sum`), out (`ones`) and both ways (identity)",
        tuple(
            Figure(
                f"{count} x {size} MB, {way}",
                "GB/s",
                (Target(8), Target(1, "joblib")),
                more=True,
            )
            for size, count in SIZES
            for way in WAYS
        ),
        measure_arrays,
        limit=120,
    ),
)
