"""Functions, and what can be called like one, for the tests of calls."""

from collections.abc import AsyncIterator
from typing import NamedTuple


def double(x: int) -> int:
    return 2 * x


async def pages(x: int) -> AsyncIterator[int]:
    yield x


class Adder:
    def __init__(self, n: int = 1) -> None:
        self.n = n

    def __call__(self, x: int) -> int:
        return x + self.n

    def add(self, x: int) -> int:
        return x + self.n

    async def afetch(self, x: int) -> int:
        return x

    @staticmethod
    async def sfetch(x: int) -> int:
        return x


class Row(NamedTuple):
    x: int
    y: int
