"""What the machine can do: no library is faster than that."""

import mmap
import os
import struct
from collections.abc import Iterator
from statistics import median
from typing import Final

from ..work import Figure, Setting, Work, timed

SIZE: Final = 256 << 20
PIECE: Final = 1 << 20
TRIPS: Final = 2000
ARRAY: Final = 8 << 20
ARRAYS: Final = 16
# How many, and whether each result is noted.
INTS: Final = (
    ("two processes, `abs` over 1e6 ints", 1_000_000, False),
    ("two processes, `abs` over 1e6 ints, each result noted", 1_000_000, True),
    ("two processes, `abs` over 1e5 ints, each result noted", 100_000, True),
)
CHUNK: Final = 4_000  # of them: so that two of them fit into a pipe
PART: Final = 250  # that begin together


def measure_raw(_: Setting) -> Iterator[tuple[str, float]]:
    """Copy memory, talk to a child, and let two of them write into shared memory."""
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

    for name, ints, noted in INTS:
        seconds = median(_two_map(ints, noted) for _ in range(5))
        yield name, seconds / ints * 1e6

    for pages in ("new", "used"):
        seconds = median(_two_write(pages == "used") for _ in range(3))
        yield f"two processes, arrays into {pages} pages", 2 * ARRAYS * ARRAY / seconds / 1e9


def _serve_ints(source: int, target: int, noted: bool) -> None:
    """Be a worker that knows one function and ints only, and nothing else."""
    slots = memoryview(mmap.mmap(-1, 8 * CHUNK)).cast("q")
    while data := os.read(source, 8 * CHUNK):
        items = memoryview(data).cast("q")
        if not noted:
            os.write(target, struct.pack(f"{len(items)}q", *map(abs, items.tolist())))
            continue
        for start in range(0, len(items), PART):
            for place, item in enumerate(items[start : start + PART].tolist(), start):
                result = abs(item)
                if type(result) is not int:
                    break
                slots[place] = result
        os.write(target, slots[: len(items)].tobytes())


def _two_map(ints: int, noted: bool) -> float:
    """Return the seconds in which two processes map `abs` over ints."""
    items = [*range(ints)]
    ends: list[tuple[int, int]] = []
    children: list[int] = []
    for _ in range(2):
        (theirs, to), (back, ours) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            for end in (to, back, *(end for pair in ends for end in pair)):
                os.close(end)
            _serve_ints(theirs, ours, noted)
            os._exit(0)
        os.close(theirs)
        os.close(ours)
        children.append(child)
        ends.append((to, back))
    results: list[int] = []

    def send(number: int) -> None:
        some = items[number * CHUNK : (number + 1) * CHUNK]
        if some and set(map(type, some)) == {int}:
            os.write(ends[number % 2][0], struct.pack(f"{len(some)}q", *some))

    def run() -> None:
        for number in range(4):
            send(number)
        for number in range(ints // CHUNK):
            data = b""
            while len(data) < 8 * CHUNK:
                data += os.read(ends[number % 2][1], 8 * CHUNK - len(data))
            send(number + 4)
            results.extend(memoryview(data).cast("q").tolist())

    seconds = timed(run)
    for to, back in ends:
        os.close(to)
        os.close(back)
    for child in children:
        os.waitpid(child, 0)
    return seconds


def _two_write(used: bool) -> float:
    """Return the seconds in which two processes make arrays and write them into shared memory."""
    import numpy as np

    begin, end = os.pipe(), os.pipe()
    children: list[int] = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            places = [os.memfd_create("raw") for _ in range(ARRAYS)]
            for place in places if used else ():
                os.pwrite(place, np.ones(ARRAY // 8).data, 0)
            os.write(end[1], b"x")
            os.read(begin[0], 1)
            for place in places:
                os.pwrite(place, np.ones(ARRAY // 8).data, 0)
            os.write(end[1], b"x")
            os._exit(0)
        children.append(child)

    def both(fd: int) -> None:
        for _ in children:
            os.read(fd, 1)

    def write() -> None:
        os.write(begin[1], b"xx")
        both(end[0])

    both(end[0])
    seconds = timed(write)
    for child in children:
        os.waitpid(child, 0)
    for fd in (*begin, *end):
        os.close(fd)
    return seconds


WORKS: Final = (
    Work(
        "raw",
        "The machine itself",
        (
            Figure("copying memory", "GB/s", more=True),
            Figure("there and back through pipes, p50", "us"),
            Figure("there and back through pipes, p99", "us"),
            Figure("through a pipe", "GB/s", more=True),
            *(Figure(name, "us") for name, _, _ in INTS),
            Figure("two processes, arrays into new pages", "GB/s", more=True),
            Figure("two processes, arrays into used pages", "GB/s", more=True),
        ),
        measure_raw,
        ("raw",),
    ),
)
