"""What every test gets: a check that nothing is left behind, and an end to every hang.

**Leaks.** After each test the processes below this one, its threads, its descriptors and /dev/shm
are those from before it, except what the library's warm shared pools hold, which are meant to live
on. After each module these pools are ended, and then nothing at all may be left.

**Hangs.** Shortly before the time is up the descendants are shown and told to dump their stacks;
then this process dumps its own and exits.
"""

import faulthandler
import os
import threading
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, cast

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from tests.backends import BACKENDS, START_METHODS, Settings
from tests.leaks import Leftovers, end_shared_pools, show_pools
from tests.processes import show_descendants

from pmap._engine import driver as _driver

if TYPE_CHECKING:
    from pmap._types import StartMethod

HARD_LIMIT = 90.0  # seconds for a test, fixtures included: generous on a busy machine


def pytest_configure(config: pytest.Config) -> None:
    """Let forks be forks, and workers dump their stacks when a hang makes us abort them."""
    # The start method "fork" is tested here, and pytest's own helpers have threads.
    config.addinivalue_line(
        "filterwarnings", "ignore:.*multi-threaded, use of fork:DeprecationWarning"
    )
    os.environ["PYTHONFAULTHANDLER"] = "1"


def _limit(item: pytest.Item | pytest.Collector) -> float:
    """Return after how many seconds a test hangs: a little before pytest-timeout says so."""
    marker = item.get_closest_marker("timeout")
    return HARD_LIMIT if marker is None else float(marker.args[0]) - 30


def _arm(item: pytest.Item | pytest.Collector) -> None:
    stderr = item.config.stash[fault_handler_stderr_fd_key]
    faulthandler.dump_traceback_later(_limit(item), exit=True, file=stderr)


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Go on watching after a failure, where pytest itself stops: fixtures may hang as well."""
    if isinstance(node, pytest.Item):
        _arm(node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End a test that hangs, with everybody's stack."""
    stderr = item.config.stash[fault_handler_stderr_fd_key]  # the one that capturing does not hide
    early = threading.Timer(_limit(item) - 5, show_descendants, (stderr,))
    early.name = "tests-watchdog"
    early.daemon = True
    early.start()
    _arm(item)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        early.cancel()
        early.join()


@pytest.fixture(scope="module", autouse=True)
def nothing_left_after_the_module() -> Iterator[None]:
    """End the shared pools after each module; then nothing may be left of it."""
    before = Leftovers.now()
    yield
    end_shared_pools()
    left = before.left(warm=False)
    assert not left, f"left after the module: {left}; pools: {show_pools()}"


@pytest.fixture(autouse=True)
def nothing_left(
    nothing_left_after_the_module: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Check that a test leaves nothing but warm shared pools."""
    # Seconds for which memory is kept, which each test with large values would wait for.
    monkeypatch.setattr(_driver, "_WARM", 0.05)
    before = Leftovers.now()
    yield
    left = before.left(warm=True)
    assert not left, f"left after the test: {left}; pools: {show_pools()}"


@pytest.fixture(params=START_METHODS)
def start_method(request: pytest.FixtureRequest) -> "StartMethod":
    """Each way a worker process can begin."""
    return cast("StartMethod", request.param)


@pytest.fixture(params=BACKENDS, ids=lambda settings: settings.name)
def backend(request: pytest.FixtureRequest) -> Settings:
    """Each backend; processes with each start method."""
    assert isinstance(request.param, Settings)
    return request.param
