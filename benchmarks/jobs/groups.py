"""Groups of a DataFrame, with pandas: each group goes out as a DataFrame of its own."""

from pathlib import Path
from random import Random

import pandas as pd

from .job import Run, main

RESAMPLES = 5


def summary(group: pd.DataFrame) -> tuple[float, list[float]]:
    """Return the median of a column, and those of some resamples."""
    column = group["value"]
    resamples = [
        float(column.sample(frac=1, replace=True, random_state=number).median())
        for number in range(RESAMPLES)
    ]
    return float(column.median()), resamples


def prepare(folder: Path, quick: bool) -> Run:
    """Make a table of many groups."""
    del folder
    draw = Random(1)  # noqa: S311 - nothing secret
    rows = [(number % 200, draw.random(), draw.random()) for number in range(400_000)]
    table = pd.DataFrame(rows, columns=["key", "value", "weight"])
    groups = [group for _, group in table.groupby("key")][: 40 if quick else 200]
    return lambda peer: peer.map(summary, groups)


if __name__ == "__main__":
    main(prepare)
