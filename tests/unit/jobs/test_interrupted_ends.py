"""Ctrl-C strikes the thread that ends a call: whoever waits for what comes of it goes on."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.process.test_interrupts import Interrupt

from pmap import as_completed, gather
from pmap._api.async_result import AsyncResult, first
from pmap._jobs.pending import Pending


class Plain(Pending):
    """Something that is over when somebody says so."""

    @property
    def name(self) -> str:
        return "plain"

    def end(self) -> None:
        self.values = [1]
        self.settle()


def waits_for_gathered(one: AsyncResult[int]) -> Callable[[], object]:
    gathered = gather(one, one)
    return lambda: gathered._pending.wait(0) and gathered.get() == (1, 1)


def waits_for_what_follows(one: AsyncResult[int]) -> Callable[[], object]:
    calls: list[int] = []
    behind = one.then(calls.append)
    # What `f` returns; or, if Ctrl-C has interrupted it, an error. But `f` runs once.
    return lambda: behind._pending.wait(0) and (calls == [1] or behind.exception() is not None)


def waits_for_a_future(one: AsyncResult[int]) -> Callable[[], object]:
    future = one.future()
    return lambda: future.result(0) == 1


def waits_for_the_next(one: AsyncResult[int]) -> Callable[[], object]:
    handles = as_completed([one, one])
    # Both, and none twice.
    return lambda: handles._some() and [*handles] == [one, one]


@pytest.mark.parametrize(
    "waits", [waits_for_gathered, waits_for_what_follows, waits_for_a_future, waits_for_the_next]
)
def test_those_who_wait_go_on(waits: Callable[[AsyncResult[Any]], Callable[[], object]]) -> None:
    points = 0
    at = 0
    while at <= points:
        pending = Plain()
        is_well = waits(AsyncResult(pending, first))
        interrupt = Interrupt(at)
        try:
            interrupt.run(pending.end)
        except KeyboardInterrupt:
            assert at
        if pending.over:  # else it has struck before the end was known
            assert is_well(), interrupt.where
        points = points or interrupt.passed
        at += 1
    assert points > 20
