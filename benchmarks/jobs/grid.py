"""A grid search, with scikit-learn: settings go out, and the data with the function."""

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from .job import Run, main

PENALTIES = (0.1, 1.0, 10.0, 100.0)
GAMMAS = (3e-4, 1e-3, 3e-3, 1e-2)


def accuracy(
    images: NDArray[np.float64], digits: NDArray[np.int64], setting: tuple[float, float]
) -> float:
    """Return the part of digits that are recognised, by threefold cross-validation."""
    penalty, gamma = setting
    scores = cross_val_score(SVC(C=penalty, gamma=gamma), images, digits, cv=3)
    return float(scores.mean())


def prepare(folder: Path, quick: bool) -> Run:
    """Load the data."""
    del folder
    images, digits = load_digits(return_X_y=True)
    most = 400 if quick else 600
    function = partial(accuracy, images[:most], digits[:most])
    settings = [*product(PENALTIES, GAMMAS)]
    return lambda peer: peer.map(function, settings)


if __name__ == "__main__":
    main(prepare)
