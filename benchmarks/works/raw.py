"""What the machine can do: no library is faster than that."""

import os
from collections.abc import Iterator
from statistics import median
from typing import Final

from ..work import Figure, Setting, Work, timed

SIZE: Final = 256 << 20
PIECE: Final = 1 << 20
TRIPS: Final = 2000


def measure_raw(_: Setting) -> Iterator[tuple[str, float]]:
    """Copy memory, and talk to a child."""
    source = bytearray(SIZE)
    target = bytearray(SIZE)

    def copy() -> None:
        target[:] = source

    copy()
    yield "copying memory", SIZE / median(timed(copy) for _ in range(5)) / 1e9

    to_child, from_child = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        for _trip in range(TRIPS):
            os.write(from_child[1], os.read(to_child[0], 1))
        left = SIZE
        while left:
            left -= len(os.read(to_child[0], PIECE))
        os.write(from_child[1], b"x")
        os._exit(0)

    def trip() -> None:
        os.write(to_child[1], b"x")
        os.read(from_child[0], 1)

    def through() -> None:
        view = memoryview(source)
        sent = 0
        while sent < SIZE:
            sent += os.write(to_child[1], view[sent : sent + PIECE])
        os.read(from_child[0], 1)

    times = sorted(timed(trip) for _ in range(TRIPS))
    yield "there and back through pipes, p50", times[TRIPS // 2] * 1e6
    yield "there and back through pipes, p99", times[TRIPS * 99 // 100] * 1e6
    yield "through a pipe", SIZE / timed(through) / 1e9
    os.waitpid(child, 0)


WORKS: Final = (
    Work(
        "raw",
        "The machine itself",
        (
            Figure("copying memory", "GB/s", more=True),
            Figure("there and back through pipes, p50", "us"),
            Figure("there and back through pipes, p99", "us"),
            Figure("through a pipe", "GB/s", more=True),
        ),
        measure_raw,
        ("raw",),
    ),
)
