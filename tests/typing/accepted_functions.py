"""Verbs without workers, and functions of each kind, for what the checkers must infer."""

from typing import NamedTuple, TypeVar

import pmap as door

T = TypeVar("T")
# No workers: what is tested here is what the checkers say.
pmap = door.pmap.using(backend="serial")
pstarmap = door.pstarmap.using(backend="serial")
papply = door.papply.using(backend="serial")
pcall = door.pcall.using(backend="serial")


class Animal:
    def __init__(self, name: str = "") -> None:
        self.name = name

    def speak(self, times: int) -> list[str]:
        return [self.name] * times


class Dog(Animal): ...


class Row(NamedTuple):
    x: int
    name: str


def one(x: int) -> str:
    return str(x)


def two(x: int, name: str) -> float:
    return x + len(name)


def more(x: int, name: str = "", *, loud: bool = False) -> bytes:
    return bytes(x) + name.encode() + bytes(loud)


def total(*numbers: int) -> int:
    return sum(numbers)


def same(x: T) -> T:
    return x


def dog(x: int) -> Dog:
    return Dog(str(x))


def six(a: int, b: int, c: int, d: int, e: int, f: int) -> str:
    return f"{a}{b}{c}{d}{e}{f}"


def needs_depth(x: int, *, depth: int) -> int:
    return x + depth
