"""Find the best parameters of a classifier of handwritten digits. Needs scikit-learn.

The images are a global: each worker gets them once, with the function, and not with every item.

    python examples/gallery/hyperparameters.py [number of settings]
"""

import sys
import time
from itertools import islice, product

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from pmap import pstarmap

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 30
PENALTIES = (1.0, 10.0, 0.1, 100.0, 3.0)
GAMMAS = (3e-4, 1e-3, 3e-3, 1e-2, 2e-3, 5e-4)
SETTINGS = list(islice(product(PENALTIES, GAMMAS), COUNT))
MOST = 2000 if COUNT > 8 else 400  # few are for a quick look
IMAGES, DIGITS = load_digits(return_X_y=True)


def accuracy(penalty: float, gamma: float) -> float:
    """Return the part of digits that are recognised, by threefold cross-validation."""
    scores = cross_val_score(SVC(C=penalty, gamma=gamma), IMAGES[:MOST], DIGITS[:MOST], cv=3)
    return float(scores.mean())


def main() -> None:
    begin = time.perf_counter()
    serial = [accuracy(penalty, gamma) for penalty, gamma in SETTINGS]
    middle = time.perf_counter()
    parallel = pstarmap(accuracy, SETTINGS)
    end = time.perf_counter()
    again = pstarmap(accuracy, SETTINGS)  # the workers have imported what they need
    last = time.perf_counter()

    best = max(parallel)
    penalty, gamma = SETTINGS[parallel.index(best)]
    print(f"{len(SETTINGS)} settings, on {len(IMAGES[:MOST])} images")
    print(f"best: C={penalty:g}, gamma={gamma:g}: {best:.1%} are recognised")
    print(f"serial loop {middle - begin:.2f} s, ", end="")
    print(f"pstarmap {end - middle:.2f} s, again {last - end:.2f} s")
    if not parallel == again == serial:
        sys.exit("the accuracies are not those of the serial loop")


main()
