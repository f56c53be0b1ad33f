"""Real work: how much faster than the serial loop."""

import sysconfig
import tokenize
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Final, TypeVar

from ..peers import Peer, started
from ..work import Figure, Setting, Target, Work, timed

T = TypeVar("T")
R = TypeVar("R")

WIDTH: Final = 240
TIMES: Final = 3


def tokens(path: str) -> int:
    """Count the tokens of a file."""
    with open(path, "rb") as file:
        return sum(1 for _ in tokenize.tokenize(file.readline))


def mandelbrot(row: int) -> list[int]:
    """Return a row: how many steps each point takes to escape."""
    counts: list[int] = []
    for column in range(WIDTH):
        c = complex(3 * column / WIDTH - 2, 2 * row / WIDTH - 1)
        z, steps = 0j, 0
        while abs(z) < 2 and steps < 100:
            z, steps = z * z + c, steps + 1
        counts.append(steps)
    return counts


def text(size: int) -> bytes:
    """Return something that is compressed a little."""
    draw = Random(1)  # noqa: S311 - nothing secret
    return bytes(draw.choices(b"abcdefgh \n", k=size))


def speedup(peer: Peer, function: Callable[[T], R], items: Sequence[T]) -> float:
    """Return the time of the serial loop over that of the map: the median of a few, in turn."""
    peer.map(function, items[:2])

    def once() -> float:
        serial = timed(lambda: [function(item) for item in items])
        return serial / timed(partial(peer.map, function, items))

    return median(once() for _ in range(TIMES))


def measure_real(setting: Setting) -> Iterator[tuple[str, float]]:
    """Do the work in a loop, then with the peer; all of it also where it is to be quick."""
    paths = sorted(map(str, Path(sysconfig.get_path("stdlib")).glob("*.py")))
    data = text(1 << 20)
    chunks = [data[1024 * n : 1024 * n + (256 << 10)] for n in range(96)]
    with started(setting.peer, setting.processes) as peer:
        yield "files of the library, tokenised", speedup(peer, tokens, paths[::2])
        yield "Mandelbrot, by rows", speedup(peer, mandelbrot, range(WIDTH))
        yield "zlib, chunks of 256 KiB", speedup(peer, zlib.compress, chunks)


WORKS: Final = (
    Work(
        "real",
        "Real work: times faster than the serial loop, two workers",
        tuple(
            Figure(name, "x", (Target(1.8, None),), more=True)
            for name in (
                "files of the library, tokenised",
                "Mandelbrot, by rows",
                "zlib, chunks of 256 KiB",
            )
        ),
        measure_real,
        limit=240,
    ),
)
