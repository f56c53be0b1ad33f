"""The inputs of streams, and what their items do; workers import this, so it imports little."""

import itertools
import threading
from collections.abc import Iterator

from tests.files import mark, wait_for_file
from tests.items import square

from pmap import pmap


class Counted(Iterator[int]):
    """An input of `size` items that counts its reads, and knows how many may be made."""

    def __init__(self, size: int | None, bound: int | None = None) -> None:
        self.size = size
        self.bound = bound
        self.reads = 0
        self.taken = 0
        self.threads: set[int] = set()

    def __next__(self) -> int:
        self.threads.add(threading.get_ident())
        if self.reads == self.size:
            raise StopIteration
        self.reads += 1
        if self.bound is not None:
            assert self.reads <= self.taken + self.bound, "it reads too far ahead"
        return self.reads - 1


def closing(closed: list[bool], numbers: Iterator[int]) -> Iterator[int]:
    """Yield the numbers; note when the generator is closed."""
    try:
        yield from numbers
    finally:
        closed.append(True)


def begin_and_wait(folder: str, x: int) -> int:
    """Note that an item begins; those from 1000 on wait to be ended."""
    mark(folder, x)
    if x >= 1000:
        wait_for_file(f"{folder}/never")
    return x


def invert(x: int) -> float:
    """Fail at 0."""
    return 1 / x


def inner_stream(x: int) -> list[int]:
    """Use a stream inside an item."""
    with pmap.iter(square, itertools.count()) as results:
        return [next(results) for _ in range(x)]
