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
# MB in an array, how many of them each process makes, and whether into used pages.
ARRAYS: Final = ((8, 16, False), (8, 16, True), (64, 4, False), (64, 4, True))
# How many, and whether each result is noted. In this order: the first one of all has a fresh heap.
INTS: Final = ((100_000, True), (1_000_000, True), (1_000_000, False))
AGAIN: Final = 4
CHUNK: Final = 4_000  # of them, at most: so that two of them fit into a pipe
PART: Final = 250  # that begin together


def measure_raw(_: Setting) -> Iterator[tuple[str, float]]:
    """Copy memory, talk to a child, and let two of them write into shared memory."""
    for ints, noted in INTS:
        for name, seconds in zip(_of_ints(ints, noted), _two_map(ints, noted), strict=True):
            yield name, seconds / ints * 1e6

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

    for size, count, used in ARRAYS:
        seconds = median(_two_write(size << 20, count, used) for _ in range(3))
        yield _of_arrays(size, used), 2 * count * (size << 20) / seconds / 1e9


def _of_ints(ints: int, noted: bool) -> tuple[str, str]:
    name = f"two processes, `abs` over {ints:.0e} ints".replace("e+0", "e")
    name += ", each result noted" if noted else ""
    return name, f"{name}, again and again"


def _of_arrays(size: int, used: bool) -> str:
    return f"two processes, arrays of {size} MB into {'used' if used else 'new'} pages"


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


class _Two:
    """Two processes that map `abs` over ints, each behind two pipes."""

    def __init__(self, noted: bool) -> None:
        self._ends: list[tuple[int, int]] = []
        self._children: list[int] = []
        for _ in range(2):
            (theirs, to), (back, ours) = os.pipe(), os.pipe()
            child = os.fork()
            if child == 0:
                for end in (to, back, *(end for pair in self._ends for end in pair)):
                    os.close(end)
                _serve_ints(theirs, ours, noted)
                os._exit(0)
            os.close(theirs)
            os.close(ours)
            self._children.append(child)
            self._ends.append((to, back))

    def send(self, process: int, some: list[int]) -> None:
        """Send a chunk, if there is one."""
        if some and set(map(type, some)) == {int}:
            os.write(self._ends[process][0], struct.pack(f"{len(some)}q", *some))

    def take(self, process: int, size: int) -> list[int]:
        """Return the results of the next chunk."""
        data = b""
        while len(data) < 8 * size:
            data += os.read(self._ends[process][1], 8 * size - len(data))
        return memoryview(data).cast("q").tolist()

    def close(self) -> None:
        """End them."""
        for pair in self._ends:
            for end in pair:
                os.close(end)
        for child in self._children:
            os.waitpid(child, 0)


def _two_map(ints: int, noted: bool) -> tuple[float, float]:
    """Return the seconds in which two processes map `abs` over ints, once and then again and again.

    In chunks that grow from 1: who does not know what an item costs has to find out, and four times
    the items that came back are sent next.
    """
    items = [*range(ints)]
    two = _Two(noted)

    def run() -> list[int]:
        results: list[int] = []
        done, size = 0, 1
        while size < CHUNK:
            for process in range(2):
                start = done + process * size
                two.send(process, items[start : start + size])
            for process in range(2):
                results.extend(two.take(process, size))
            done += 2 * size
            size = 4 * done
        starts = range(done, ints, CHUNK)
        for number, start in enumerate(starts[:4]):
            two.send(number % 2, items[start : start + CHUNK])
        for number, start in enumerate(starts):
            results.extend(two.take(number % 2, min(CHUNK, ints - start)))
            ahead = start + 4 * CHUNK
            two.send(number % 2, items[ahead : ahead + CHUNK])
        return results

    for process in range(2):  # as the workers of the others, they are warm
        two.send(process, items[:100])
        two.take(process, 100)
    first = timed(run)
    again = median(timed(run) for _ in range(AGAIN))
    assert run() == items
    two.close()
    return first, again


def _two_write(size: int, count: int, used: bool) -> float:
    """Return the seconds in which two processes make arrays and write them into shared memory."""
    import numpy as np

    begin, end = os.pipe(), os.pipe()
    children: list[int] = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            places = [os.memfd_create("raw") for _ in range(count)]
            for place in places if used else ():
                os.pwrite(place, np.ones(size // 8).data, 0)
            os.write(end[1], b"x")
            os.read(begin[0], 1)
            for place in places:
                os.pwrite(place, np.ones(size // 8).data, 0)
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
            *(Figure(name, "us") for which in INTS for name in _of_ints(*which)),
            *(Figure(_of_arrays(size, used), "GB/s", more=True) for size, _, used in ARRAYS),
        ),
        measure_raw,
        ("raw",),
    ),
)
