"""What is measured of a pool, by a clock that a made-up pool moves on."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pmap._explain import machine
from pmap._explain.machine import overhead_of, pace_of
from pmap._explain.trial import Reply, burn, same

STEP = 1e-8  # seconds of a step of a burn in a worker


class MadeUp:
    """A pool, and a clock: a call, an item and a byte take so long."""

    sends = True

    def __init__(self, workers: int = 2, call: float = 1e-4, item: float = 1e-6) -> None:
        self.workers = workers
        self.now = 0.0
        self.counts: list[int] = []
        self.largest = 0
        self._call = call
        self._item = item

    def clock(self) -> float:
        return self.now

    def burn_here(self, steps: int) -> float:
        """Take twice as long as a worker."""
        self.now += 2 * steps * STEP
        return 2 * steps * STEP

    def run(
        self,
        function: Callable[[Any], object],
        items: Sequence[Any],
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
    ) -> list[Any]:
        assert timeout is None
        if not isinstance(function, Reply) and function is not same:  # a burn
            self.now += sum(items) * STEP / (self.workers if chunksize is None else 1)
            return []
        sizes = [len(item) if isinstance(item, bytes) else 0 for item in items]
        back = len(function(None)) if isinstance(function, Reply) else 0
        self.counts.append(len(items))
        self.largest = max(self.largest, max(sizes) + back)
        self.now += self._call + len(items) * self._item + (sum(sizes) + back * len(items)) * 1e-9
        return []


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    made = MadeUp()
    monkeypatch.setattr(machine, "perf_counter", made.clock)
    monkeypatch.setattr(machine, "burn", made.burn_here)
    return made


def test_the_overhead_of_numbers(pool: MadeUp) -> None:
    found = overhead_of(pool, None, 0, 0)
    assert found.call == pytest.approx(1e-4 + 1e-6)
    assert found.item == pytest.approx(1e-6, rel=0.02)
    assert max(pool.counts) > 1000


@pytest.mark.parametrize("size", [1000, 1 << 20, 1 << 30])
def test_the_overhead_of_bytes_without_very_large_ones(pool: MadeUp, size: int) -> None:
    found = overhead_of(pool, None, size, size // 2)
    assert found.item == pytest.approx(1e-6 + 1.5 * size * 1e-9, rel=0.2)
    assert pool.largest <= 1 << 23


def test_a_pool_that_starts_a_process_for_each_item_is_not_asked_for_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = MadeUp(item=0.1)
    monkeypatch.setattr(machine, "perf_counter", slow.clock)
    assert overhead_of(slow, 1, 0, 0).item == pytest.approx(0.1, rel=0.2)
    assert sum(slow.counts) < 30


def test_the_pace_is_beside_this_process(pool: MadeUp) -> None:
    found = pace_of(pool, 2)
    assert found.here == pytest.approx(2)
    assert found.gain == pytest.approx(4)  # two workers, each of them twice as fast


def test_measurements_that_differ_are_made_for_longer(
    pool: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = pool.now
    pace_of(pool, 2)
    steady = pool.now - begin
    factors = iter([1, 3] * 1000)

    def unsteady(steps: int) -> float:
        return pool.burn_here(steps * next(factors))

    monkeypatch.setattr(machine, "burn", unsteady)
    begin = pool.now
    pace_of(pool, 2)
    assert steady < machine._LONGEST < pool.now - begin < 3 * machine._LONGEST


def test_a_burn_tells_how_long_it_took() -> None:
    assert 0 < burn(1000) < 1
