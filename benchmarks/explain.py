"""How near the speed-up that `explain` predicts is to the one that a run has.

``python -m benchmarks.explain [rounds]`` does that for the jobs of `works/real.py`, and for those
programs of ``examples/gallery`` whose packages are installed. In each round it explains a call, and
then measures the serial loop, the call, the call and the serial loop. So a machine that is busy for
a while is busy for all of them. It prints the medians, and how many rounds were within 30 %.
"""

import os
import sys
import sysconfig
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from pmap import pmap, rng

from .work import timed
from .works.real import WIDTH, mandelbrot, text, tokens

ROUNDS: Final = 5
NEAR: Final = 1.3
GALLERY: Final = Path(__file__).parents[1] / "examples" / "gallery"


class Job(NamedTuple):
    """A call of `pmap`."""

    name: str
    function: Callable[[Any], object]
    items: Sequence[object]
    seed: int | None = None


def program(name: str) -> dict[str, Any]:
    """Return the names that a program of the gallery defines, without running its `main`."""
    source = (GALLERY / f"{name}.py").read_text("utf-8")
    body, end, _ = source.rpartition("\nmain()\n")
    assert end, "the last line of a program calls its main"
    arguments, sys.argv = sys.argv, [f"{name}.py"]
    names: dict[str, Any] = {"__name__": f"gallery_{name}"}
    try:
        exec(compile(body, f"{name}.py", "exec"), names)  # noqa: S102 - a program of ours
    finally:
        sys.argv = arguments
    return names


def jobs() -> Iterator[Job]:
    """Yield the jobs."""
    paths = sorted(map(str, Path(sysconfig.get_path("stdlib")).glob("*.py")))
    data = text(1 << 20)
    yield Job("real: tokens", tokens, paths[::2])
    yield Job("real: Mandelbrot", mandelbrot, range(WIDTH))
    chunks = [data[1024 * n : 1024 * n + (256 << 10)] for n in range(96)]
    yield Job("real: zlib", zlib.compress, chunks)
    search = program("search")
    yield Job("gallery: search", search["hits"], list(search["sources"]())[:200])
    compress = program("compress")
    sources = sorted(compress["TREE"].glob("*.py"))
    packed = b"".join(path.read_bytes() for path in sources)[:8_000_000]
    size = compress["BLOCK"]
    blocks = [packed[start : start + size] for start in range(0, len(packed), size)]
    yield Job("gallery: compress", compress["lzma"].compress, blocks)
    if find_spec("numpy"):
        batch = program("monte_carlo")["batch"]

        def price(_: int) -> object:
            return batch(rng())

        yield Job("gallery: Monte Carlo", price, range(40), seed=1)
    if find_spec("pandas"):
        groups = program("groups")
        tables = [group for _, group in groups["table"]().groupby("package") if len(group) > 3]
        yield Job("gallery: groups", groups["summary"], tables[:30])
    if find_spec("sklearn"):
        tune = program("hyperparameters")
        accuracy = tune["accuracy"]

        def one(row: tuple[float, float]) -> object:
            return accuracy(*row)

        yield Job("gallery: hyperparameters", one, tune["SETTINGS"])


def serial(job: Job) -> None:
    """Run the serial loop."""
    if job.seed is None:
        for item in job.items:
            job.function(item)
    else:  # an item outside of a call has no seed
        pmap(job.function, job.items, seed=job.seed, backend="serial")


def compare(job: Job) -> tuple[float, float]:
    """Return the predicted and the measured speed-up."""
    many = pmap.using(seed=job.seed)
    predicted = many.explain(job.function, job.items).processes_speedup
    assert predicted is not None
    loop, ours = partial(serial, job), partial(many, job.function, job.items)
    # In this order, a load that grows or falls the whole time is the same for both.
    seconds = [timed(run) for run in (loop, ours, ours, loop)]
    return predicted, (seconds[0] + seconds[3]) / (seconds[1] + seconds[2])


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print("Load average:", *(f"{load:.1f}" for load in os.getloadavg()))
    print("\n| job | predicted | measured | ratio of medians | rounds within 30 % |")
    print("|---|---:|---:|---:|---:|")
    for job in jobs():
        pmap.using(seed=job.seed)(job.function, job.items[:4])
        pairs = [compare(job) for _ in range(rounds)]
        told, seen = (median(column) for column in zip(*pairs, strict=True))
        near = sum(1 / NEAR <= one / other <= NEAR for one, other in pairs)
        cells = (
            job.name,
            f"{told:.2f}",
            f"{seen:.2f}",
            f"{told / seen:.2f}",
            f"{near} of {rounds}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
