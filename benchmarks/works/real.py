"""Real work: how much faster than the serial loop."""

import os
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
OVER_BARE: Final = ", over two bare processes"
NAMES: Final = (
    "files of the library, tokenised",
    "Mandelbrot, by rows",
    "zlib, chunks of 256 KiB",
)


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


def bare(function: Callable[[T], R], items: Sequence[T]) -> None:
    """Run all items in two processes that know them, each of which takes the next when it is free.

    No library can be faster: they send no result home.
    """
    take, give = os.pipe()
    children: list[int] = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os.close(give)
            while number := os.read(take, 2):
                function(items[int.from_bytes(number, "little")])
            os._exit(0)
        children.append(child)
    os.close(take)
    os.write(give, b"".join(number.to_bytes(2, "little") for number in range(len(items))))
    os.close(give)
    for child in children:
        os.waitpid(child, 0)


def speedups(
    name: str, peer: Peer, function: Callable[[T], R], items: Sequence[T]
) -> Iterator[tuple[str, float]]:
    """Yield the time of the serial loop over that of the map, and that of two bare processes.

    The median of a few, in turn.
    """
    peer.map(function, items[:2])
    over_serial: list[float] = []
    over_bare: list[float] = []
    for _ in range(TIMES):
        serial = timed(lambda: [function(item) for item in items])
        two = timed(partial(bare, function, items))
        seconds = timed(partial(peer.map, function, items))
        over_serial.append(serial / seconds)
        over_bare.append(two / seconds)
    yield name, median(over_serial)
    yield f"{name}{OVER_BARE}", median(over_bare)


def measure_real(setting: Setting) -> Iterator[tuple[str, float]]:
    """Do the work in a loop, then with the peer; all of it also where it is to be quick."""
    paths = sorted(map(str, Path(sysconfig.get_path("stdlib")).glob("*.py")))
    data = text(1 << 20)
    chunks = [data[1024 * n : 1024 * n + (256 << 10)] for n in range(96)]
    with started(setting.peer, setting.processes) as peer:
        yield from speedups(NAMES[0], peer, tokens, paths[::2])
        yield from speedups(NAMES[1], peer, mandelbrot, range(WIDTH))
        yield from speedups(NAMES[2], peer, zlib.compress, chunks)


WORKS: Final = (
    Work(
        "real",
        "Real work: times faster than the serial loop, and than two bare processes; two workers",
        tuple(
            Figure(f"{name}{over}", "x", (Target(least, None),), more=True)
            for name in NAMES
            for over, least in (("", 1.8), (OVER_BARE, 0.95))
        ),
        measure_real,
        limit=240,
    ),
)
