import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

def cross_val_score(
    estimator: SVC, X: NDArray[np.float64], y: NDArray[np.int64], *, cv: int
) -> NDArray[np.float64]: ...
