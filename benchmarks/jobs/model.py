"""A function that closes over a model of 200 MB.

What pickles with `pickle` alone takes a `partial` over the model instead: it can send no closure.
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..peers import Peer
from .job import Run, main

ROWS = 25_000
COLUMNS = 1000


def score(model: NDArray[np.float64], seed: int) -> float:
    """Return what some rows of the model make of an input."""
    start = seed * 97 % (ROWS - 200)
    rows = model[start : start + 200]
    return float((rows * (seed + 1)).sum())


def prepare(folder: Path, quick: bool) -> Run:
    """Make the model: a smaller one for a quick look."""
    del folder
    model = np.full((ROWS, COLUMNS // (20 if quick else 1)), 0.5)

    def closure(seed: int) -> float:
        return score(model, seed)

    def run(peer: Peer) -> object:
        function = closure if peer.sends_closures else partial(score, model)
        return peer.map(function, range(1000))

    return run


if __name__ == "__main__":
    main(prepare)
