"""Methods that a program has bound itself arrive as they are."""

import argparse
from collections.abc import Callable
from types import MethodType
from typing import Final

from pmap._transport import values
from pmap._transport.methods import has_own_method


def show(self: argparse.Namespace, x: int) -> tuple[int, int]:
    return self.n, x


def __repr__(self: argparse.Namespace) -> str:  # noqa: N807 - the name of a method of the class
    return f"ours, {self.n}"


def given() -> argparse.Namespace:
    made = argparse.Namespace(n=3)
    made.show, made.other = MethodType(show, made), MethodType(__repr__, made)
    return made


class Private:
    def __hidden(self) -> str:
        return "hidden"

    def method(self) -> Callable[[], str]:
        return self.__hidden

    def shown(self) -> str:
        return self.__hidden()


LED_TO_BY_NAME: Final[list[object]] = [
    int.from_bytes,
    "text".upper,
    Private().shown,
    [argparse.ArgumentParser.parse_args, argparse.Namespace(n=3).__repr__],
    dict.fromkeys,
]


def test_the_usual_ones_are_pickled_by_their_name() -> None:
    for value in LED_TO_BY_NAME:
        assert not has_own_method(value)


def test_own_ones_are_found_wherever_they_are() -> None:
    for value in (given().show, given().other, given(), [{1: given()}], Private().method()):
        assert has_own_method(value)


def test_they_arrive() -> None:
    shown = values.loads(values.dumps(given().show))
    assert shown(1) == (3, 1)
    assert shown.__self__.show(2) == (3, 2)
    other = values.loads(values.dumps(given().other))
    assert other() == "ours, 3" == other.__self__.other()
    assert values.loads(values.dumps(Private().method()))() == "hidden"
