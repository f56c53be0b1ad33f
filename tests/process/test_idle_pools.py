"""Many distinct worker options: few idle processes are left, and none that is in use is ended."""

from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest
from tests.limits import until

from pmap import pmap, shutdown
from pmap._api.shared_pools import shared_pools
from pmap._calls.cpus import cpu_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pmap._engine.driver import Driver


@pytest.fixture(autouse=True)
def alone() -> "Iterator[None]":
    shutdown()
    yield
    shutdown()


def idle_workers(drivers: "list[Driver]") -> int:
    return sum(driver.workers for driver in drivers)


def test_many_sets_of_options_leave_few_idle_workers() -> None:
    most = max(8, 2 * cpu_count())
    made: list[Driver] = []
    for number in range(7):
        assert pmap(abs, [-1, -2], processes=2, initializer=partial(int, number)) == [1, 2]
        made += [driver for driver in shared_pools.drivers.values() if driver not in made]
    assert len(made) == 7
    until(lambda: idle_workers(made) <= most)
    assert made[-1].workers, "the one that was used last stays"
    assert not made[0].workers, "the one that was used longest ago went"
    # Whoever went comes back when it is asked for.
    assert pmap(abs, [-3], processes=2, initializer=None) == [3]


def test_a_pool_in_use_is_not_ended() -> None:
    with pmap.iter(abs, count(), processes=2, max_tasks_per_child=77) as stream:
        assert next(stream) == 0
        used = next(d for options, d in shared_pools.drivers.items() if options[5] == 77)
        for number in range(6):
            assert pmap(abs, [-1, -2], processes=2, initializer=partial(int, number)) == [1, 2]
        assert used in shared_pools.drivers.values()
        assert next(stream) == 1
