"""Compute something expensive for each group of a DataFrame. Needs pandas.

The table has a row for each module of the standard library. For each package: how many lines does
its median module have, and how sure is that? Bootstrapping tells, and takes long.

    python examples/gallery/groups.py [number of groups] [number of resamples]
"""

import sys
import sysconfig
import time
from pathlib import Path

import pandas as pd

from pmap import pmap

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 30
RESAMPLES = int(sys.argv[2]) if len(sys.argv) > 2 else 500
SHOWN = 4


def table() -> pd.DataFrame:
    """Return package, name and lines of each module of the standard library."""
    top = Path(sysconfig.get_path("stdlib"))
    rows = [
        (path.parent.name, path.stem, path.read_bytes().count(b"\n"))
        for path in sorted(top.glob("*/*.py"))
    ]
    return pd.DataFrame(rows, columns=["package", "module", "lines"])


def summary(group: pd.DataFrame) -> dict[str, object]:
    """Return the median of the lines, and an interval that has it with 95 %."""
    lines = group["lines"]
    medians = pd.Series(
        [
            float(lines.sample(frac=1, replace=True, random_state=number).median())
            for number in range(RESAMPLES)
        ]
    )
    return {
        "package": group["package"].iloc[0],
        "modules": len(group),
        "lines": float(lines.median()),
        "from": float(medians.quantile(0.025)),
        "to": float(medians.quantile(0.975)),
    }


def main() -> None:
    groups = [group for _, group in table().groupby("package") if len(group) > 3][:COUNT]

    begin = time.perf_counter()
    serial = [summary(group) for group in groups]
    middle = time.perf_counter()
    parallel = pmap(summary, groups)
    end = time.perf_counter()
    again = pmap(summary, groups)  # the workers have imported what they need
    last = time.perf_counter()

    print(pd.DataFrame(parallel[:SHOWN]).to_string(index=False))
    print(f"{len(parallel)} groups, {sum(map(len, groups))} rows, {RESAMPLES} resamples of each")
    print(f"serial loop {middle - begin:.2f} s, ", end="")
    print(f"pmap {end - middle:.2f} s, again {last - end:.2f} s")
    if not parallel == again == serial:
        sys.exit("the summaries are not those of the serial loop")


main()
