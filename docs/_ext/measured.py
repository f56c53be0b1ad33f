"""The tables that the tutorial shows, each cell the outcome of a small experiment.

``python docs/_ext/measured.py NAME`` prints the table of that name, in Markdown. The experiments
are those of the tour, ``python -m pmap``; here they are made on the methods of `Pool` as well.
"""

import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.pool import Pool as StandardPool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pmap
from pmap import __main__ as tour

Table = list[list[str]]
AnyPool = StandardPool | pmap.Pool
METHODS: Final = ("apply", "apply_async", "map", "map_async", "starmap", "starmap_async")


@dataclass(frozen=True)
class OfARow:
    """A function of one argument, a row of the arguments of `step`."""

    step: tour.Step

    def __call__(self, row: tuple[Path, int]) -> object:
        """Return what `step` returns for the arguments in the row."""
        return self.step(*row)


def asked(
    pool: AnyPool, method: str, f: Callable[..., object], rows: list[tuple[Path, int]]
) -> list[object]:
    """Return what the method returns for these rows: one value for each call that it takes."""
    made: Callable[..., object] = getattr(pool, method)
    if method.startswith("apply"):
        return [made(f, row) for row in rows]
    return [made(f, rows, chunksize=1)]


def form(pool: AnyPool, method: str) -> tour.Form:
    """Return a method of a pool as the tour's experiments ask it."""

    def ask(step: tour.Step, folder: Path, n: int) -> list[object]:
        f = OfARow(step) if method.startswith("map") else step
        return asked(pool, method, f, [(folder, index) for index in range(n)])

    def call(f: Callable[..., object], *args: object, **kwargs: object) -> object:
        return getattr(pool, method)(f, args, kwargs)

    return tour.Form(method, ask, call)


def several_arguments(pool: AnyPool, method: str, folder: Path) -> str:
    """Measure: does a function of two arguments get both, and may they be keywords?"""
    try:
        tour.results(asked(pool, method, tour.both, [(folder, 0), (folder, 1)]))
    except TypeError:
        return "no"
    try:
        keywords = tour.opened(form(pool, method).verb(int, "ff", base=16)) == 255
    except (TypeError, ValueError):
        keywords = False  # what apply takes as keywords is something else to this method
    return "yes, keywords too" if keywords else "yes"


def of_pool(make: Callable[[], AnyPool]) -> Table:
    """Return the table of the six methods of a pool, its head first."""
    table = [["method", *tour.COLUMNS]]
    with make() as pool:
        for method in METHODS:
            row = [f"`Pool.{method}`"]
            for name, experiment in tour.COLUMNS.items():
                with TemporaryDirectory(prefix="pmap-measured-") as folder:
                    if experiment is tour.several_arguments:
                        row.append(several_arguments(pool, method, Path(folder)))
                    elif name.startswith("returns"):
                        row.append(f"`{experiment(form(pool, method), Path(folder))}`")
                    else:
                        row.append(experiment(form(pool, method), Path(folder)))
            table.append(row)
    return table


def of_verbs() -> Table:
    """Return the tour's table of the verbs."""
    head, *rows = tour.measure()
    return [head, *([f"`{row[0]}`", *row[1:-1], f"`{row[-1]}`"] for row in rows)]


def standard_pool() -> StandardPool:
    """Return a pool of the standard library, which a program without a guard could not make."""
    return multiprocessing.get_context("spawn").Pool(2)


def own_pool() -> pmap.Pool:
    """Return a pool of pmap."""
    return pmap.Pool(2)


TABLES: Final[dict[str, Callable[[], Table]]] = {
    "pool-methods": lambda: of_pool(standard_pool),
    "own-pool-methods": lambda: of_pool(own_pool),
    "verbs": of_verbs,
}


def markdown(table: Table) -> str:
    """Return the table as Markdown."""
    head, *rows = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([head, "|" + "---|" * len(table[0]), *rows, ""])


if __name__ == "__main__":
    sys.stdout.write(markdown(TABLES[sys.argv[1]]()))
